/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * calls.h: sees calls of NumPy's ufuncs before NumPy does, for those that are large and not a single inner loop.
 *
 * Casts, where=, broadcasting and most strided arrays make NumPy go over an array in small steps, which loops.c cannot
 * cut. Such a call is given to Python (_split.py), which makes several calls of it. All others, and that has to be found
 * out within nanoseconds, are passed on.
 *
 * Part of the extension module: it needs Python.h, and NumPy's structures as they have been since 1.0. The GIL is held.
 */
#include "../../../csrc/hot.h"

#include <Python.h>
#include <stdbool.h>

typedef PyObject *(*ufunc_call)(PyObject *ufunc, PyObject *const *args, size_t nargsf, PyObject *names);

/* The beginning of PyUFuncObject, after PyObject_HEAD. */
struct numpy_ufunc {
	int nin, nout, nargs, identity;
	inner_loop *functions;
	void **data;
	int ntypes, reserved1;
	const char *name, *types, *doc;
	void *ptr, *obj, *userloops;
	int core_enabled, core_num_dim_ix;
	int *core_num_dims, *core_dim_ixs, *core_offsets;
	char *core_signature;
	void *type_resolver, *dict;
	void *vectorcall; /* a ufunc_call */
};

/* The beginnings of PyArray_Descr and PyArrayObject. */
struct numpy_dtype {
	PyObject head;
	PyTypeObject *typeobj;
	char kind, type, byteorder, former_flags;
	int type_num;
};

struct numpy_array {
	PyObject head;
	char *data;
	int nd;
	intptr_t *dimensions, *strides;
	PyObject *base;
	struct numpy_dtype *dtype;
	int flags; /* 1: in C's order, 2: in Fortran's */
};

/* Set once, before the first call. */
static ufunc_call numpys_call;
static PyTypeObject *ndarray;
static PyObject *split;			      /* _split.split */
static int (*give_errors)(const char *, int); /* PyUFunc_GiveFloatingpointErrors */

static void py_watch_calls(void *numpys_vectorcall, void *ndarray_type, void *split_function, void **ufunc_api)
{
	union {
		void *object;
		ufunc_call call;
		int (*give)(const char *, int);
	} vectorcall = { .object = numpys_vectorcall }, errors = { .object = ufunc_api[46] };

	numpys_call = vectorcall.call;
	give_errors = errors.give;
	ndarray = ndarray_type;
	split = split_function;
}

/* Of all that a call is given. The flag in nargsf, PY_VECTORCALL_ARGUMENTS_OFFSET, is its highest bit, which is lost. */
static PyObject *const *end_of(PyObject *const *values, size_t nargsf, PyObject *names)
{
	PyObject *const *end = (PyObject *const *)((uintptr_t)values + nargsf * sizeof(*values));

	return names ? end + Py_SIZE(names) : end;
}

static bool same_shape(const struct numpy_array *a, const struct numpy_array *b)
{
	return a->nd == b->nd && memcmp(a->dimensions, b->dimensions, (size_t)a->nd * sizeof(intptr_t)) == 0;
}

/* How many elements the result has, if the operands fit together: along each axis, counted from the last one. */
static size_t size_of_result(PyObject *const *values, size_t nr)
{
	size_t size = 1;

	for (int axis = 1, nd = 1; axis <= nd; axis++) {
		size_t length = 1;

		for (size_t i = 0; i < nr; i++) {
			const struct numpy_array *a = (const struct numpy_array *)values[i];

			if (Py_TYPE(values[i]) != ndarray || a->nd < axis)
				continue;
			if (a->dimensions[a->nd - axis] != 1)
				length = (size_t)a->dimensions[a->nd - axis];
			if (a->nd > nd)
				nd = a->nd;
		}
		size *= length;
	}
	return size;
}

/* Has the ufunc a loop for inputs that are all of this type? */
static bool has_loop(const struct numpy_ufunc *u, char type_num)
{
	for (int i = 0; i < u->ntypes; i++) {
		const char *types = u->types + (ptrdiff_t)i * u->nargs;
		int k = 0;

		while (k < u->nin && types[k] == type_num)
			k++;
		if (k == u->nin)
			return true;
	}
	return false;
}

/* Will NumPy make one inner loop of it? Or is it nothing that can be split? */
static bool is_one_loop(PyObject *ufunc, PyObject *const *values, size_t nr, size_t nr_positional)
{
	const struct numpy_array *first = NULL;
	int order = 3;

	for (size_t i = 0; i < nr; i++) {
		const struct numpy_array *a = (const struct numpy_array *)values[i];

		if (Py_TYPE(values[i]) != ndarray) {
			if (i >= nr_positional ||
			    !(Py_TYPE(values[i]) == &PyFloat_Type || Py_TYPE(values[i]) == &PyLong_Type))
				return false;
			continue;
		}
		if (!first)
			first = a;
		order &= a->flags;
		if (a->dtype != first->dtype || !order || !same_shape(a, first))
			return false;
	}
	return has_loop((const struct numpy_ufunc *)((const PyObject *)ufunc + 1), (char)first->dtype->type_num);
}

