/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ktask.h: run a long loop over a range on all the CPUs that are free.
 *
 * The interface of the Linux kernel's ktask framework (Daniel Jordan, RFC v4, November 2018) in user space.
 * In place of
 *
 *         error = thread_func(start, start + size, arg);
 *
 * a program writes
 *
 *         DEFINE_KTASK_CTL(ctl, thread_func, arg, min_chunk_size);
 *         error = ktask_run(start, size, &ctl);
 *
 * Words: a task is all the work of one call; a unit is what the client counts (bytes, rows, list items); a chunk is
 * a half-open range of units given to a thread; the caller is the thread that made the call, and it always works
 * too; a helper is a thread of ktask's pool; a node is a part of the task tied to one NUMA node.
 *
 * Compile with -DCONFIG_KTASK=0 and this header is all there is: every call runs serially in the caller, with the
 * same results, undo included. The environment variable KTASK=off does the same at run time.
 *
 * Thread-safety: every function may be called from any thread, also from inside a thread function, and after fork().
 * What a run reads (the control structure, the nodes) must not change while the run lasts.
 */
#ifndef KTASK_H
#define KTASK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef CONFIG_KTASK
#define CONFIG_KTASK 1
#endif

#define KTASK_VERSION "0.1.0"

/* What a thread function returns when all went well. Any other value is a failure, and becomes the run's result. */
#define KTASK_RETURN_SUCCESS 0

/* For kn_nid: helpers may run on any node. */
#ifndef NUMA_NO_NODE
#define NUMA_NO_NODE (-1)
#endif

/* The largest task, in units: more than the bytes that a process can address. */
#define KTASK_MAX_SIZE (SIZE_MAX > UINT32_MAX ? (size_t)1 << 24 << 24 : SIZE_MAX / 2)

/* The largest number of nodes of one task; each takes 192 bytes of the caller's stack. */
#define KTASK_MAX_NODES 1024

/*
 * Does the units from start up to, not including, end. Called from several threads at once, never twice for a unit.
 * Returns KTASK_RETURN_SUCCESS, or any other value: then it has cleaned up after itself, as if the chunk had never
 * been started. One that ends its thread (pthread_exit(), pthread_cancel()) fails the run with -ECANCELED if that is a
 * helper; if it is the caller, that ends when all helpers have, and nothing is undone.
 *
 * It must not be left by longjmp(), nor may the stack that it runs on be copied away meanwhile (greenlets): with helpers at
 * work that is undefined. The next run at that place of the stack tells so, and ends the program; or a helper does, which
 * finds something else there after its chunk. Without helpers at work, its caller counts as one who needs a CPU until its
 * next run in that place or less deep on the stack; for good, if there is none.
 *
 * Helpers have the stack of any thread (ulimit -s, 8 MiB as a rule), with a guard page behind it. Signals are blocked in
 * them. A child of fork() has the program's signals, but what posix_spawn(), vfork() and the like start from a helper
 * inherits the helper's: start it with POSIX_SPAWN_SETSIGMASK.
 */
typedef int (*ktask_thread_func)(void *start, void *end, void *arg);

/*
 * Gives back what a finished range did; it cannot fail. Called by the caller only, after every thread has stopped, on
 * ascending ranges that together are exactly the finished units. One range may join several chunks.
 */
typedef void (*ktask_undo_func)(void *start, void *end, void *arg);

/*
 * Returns the position that lies size units after position. A run calls it in order, one thread at a time, once for
 * each chunk (the default, ktask_iter_range, is not called at all but computed, without a lock). It must not go past
 * the end: the sizes of one node add up to its kn_task_size.
 */
typedef void *(*ktask_iter_func)(void *position, size_t size);

/*
 * Looks after a run from outside. The caller calls it between its chunks and while it waits, some 20 ms apart: done
 * of total units have been given to threads. Returns 0 to go on; any other value stops the run like a failure.
 */
typedef int (*ktask_poll_func)(size_t done, size_t total, void *arg);

