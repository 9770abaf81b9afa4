# SPDX-License-Identifier: BSD-3-Clause
"""Builds the extension module ``ktask._core`` (cffi, API mode) from the C core in ``csrc/``.

Where the C core cannot be had (not Linux, or a compiler without pthreads; or KTASK_BUILD=serial in the
environment), the same module is built from the header alone with CONFIG_KTASK=0: everything works, serially.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

DECLARATIONS = """
typedef int (*ktask_thread_func)(void *start, void *end, void *arg);
typedef void (*ktask_undo_func)(void *start, void *end, void *arg);
typedef void *(*ktask_iter_func)(void *position, size_t size);
typedef int (*ktask_poll_func)(size_t done, size_t total, void *arg);

struct ktask_node { void *kn_start; size_t kn_task_size; int kn_nid; };
enum ktask_event_kind {
    KTASK_EVENT_CHUNK, KTASK_EVENT_RUN, KTASK_EVENT_CALL, KTASK_EVENT_DISMISS, KTASK_EVENT_STAY, KTASK_EVENT_WILL,
    KTASK_EVENT_RETREAT
};
struct ktask_event {
    uint64_t ke_begin, ke_end; void *ke_start; size_t ke_units; int ke_thread, ke_cpu, ke_nid, ke_result;
    uint64_t ke_run; int ke_kind, ke_tid;
};
struct ktask_trace { struct ktask_event *kt_events; size_t kt_capacity, kt_count; };
size_t ktask_set_trace(struct ktask_trace *trace);
enum ktask_why {
    KTASK_WHY_NOT_ASKED, KTASK_WHY_SHORT, KTASK_WHY_WAITED, KTASK_WHY_ENOUGH, KTASK_WHY_NONE_FREE
};
struct ktask_report {
    uint64_t kr_ns; size_t kr_chunks, kr_undone; unsigned kr_threads, kr_called, kr_cancelled, kr_willed;
    int kr_error, kr_error_nid; void *kr_error_start, *kr_error_end; unsigned kr_retreated; int kr_why;
    uint64_t kr_busy_ns; ...;
};
struct ktask_ctl {
    size_t kc_struct_size;
    ktask_thread_func kc_thread_func; ktask_undo_func kc_undo_func; void *kc_func_arg; size_t kc_min_chunk_size;
    ktask_iter_func kc_iter_func; size_t kc_max_threads, kc_align;
    ktask_poll_func kc_poll_func; void *kc_poll_arg; struct ktask_trace *kc_trace; const void *kc_identity;
    size_t kc_call_ns, kc_shares_lock;
    ...;
};
#define KTASK_MAX_SIZE ...
#define KTASK_MAX_NODES ...
void *ktask_iter_range(void *position, size_t size);
int ktask_init(void);
int ktask_refresh(void);
size_t ktask_describe(char *text, size_t size);
size_t ktask_describe_processes(char *text, size_t size);
int ktask_set_max_helpers(int max);

enum ktask_placement { KTASK_PLACE_LOCAL, KTASK_PLACE_INTERLEAVE, KTASK_PLACE_SPREAD };
int ktask_memory_clear(void *memory, size_t size);
int ktask_memory_fill(void *memory, size_t size, const void *value, size_t value_size);
int ktask_memory_copy(void *to, const void *from, size_t size);
int ktask_memory_prefault(void *memory, size_t size);
int ktask_memory_pin(void *memory, size_t size);
int ktask_memory_unpin(void *memory, size_t size);
int ktask_memory_advise_huge(void *memory, size_t size);
int ktask_memory_free(void *memory, size_t size);
int ktask_memory_place(void *memory, size_t size, enum ktask_placement placement);
int ktask_nodes_of(const void *memory, size_t size, size_t unit, struct ktask_node *nodes, size_t room);
bool py_several_nodes(void);
int py_max_helpers(void);