static PyObject *call_split(PyObject *ufunc, PyObject *const *values, size_t nr, size_t nr_positional, PyObject *names)
{
	PyObject *args = PyTuple_New((Py_ssize_t)nr_positional), *kwargs = PyDict_New(), *result = NULL;

	if (args && kwargs) {
		int error = 0;

		for (size_t i = 0; i < nr_positional; i++) {
			Py_INCREF(values[i]);
			PyTuple_SetItem(args, (Py_ssize_t)i, values[i]);
		}
		for (size_t i = nr_positional; i < nr && !error; i++)
			error = PyDict_SetItem(kwargs, PyTuple_GetItem(names, (Py_ssize_t)(i - nr_positional)),
					       values[i]);
		if (!error)
			result = PyObject_CallFunctionObjArgs(split, ufunc, args, kwargs, NULL);
	}
	Py_XDECREF(args);
	Py_XDECREF(kwargs);
	return result;
}

/* A call that may be large. */
static __attribute__((noinline)) PyObject *call_large(PyObject *ufunc, PyObject *const *values, size_t nargsf,
						      PyObject *names)
{
	size_t nr_positional = nargsf & ~((size_t)1 << (8 * sizeof(size_t) - 1));
	size_t nr = nr_positional + (names ? (size_t)Py_SIZE(names) : 0);
	PyObject *both, *result;
	long flags;

	if (size_of_result(values, nr) < loops_limits.split_size || loops_inside() ||
	    is_one_loop(ufunc, values, nr, nr_positional))
		return numpys_call(ufunc, values, nargsf, names);
	both = call_split(ufunc, values, nr, nr_positional, names);
	if (!both)
		return NULL;
	if (both == Py_None) {
		Py_DECREF(both);
		return numpys_call(ufunc, values, nargsf, names);
	}
	/* Warnings and errors come from here, as they would from NumPy: the caller's line is the one to show. */
	result = PyTuple_GetItem(both, 0);
	flags = PyLong_AsLong(PyTuple_GetItem(both, 1));
	Py_INCREF(result);
	Py_DECREF(both);
	if (flags && give_errors(((const struct numpy_ufunc *)(ufunc + 1))->name, (int)flags) < 0) {
		Py_DECREF(result);
		return NULL;
	}
	return result;
}

/* The same with matrices, mostly of one shape, and numbers in arrays. size is no less than the result's. */
static HOT __attribute__((noinline)) PyObject *call_matrices(PyObject *ufunc, PyObject *const *values, size_t nargsf,
							     PyObject *names)
{
	PyObject *const *v = end_of(values, nargsf, names);
	const intptr_t *shape = NULL;
	size_t size = 1;

	while (v != values) {
		const struct numpy_array *a = (const struct numpy_array *)*--v;
		const intptr_t *n;

		if (Py_TYPE(*v) != ndarray || a->nd == 0)
			continue;
		n = a->dimensions;
		if (a->nd > 2)
			return call_large(ufunc, values, nargsf, names);
		if (a->nd == 1) {
			size *= (size_t)n[0];
		} else if (!shape || n[0] != shape[0] || n[1] != shape[1]) {
			size *= (size_t)n[0] * (size_t)n[1];
			shape = n;
		}
	}
	if (size >= loops_limits.split_size)
		return call_large(ufunc, values, nargsf, names);
	return numpys_call(ufunc, values, nargsf, names);
}

/*
 * What a ufunc's vectorcall is while ktask is installed. Most calls are of numbers and vectors of fewer than split_size
 * elements. They are to notice nothing: so this is all that they go through, which needs no stack, and NumPy finds the
 * arguments where they are.
 */
static HOT PyObject *call_ufunc(PyObject *ufunc, PyObject *const *values, size_t nargsf, PyObject *names)
{
	PyObject *const *v = end_of(values, nargsf, names);

	while (v != values) {
		const struct numpy_array *a = (const struct numpy_array *)*--v;

		if (Py_TYPE(*v) == ndarray && (a->nd != 1 || (size_t)a->dimensions[0] >= loops_limits.split_size))
			return call_matrices(ufunc, values, nargsf, names);
	}
	return numpys_call(ufunc, values, nargsf, names);
}

/* ---- argmin and argmax ------------------------------------------------------------------------------------------ */

/* The functions of NumPy's dtypes that are called for C (PyArray_ArrFuncs). */
struct numpy_arrfuncs {
	void *cast[21], *getitem, *setitem, *copyswapn, *copyswap, *compare;
	arg_func argmax;
	void *dotfunc, *scanfunc, *fromstr, *nonzero, *fill, *fillwithscalar, *sort[3], *argsort[3], *castdict;
	void *scalarkind, *cancastscalarkindto, *cancastto, *unused[3];
	arg_func argmin;
};

enum { POSITION_TYPES = 24 }; /* NumPy's numbers of the dtypes that may be searched are less than that */

/* Set once; only those are called whose functions are ktask's. */
static struct position {
	arg_func func;
	struct loop loop;
} py_argmins[POSITION_TYPES], py_argmaxs[POSITION_TYPES];

static int find_with(struct position *positions, void *elements, intptr_t n, intptr_t *index, void *array)
{
	struct position *p = &positions[((const struct numpy_array *)array)->dtype->type_num];

	return find_position(&p->loop, p->func, elements, n, index, array);
}

static int argmin(void *elements, intptr_t n, intptr_t *index, void *array)
{
	return find_with(py_argmins, elements, n, index, array);
}

static int argmax(void *elements, intptr_t n, intptr_t *index, void *array)
{
	return find_with(py_argmaxs, elements, n, index, array);
}

static arg_func const py_argmin = argmin, py_argmax = argmax;

static struct numpy_arrfuncs *py_arrfuncs(void **array_api, void *dtype)
{
	union {
		void *object;
		struct numpy_arrfuncs *(*get)(const void *);
	} getter = { .object = array_api[365] };

	return getter.get(dtype);
}

static void *const py_call_ufunc = (void *)call_ufunc;