/* A part of a task, and the NUMA node its memory is on (or NUMA_NO_NODE). This structure is never going to change. */
struct ktask_node {
	void *kn_start;	     /* the position of its first unit */
	size_t kn_task_size; /* units; 0 is allowed: nothing is called for it */
	int kn_nid;	     /* node number as the system counts them */
};

/* What an event tells of: a run's own trace (ktask_ctl_set_trace) has its chunks, the process's (ktask_set_trace) all. */
enum ktask_event_kind {
	KTASK_EVENT_CHUNK, /* a chunk that was done */
	KTASK_EVENT_RUN,   /* a run of ke_units in all, by its caller; ke_start is its identity, ke_result its result */
	KTASK_EVENT_CALL,  /* a helper, from when it was called until it came */
	KTASK_EVENT_DISMISS, /* a helper, from when it was called until it was sent home, before it had come */
	KTASK_EVENT_STAY,    /* a helper at work on a run, from its first look for a chunk until it left */
	KTASK_EVENT_WILL,    /* the waiting caller lent a helper (ke_thread) what ke_result tells: KTASK_LENT_ */
	KTASK_EVENT_RETREAT  /* a helper went home, since somebody else wanted its CPU */
};

enum { KTASK_LENT_PRIORITY = 1, KTASK_LENT_CPU = 2 };

/* Times are in nanoseconds of CLOCK_MONOTONIC, right to 1 us, or of TIME_UTC with CONFIG_KTASK=0; equal for a moment. */
struct ktask_event {
	uint64_t ke_begin;
	uint64_t ke_end;
	void *ke_start;
	size_t ke_units;
	int ke_thread;	 /* 0 is the caller, n the pool's helper number n - 1 */
	int ke_cpu;	 /* where the chunk began; -1 where it makes no sense */
	int ke_nid;	 /* the kn_nid of the node that the chunk belongs to; of other kinds NUMA_NO_NODE */
	int ke_result;	 /* what the thread function returned */
	uint64_t ke_run; /* which run: a number of its own for each that is traced, from 1 */
	int ke_kind;	 /* enum ktask_event_kind */
	int ke_tid;	 /* the thread, as the system counts them (gettid); 0: not known */
};

/* Room for events, all 0, given by the client before the run. What does not fit is counted and dropped. */
struct ktask_trace {
	struct ktask_event *kt_events; /* ke_end is written last: where it is 0, the event is not yet there */
	size_t kt_capacity;
	size_t kt_count; /* set to 0 before the first run; grows by one with each event, also beyond kt_capacity */
};

/* What happened in a run, filled in when it ends (ktask_ctl_set_report). */
struct ktask_report {
	size_t kr_struct_size; /* set by KTASK_REPORT_INITIALIZER */
	uint64_t kr_ns;	       /* how long the run took, right to 1 us */
	size_t kr_chunks;      /* thread function calls */
	size_t kr_undone;      /* undo function calls */
	unsigned kr_threads;   /* threads that did at least one chunk, the caller included */
	unsigned kr_called;    /* helpers that were called */
	unsigned kr_cancelled; /* helpers that were called and sent back before they had begun */
	unsigned kr_willed;    /* times the waiting caller lent its priority or its CPU to a helper */
	int kr_error;	       /* the run's result */
	int kr_error_nid;      /* node of the chunk that failed first, and its ends; NULL where no chunk failed */
	void *kr_error_start;
	void *kr_error_end;
	unsigned kr_retreated; /* times a helper went home since somebody else wanted its CPU */
	int kr_why;	       /* enum ktask_why: what kept the caller from calling a helper, or one more */
	uint64_t kr_busy_ns;   /* the time that all threads together spent in thread function calls */
};