/* How Python calls in. */
struct py_call {
    void *handle; ktask_thread_func thread_func; ktask_undo_func undo_func; void *func_arg; bool python_positions;
};
struct py_position { void *handle; void *value; };
int py_run(uintptr_t start, size_t size, const struct ktask_ctl *ctl, struct py_call *call);
int py_run_numa(struct ktask_node *nodes, size_t nr_nodes, const struct ktask_ctl *ctl, struct py_call *call);
struct ktask_report *py_last_report(void);
int py_run_loop(size_t n, size_t min_chunk, size_t max_threads, ktask_thread_func chunk, void *arguments);
int ktask_thread(void);
size_t ktask_max_threads(void);
double py_recall(uintptr_t identity, size_t units, size_t least);
void py_remember(uintptr_t identity, size_t units, size_t least, uint64_t ns, int error);

/* How C calls back. */
extern ktask_thread_func const py_thread_func;
extern ktask_undo_func const py_undo_func;
extern ktask_thread_func const py_wrapped_thread_func;
extern ktask_undo_func const py_wrapped_undo_func;
extern "Python" int py_thread(uintptr_t start, uintptr_t end, struct py_call *call);
extern "Python" void py_undo(uintptr_t start, uintptr_t end, struct py_call *call);
extern "Python" void *py_iter(void *position, size_t size);
extern "Python" int py_poll(size_t done, size_t total, void *arg);
"""

CREW_DECLARATIONS = """
struct crew;
struct crew *py_crew_new(void *handle);
void crew_free(struct crew *crew);
bool crew_open(struct crew *crew);
bool crew_call(struct crew *crew);
void crew_close(struct crew *crew);
extern "Python" bool py_crew_work(void *handle);
"""

NUMPY_DECLARATIONS = """
typedef void (*inner_loop)(char **args, const intptr_t *dimensions, const intptr_t *steps, void *data);
enum fold { FOLD_SERIAL, FOLD_ANYHOW, FOLD_PAIRWISE };
struct loop {
    inner_loop func; void *data; int nin, nargs; size_t size[...]; enum fold fold; char type; int absorbing; ...;
};
struct loops_limits { size_t direct_first, direct_least, direct_most, min_chunk, min_leaf, split_size; };
extern struct loops_limits loops_limits;
void loop_init(struct loop *loop);
extern inner_loop const py_loop_call;
enum { LOOP_MAX_ARGS = ... };

void loops_enter(void);
void loops_leave(void);

struct numpy_ufunc {
    int nin, nout, nargs; inner_loop *functions; void **data; int ntypes; const char *types; int core_enabled;
    void *vectorcall; ...;
};
typedef int (*arg_func)(void *elements, intptr_t n, intptr_t *index, void *array);
struct numpy_arrfuncs { arg_func argmax, argmin; ...; };
struct position { arg_func func; struct loop loop; };
extern struct position py_argmins[], py_argmaxs[];
extern arg_func const py_argmin, py_argmax;
struct numpy_arrfuncs *py_arrfuncs(void **array_api, void *dtype);
void py_watch_calls(void *numpys_vectorcall, void *ndarray_type, void *split_function, void **ufunc_api);
extern void *const py_call_ufunc;
extern void *const py_arrays_functions;

struct numpy_memory { char name[127]; ...; };
struct numpy_memory *buffers_before(const struct numpy_memory *numpys, bool huge);
void buffers_keep(bool keep);
size_t buffers_drop(void);
"""

SOURCE = r"""
#include <stdbool.h>
#include <time.h>
#include "ktask.h"
#include "ktask_memory.h"

/*
 * What the C functions of one run need of Python's side: func_arg of the run, where any of its functions is Python's,
 * or where a C function has to have its positions looked up.
 */
struct py_call {
    void *handle;                  /* the _Call object */
    ktask_thread_func thread_func; /* those that are C's */
    ktask_undo_func undo_func;
    void *func_arg;                /* theirs */
    bool python_positions;         /* positions are struct py_position, made by a Python iterator */
};

struct py_position {
    void *handle;
    void *value; /* what a C function is given */
};

#if defined(_MSC_VER)
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

#if CONFIG_KTASK
static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#else
static uint64_t now_ns(void) /* nobody to wait for */
{
    return 0;
}
#endif

/* By this threadpoolctl knows the module (threadpoolctl.py). */
#if defined(__GNUC__)
extern __attribute__((visibility("default"))) const int ktask_in_python;
#endif
const int ktask_in_python = 1;

static THREAD_LOCAL struct ktask_report last_report;

static struct ktask_report *py_last_report(void)
{
    return &last_report;
}

