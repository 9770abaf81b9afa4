/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * arrays.h: sees at once what ktask.memory has nothing to add to: small arrays of plain numbers, which are NumPy's. All
 * others are looked at in Python.
 *
 * Part of the extension module, after calls.h. These are Python functions, since arrays may be looked at with the GIL
 * only; they belong to NumPy's type of arrays.
 */

/* NumPy's numbers of bool to clongdouble, of which none has more than 32 bytes: MOST_ELEMENTS are no more than 1 MiB. */
enum { PLAIN_TYPES = 17, MOST_ELEMENTS = (1 << 20) / 32 };

static bool is_small_array(PyObject *type, PyObject *object)
{
	const struct numpy_array *a = (const struct numpy_array *)object;
	size_t n = 1;

	if ((PyObject *)Py_TYPE(object) != type || !(a->flags & 3) || a->dtype->type_num >= PLAIN_TYPES)
		return false;
	for (int i = 0; i < a->nd; i++)
		n *= (size_t)a->dimensions[i];
	return n < MOST_ELEMENTS;
}

static PyObject *arrays_is_small(PyObject *type, PyObject *object)
{
	return PyBool_FromLong(is_small_array(type, object));
}

/* Do two small arrays, each with memory of its own, differ in their numbers only? */
static PyObject *arrays_are_alike(PyObject *type, PyObject *both)
{
	PyObject *first = PyTuple_GetItem(both, 0), *second = PyTuple_GetItem(both, 1);
	const struct numpy_array *a = (const struct numpy_array *)first, *b = (const struct numpy_array *)second;

	if (!first || !second)
		return NULL;
	return PyBool_FromLong(a != b && is_small_array(type, first) && is_small_array(type, second) && !a->base &&
			       !b->base && a->dtype == b->dtype && a->flags & b->flags & 3 && same_shape(a, b));
}

/* To be called with the GIL: both, in a tuple. */
static PyObject *arrays_functions(PyObject *type)
{
	static PyMethodDef small = { "is_small", arrays_is_small, METH_O, NULL };
	static PyMethodDef alike = { "are_alike", arrays_are_alike, METH_VARARGS, NULL };

	return Py_BuildValue("NN", PyCFunction_NewEx(&small, type, NULL), PyCFunction_NewEx(&alike, type, NULL));
}

static void *const py_arrays_functions = (void *)arrays_functions;