/* From the weakest to the strongest, where there were several. */
enum ktask_why {
	KTASK_WHY_NOT_ASKED, /* nothing: it has called one, or the run was over before it thought of it */
	KTASK_WHY_SHORT,     /* what was left would not have taken long enough to gain by one */
	KTASK_WHY_WAITED,    /* helpers did little but wait for each other the last time (ktask_waited) */
	KTASK_WHY_ENOUGH,    /* there were kc_max_threads already, or as many threads as chunks or CPUs */
	KTASK_WHY_NONE_FREE /* none was to be had: no free CPU or limit, one has just retreated, or is on its way home */
};

#define KTASK_REPORT_INITIALIZER                                                                                       \
	{                                                                                                              \
		sizeof(struct ktask_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0                            \
	}

/*
 * How a task is to be run. Made by DEFINE_KTASK_CTL or KTASK_CTL_INITIALIZER and the ktask_ctl_set_ functions only:
 * new features arrive as new members at the end, and the initializer stamps the size that the program was compiled
 * with, so that old programs go on running with a new library.
 */
struct ktask_ctl {
	size_t kc_struct_size;
	ktask_thread_func kc_thread_func;
	ktask_undo_func kc_undo_func; /* default: nothing is undone */
	void *kc_func_arg;	      /* passed to the thread and undo functions */
	size_t kc_min_chunk_size;     /* units, at least 1 */
	ktask_iter_func kc_iter_func; /* default: ktask_iter_range */
	size_t kc_max_threads;	      /* the caller included; default 0: as many as there are CPUs */
	size_t kc_align;	      /* default 0: no alignment */
	ktask_poll_func kc_poll_func; /* default: no polling */
	void *kc_poll_arg;
	struct ktask_report *kc_report; /* default: none */
	struct ktask_trace *kc_trace;	/* default: none */
	const void *kc_identity;	/* default: the thread function */
	size_t kc_call_ns;		/* default 0: next to nothing */
	size_t kc_shares_lock;		/* default 0: it does not */
};

/* In the order of the members, without their names, which C++ before C++20 does not know. */
#define KTASK_CTL_INITIALIZER(thread_func, func_arg, min_chunk_size)                                                   \
	{                                                                                                              \
		sizeof(struct ktask_ctl), (ktask_thread_func)(thread_func), NULL, (func_arg), (min_chunk_size),        \
			ktask_iter_range, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, 0                                     \
	}

/*
 * Defines the structure ctl_name on the spot. Functions that take typed pointers in place of void * need no cast.
 * min_chunk_size is the least number of units worth giving to a thread at once; in doubt take 1, since ktask gives
 * larger chunks by itself where units are quick.
 */
#define DEFINE_KTASK_CTL(ctl_name, thread_func, func_arg, min_chunk_size)                                              \
	struct ktask_ctl ctl_name = KTASK_CTL_INITIALIZER(thread_func, func_arg, min_chunk_size)

/* The iterator, and what undoes. Functions that take typed pointers need no cast. */
#define ktask_ctl_set_iter_func(ctl, iter_func) ((void)((ctl)->kc_iter_func = (ktask_iter_func)(iter_func)))
#define ktask_ctl_set_undo_func(ctl, undo_func) ((void)((ctl)->kc_undo_func = (ktask_undo_func)(undo_func)))

/* At most this many threads work on the task, the caller included. 0: as many as there are CPUs. */
static inline void ktask_ctl_set_max_threads(struct ktask_ctl *ctl, size_t max_threads)
{
	ctl->kc_max_threads = max_threads;
}

/*
 * Chunks end where the position is a multiple of align (with ktask_iter_range; with other iterators where the offset
 * in the node is), except at the end of a node: cache lines, pages and records stay whole. 0 or 1: no alignment.
 */
static inline void ktask_ctl_set_align(struct ktask_ctl *ctl, size_t align)
{
	ctl->kc_align = align;
}

/* poll_func(done, total, poll_arg) is called now and then, and may stop the run. */
static inline void ktask_ctl_set_poll_func(struct ktask_ctl *ctl, ktask_poll_func poll_func, void *poll_arg)
{
	ctl->kc_poll_func = poll_func;
	ctl->kc_poll_arg = poll_arg;
}

/* The report is filled in at the end of each run; give runs that overlap one each. */
static inline void ktask_ctl_set_report(struct ktask_ctl *ctl, struct ktask_report *report)
{
	ctl->kc_report = report;
}

/* Each chunk is recorded; several runs may share one trace. */
static inline void ktask_ctl_set_trace(struct ktask_ctl *ctl, struct ktask_trace *trace)
{
	ctl->kc_trace = trace;
}

/*
 * ktask remembers what a unit of work costs by the address of the thread function. Where one function stands for many
 * kinds of work (an interpreter's entry point, say), this names the kind. Never dereferenced.
 */
static inline void ktask_ctl_set_identity(struct ktask_ctl *ctl, const void *identity)
{
	ctl->kc_identity = identity;
}

/*
 * What a call of the thread function costs besides the units it does, in nanoseconds, where that is more than a C
 * function's call (entering an interpreter, say): chunks are made long beside it, and ten times as long where threads share
 * a lock.
 */
static inline void ktask_ctl_set_call_ns(struct ktask_ctl *ctl, size_t call_ns)
{
	ctl->kc_call_ns = call_ns;
}

/*
 * Not 0: all threads work under one lock, an interpreter's say, for a part of their time. Whoever loses its CPU with the
 * lock in hand keeps the others waiting, the caller too. So helpers have the caller's priority meanwhile, and before each
 * chunk they leave their CPU to anybody else who wants it, and go home if there was somebody.
 */
static inline void ktask_ctl_set_shares_lock(struct ktask_ctl *ctl, size_t shares_lock)
{
	ctl->kc_shares_lock = shares_lock;
}

#if CONFIG_KTASK

/* position + size: units are bytes, or the numbers of a loop. */
void *ktask_iter_range(void *position, size_t size);

/*
 * Runs ctl's thread function over task_size units from start, with helpers on the caller's NUMA node first. In effect
 *
 *         return task_size ? thread_func(start, iter_func(start, task_size), func_arg) : KTASK_RETURN_SUCCESS;
 *
 * cut into chunks that run at the same time. Returns when all of it is done, or has failed and is undone.
 *
 * Every unit is given to exactly one thread function call, or the run fails. Each chunk has at least
 * kc_min_chunk_size units, but for the last of its node. The first failure in time is returned; after it no new chunk
 * is started and those under way finish; then, if there is an undo function, what was finished is undone.
 *
 * Allocates no memory once the pool stands (ktask_init). Where the pool's threads cannot be made, the caller does the
 * work with fewer or none.
 *
 * Returns KTASK_RETURN_SUCCESS, the thread function's or the poll function's non-zero value, or before any work has
 * begun one of
 *   -EINVAL     ctl, its thread function or the nodes are NULL, kc_min_chunk_size is 0, a kn_nid does not exist
 *   -EOVERFLOW  the sizes add up to more than KTASK_MAX_SIZE, or start + size wraps around (ktask_iter_range)
 *   -E2BIG      more than KTASK_MAX_NODES nodes, or ctl uses a feature that this library does not know
 * or, in a child process that was forked while the run was under way, -ECHILD: its helpers live in the parent only.
 */
int ktask_run(void *start, size_t task_size, struct ktask_ctl *ctl);

/*
 * The same over several parts, each tied to a NUMA node: helpers start on the part that lies on their own node, and
 * then take from the nearest that has work. A chunk never crosses parts. In effect
 *
 *         for (size_t i = 0; i < nr_nodes; i++)
 *                 if (nodes[i].kn_task_size && (error = thread_func(nodes[i].kn_start, iter_func(...), func_arg)))
 *                         return error;
 */
int ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes, struct ktask_ctl *ctl);