static int py_run_numa(struct ktask_node *nodes, size_t nr_nodes, const struct ktask_ctl *ctl, struct py_call *call)
{
    struct ktask_report report = KTASK_REPORT_INITIALIZER;
    struct ktask_ctl own = *ctl;
    int error;

    ktask_ctl_set_report(&own, &report);
    if (call) {
        own.kc_func_arg = call;
        own.kc_poll_arg = call->handle;
    }
    error = ktask_run_numa(nodes, nr_nodes, &own);
    last_report = report;
    return error;
}

static int py_run(uintptr_t start, size_t size, const struct ktask_ctl *ctl, struct py_call *call)
{
    struct ktask_node node = { (void *)start, size, NUMA_NO_NODE };

    return py_run_numa(&node, 1, ctl, call);
}

static int py_poll(size_t done, size_t total, void *arg);

/*
 * In loops of so many iterations, chunks end at multiples of ALIGNED: then vectors of what iterations write lie as they
 * would in one long loop, on as few cache lines, and hardly any line is written by two threads. Loops of fewer
 * iterations may have long ones, which had better be shared out one by one.
 */
enum { ALIGNED = 16, ALIGNED_FROM = 1 << 16 };

/* Called by compiled code, with what was compiled along with it (_loop_numba.py). */
static int py_run_loop(size_t n, size_t min_chunk, size_t max_threads, ktask_thread_func chunk, void *arguments)
{
    struct ktask_node node = { NULL, n, NUMA_NO_NODE };
    DEFINE_KTASK_CTL(ctl, chunk, arguments, min_chunk);

    ktask_ctl_set_max_threads(&ctl, max_threads);
    ktask_ctl_set_align(&ctl, n >= ALIGNED_FROM ? ALIGNED : 0);
    ktask_ctl_set_poll_func(&ctl, py_poll, NULL);
    return py_run_numa(&node, 1, &ctl, NULL);
}

#if CONFIG_KTASK
#include "../chunk.h" /* from csrc/include */
#include "../pool.h"
#include "../trace.h"

/* Does it matter where memory lies? */
static bool py_several_nodes(void)
{
    return pool_start() && pool_topology()->nr_nodes > 1;
}

/* How many helpers may work at a time, as things are. */
static int py_max_helpers(void)
{
    pool_start();
    return pool_most_helpers();
}

/* What one of so many units cost the last time, in chunks of at least so many, in ns; 0: not known, or not reliable. */
static double py_recall(uintptr_t identity, size_t units, size_t least)
{
    struct cost known = cost_known((const void *)identity, are_few(units, least));

    return known.flags & COST_VARIES ? 0 : known.ns_per_unit;
}

/* Python has done a run by itself, as one chunk. */
static void py_remember(uintptr_t identity, size_t units, size_t least, uint64_t ns, int error)
{
    bool few = are_few(units, least);
    struct cost known = cost_known((const void *)identity, few);

    if (!error)
        cost_remember(cost_name((const void *)identity, few), cost_measured(units, ns, known), known);
    if (trace_is_on())
        trace_done((const void *)identity, units, ns, error, pool_tid());
    last_report = (struct ktask_report){
        .kr_ns = ns, .kr_chunks = 1, .kr_threads = 1, .kr_error = error, .kr_why = KTASK_WHY_SHORT, .kr_busy_ns = ns
    };
}
#else
static bool py_several_nodes(void)
{
    return false;
}

static int py_max_helpers(void)
{
    return 0;
}

static double py_recall(uintptr_t identity, size_t units, size_t least)
{
    (void)identity, (void)units, (void)least;
    return 0;
}

static void py_remember(uintptr_t identity, size_t units, size_t least, uint64_t ns, int error)
{
    (void)identity, (void)units, (void)least, (void)ns, (void)error;
}
#endif

static int py_thread(uintptr_t start, uintptr_t end, struct py_call *call);
static void py_undo(uintptr_t start, uintptr_t end, struct py_call *call);

/*
 * Takes the GIL here, where the wait can be measured, before py_thread takes it again, which is quick: a helper that
 * only waits for the GIL is of no use. A thread's first call is left to cffi, which makes and keeps its thread state.
 */