/* Starts the helpers now instead of at the first run that can use them. Returns 0. */
int ktask_init(void);

/*
 * Looks now at what may have changed: CPUs online, CPU quotas of the control groups, the power policy. Without it, runs
 * go by what they are told of that within 0.1 s, as long as helpers come and go. Thread-safe. Returns 0.
 */
int ktask_refresh(void);

/*
 * Called by a thread function: this thread has just waited so long, in nanoseconds, for something that the threads of
 * the task share (a lock, an interpreter). Helpers that do little else go home, and are called more reluctantly for
 * this kind of work the next time. Does nothing outside a run.
 */
void ktask_waited(uint64_t ns);

/*
 * From now on, all that happens in the runs of this process is recorded into trace, beside what runs have traces of their
 * own for; NULL: no longer. A few calls and no memory for each run and each chunk; nothing where it is off.
 *
 * Returns how many runs are under way that began before and were recorded: they go on, so as long as there are any
 * (ask again), the trace they began with must stay where it is. 0: all that was recorded can be read. A child of fork()
 * records into its own copy. Does nothing with CONFIG_KTASK=0.
 */
size_t ktask_set_trace(struct ktask_trace *trace);

/*
 * The number of the calling thread: n for the pool's helper number n - 1, 0 for any other thread. No two threads that
 * work on the same run have the same one, and all are below ktask_max_threads(): an index into what each thread has
 * of its own. ktask_max_threads() makes the pool's tables, if they are not there yet, and does not change then.
 */
int ktask_thread(void);
size_t ktask_max_threads(void);

/*
 * Describes, as a JSON object, the machine and the pool as ktask sees them. Like snprintf: writes at most size bytes,
 * a closing 0 included, and returns the length that the whole text has.
 */
size_t ktask_describe(char *text, size_t size);

/*
 * At most max helpers of this process work at a time, over all its threads; 0: every run is serial; negative: as many
 * as there may be without (the default). Returns what was set before. Helpers at work go on until their run ends. The
 * limits of the machine (its CPUs, KTASK_MAX_HELPERS in the environment) hold besides. A child of fork inherits it.
 */
int ktask_set_max_helpers(int max);

/*
 * Describes, as a JSON object and like ktask_describe(), the user's processes that share the CPUs by way of the same
 * table: for each its pid (0: in another PID namespace), how many helpers it has at work, and how many threads that
 * have called them. Opens and closes a file; for people and monitors, not for every run.
 */
size_t ktask_describe_processes(char *text, size_t size);

#else /* !CONFIG_KTASK */

static inline void *ktask_iter_range(void *position, size_t size)
{
	return (void *)((uintptr_t)position + size);
}

static inline int ktask_init(void)
{
	return 0;
}

static inline int ktask_refresh(void)
{
	return 0;
}

static inline void ktask_waited(uint64_t ns)
{
	(void)ns;
}

static inline size_t ktask_set_trace(struct ktask_trace *trace)
{
	(void)trace;
	return 0;
}

static inline int ktask_set_max_helpers(int max)
{
	(void)max;
	return -1;
}

static inline int ktask_thread(void)
{
	return 0;
}

static inline size_t ktask_max_threads(void)
{
	return 1;
}