static int python_thread(void *start, void *end, void *call)
{
    PyGILState_STATE gil;
    uint64_t begin, waited;
    int result;

    if (!PyGILState_GetThisThreadState())
        return py_thread((uintptr_t)start, (uintptr_t)end, (struct py_call *)call);
    begin = now_ns();
    gil = PyGILState_Ensure();
    waited = now_ns() - begin;
    if (waited > 1000)
        ktask_waited(waited);
    result = py_thread((uintptr_t)start, (uintptr_t)end, (struct py_call *)call);
    PyGILState_Release(gil);
    return result;
}

static void python_undo(void *start, void *end, void *call)
{
    py_undo((uintptr_t)start, (uintptr_t)end, (struct py_call *)call);
}

static void *real(const struct py_call *call, void *position)
{
    return call->python_positions ? ((struct py_position *)position)->value : position;
}

/* A Python iterator that raised has no position to give, and a C function could make nothing of that. */
enum { ITERATOR_RAISED = -2147483647 };

static int wrapped_thread(void *start, void *end, void *arg)
{
    const struct py_call *call = (const struct py_call *)arg;

    if (call->python_positions && !end)
        return ITERATOR_RAISED;
    return call->thread_func(real(call, start), real(call, end), call->func_arg);
}

static void wrapped_undo(void *start, void *end, void *arg)
{
    const struct py_call *call = (const struct py_call *)arg;

    call->undo_func(real(call, start), real(call, end), call->func_arg);
}

static ktask_thread_func const py_thread_func = python_thread, py_wrapped_thread_func = wrapped_thread;
static ktask_undo_func const py_undo_func = python_undo, py_wrapped_undo_func = wrapped_undo;
"""

CREW_SOURCE = """
#include "../crew.h"

static bool py_crew_work(void *handle);

static struct crew *py_crew_new(void *handle)
{
    return crew_new(py_crew_work, handle);
}
"""

NUMPY_SOURCE = """
#include "buffers.h"
#include "loops.h"

#include "calls.h"

#include "arrays.h"

struct ktask_report *(*const loops_report)(void) = py_last_report;

static inner_loop const py_loop_call = loop_call;
"""

PROBE = """
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
int main(void) { pthread_t t; return pthread_setname_np(pthread_self(), "x") + (int)sizeof(t) + SYS_futex < 0; }
"""


def compiles(*flags: str) -> bool:
    """Does the compiler make a program of PROBE with these flags?"""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(PROBE)
        command = [*compiler.split(), "-std=c11", "-pthread", *flags, str(source), "-o", str(source.with_suffix(""))]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return True  # no compiler at all: let the build itself say so


def can_build_core() -> bool:
    """Is this Linux, and does the compiler know C11 atomics, pthreads and futexes?"""
    return os.environ.get("KTASK_BUILD") != "serial" and sys.platform.startswith("linux") and compiles()


def as_one() -> list[str]:
    """Short runs go through a dozen files: all are optimized as one, unless who builds has set flags of their own."""
    return ["-flto=auto"] if "CFLAGS" not in os.environ and compiles("-flto=auto") else []


ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
if can_build_core():
    ffibuilder.cdef(CREW_DECLARATIONS + NUMPY_DECLARATIONS)
    # Without the folder's name, which differs from build to build, in what is for debuggers.
    both = [f"-ffile-prefix-map={Path.cwd()}=.", *as_one()]
    ffibuilder.set_source(
        "ktask._core",
        SOURCE + CREW_SOURCE + NUMPY_SOURCE,
        sources=sorted(str(f) for folder in ("csrc", "src/ktask/_numpy") for f in Path(folder).glob("*.c")),
        include_dirs=["csrc/include", "src/ktask/_numpy"],
        libraries=["m"],
        extra_compile_args=["-std=gnu11", "-O2", "-pthread", "-fexceptions", "-fvisibility=hidden", *both],
        extra_link_args=["-pthread", "-Wl,-z,nodelete", *both],
    )
else:
    print("ktask: building without threads; every run will be serial", file=sys.stderr)
    ffibuilder.set_source(
        "ktask._core",
        SOURCE,
        include_dirs=["csrc/include"],
        define_macros=[("CONFIG_KTASK", "0")],
    )

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