static inline uint64_t ktask_serial_ns(void)
{
	struct timespec t;

	return timespec_get(&t, TIME_UTC) ? (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec : 0;
}

static inline void ktask_serial_trace(struct ktask_trace *trace, const struct ktask_node *n, uint64_t begin, int result)
{
	struct ktask_event e = { begin, ktask_serial_ns(), n->kn_start, n->kn_task_size, 0, -1, n->kn_nid, result, 0, 0,
				 0 };

	if (trace->kt_count < trace->kt_capacity)
		trace->kt_events[trace->kt_count] = e;
	trace->kt_count++;
}

static inline int ktask_run_numa(struct ktask_node *nodes, size_t nr_nodes, struct ktask_ctl *ctl)
{
	uint64_t begin = ktask_serial_ns();
	size_t total = 0, done = 0, chunks = 0, undone = 0, i;
	struct ktask_node *tried = NULL;
	ktask_iter_func iter_func;
	void *end = NULL;
	int error = 0;

	if (!ctl || ctl->kc_struct_size < offsetof(struct ktask_ctl, kc_iter_func) || !ctl->kc_thread_func ||
	    !ctl->kc_min_chunk_size || (nr_nodes && !nodes))
		return -22; /* -EINVAL */
	if (nr_nodes > KTASK_MAX_NODES)
		return -7; /* -E2BIG */
	iter_func = ctl->kc_iter_func ? ctl->kc_iter_func : ktask_iter_range;
	for (i = 0; i < nr_nodes; i++) {
		if (nodes[i].kn_task_size > KTASK_MAX_SIZE - total ||
		    (iter_func == ktask_iter_range &&
		     nodes[i].kn_task_size > UINTPTR_MAX - (uintptr_t)nodes[i].kn_start))
			return -75; /* -EOVERFLOW */
		total += nodes[i].kn_task_size;
	}

	for (i = 0; i < nr_nodes && !error; i++) {
		struct ktask_node *n = &nodes[i];

		tried = NULL;
		if (ctl->kc_poll_func)
			error = ctl->kc_poll_func(done, total, ctl->kc_poll_arg);
		if (!error && n->kn_task_size) {
			uint64_t chunk_begin = ktask_serial_ns();

			tried = n;
			end = iter_func(n->kn_start, n->kn_task_size);
			error = ctl->kc_thread_func(n->kn_start, end, ctl->kc_func_arg);
			chunks++;
			if (ctl->kc_trace)
				ktask_serial_trace(ctl->kc_trace, n, chunk_begin, error);
		}
		if (!error)
			done += n->kn_task_size;
	}

	/* The last one tried cleaned up after itself; those before it were finished. */
	for (size_t j = 0; error && ctl->kc_undo_func && j + 1 < i; j++) {
		struct ktask_node *n = &nodes[j];

		if (!n->kn_task_size)
			continue;
		ctl->kc_undo_func(n->kn_start, iter_func(n->kn_start, n->kn_task_size), ctl->kc_func_arg);
		undone++;
	}
	if (ctl->kc_report) {
		ctl->kc_report->kr_ns = ktask_serial_ns() - begin;
		ctl->kc_report->kr_chunks = chunks;
		ctl->kc_report->kr_undone = undone;
		ctl->kc_report->kr_threads = chunks > 0;
		ctl->kc_report->kr_error = error;
		ctl->kc_report->kr_error_nid = error && tried ? tried->kn_nid : NUMA_NO_NODE;
		ctl->kc_report->kr_error_start = error && tried ? tried->kn_start : NULL;
		ctl->kc_report->kr_error_end = error && tried ? end : NULL;
		ctl->kc_report->kr_busy_ns = ctl->kc_report->kr_ns;
	}
	return error;
}

static inline int ktask_run(void *start, size_t task_size, struct ktask_ctl *ctl)
{
	struct ktask_node node = { start, task_size, NUMA_NO_NODE };

	return ktask_run_numa(&node, 1, ctl);
}

#define KTASK_SERIAL_REASON "\"reason\": \"built without threads (CONFIG_KTASK=0)\""

static inline size_t ktask_serial_text(char *text, size_t size, const char *serial)
{
	size_t length = 0;

	while (serial[length])
		length++;
	for (size_t i = 0; i < size; i++) {
		text[i] = i + 1 < size && i < length ? serial[i] : '\0';
		if (!text[i])
			break;
	}
	return length;
}

static inline size_t ktask_describe(char *text, size_t size)
{
	return ktask_serial_text(text, size,
				 "{\"version\": \"" KTASK_VERSION "\", \"enabled\": false, " KTASK_SERIAL_REASON "}");
}

static inline size_t ktask_describe_processes(char *text, size_t size)
{
	return ktask_serial_text(text, size, "{\"path\": null, " KTASK_SERIAL_REASON ", \"processes\": []}");
}

#endif /* CONFIG_KTASK */

#ifdef __cplusplus
}
#endif

#endif /* KTASK_H */
