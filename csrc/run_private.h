/* SPDX-License-Identifier: BSD-3-Clause */
/* run_private.h: one run and the threads at work on it, as run.c, heartbeat.c, worth.c and share.c share them. */
#ifndef KTASK_RUN_PRIVATE_H
#define KTASK_RUN_PRIVATE_H

#include "chunk.h"
#include "pool.h"
#include "undo.h"

#include <assert.h>
#include <stddef.h>

/* What was done of a run before anything was prepared: the first units, then so many that failed. */
struct ahead {
	size_t units, chunks;
	uint64_t now; /* the end of the last chunk */
	int error;
	size_t failed;
};

/*
 * What each thread has to know of the run. Some processors give a cache line that was written to the next one who reads it,
 * and who wrote it has to fetch it again: so the caller has its plan to itself, and helpers copy what it has published.
 */
struct plan {
	ktask_thread_func thread_func;
	void *func_arg;
	struct cut cut;
	struct cost known; /* from earlier runs */
	double floor_ns;
	uint64_t begin;
	uint64_t call_ns;
	struct ktask_trace *own_trace; /* the client's; NULL: none */
	struct ktask_trace *trace;     /* the process's; NULL: off */
	unsigned forks;		       /* pool_forks() when the run began */
	bool few;		       /* units may be long: there are so few of them (are_few) */
	bool reluctant;
	bool even;			  /* short, of even units, with a helper that waits for it: cut by batch_next */
	bool shares_lock, polls, reports; /* was that asked for in ctl? */
};

struct run {
	struct team team; /* the first member: the team of a run is the run */

	/* The caller's, as long as nothing fails and nobody traces. */
	struct ktask_ctl ctl;
	struct plan plan;
	size_t nr_chunks;
	unsigned nr_holes; /* room for so many: the threads there may be at first */
	struct ahead ahead;
	struct holes holes;

	/* From here to chunks is what a helper needs to begin: it fetches all these lines at once. */

	_Alignas(64) struct plan published; /* written before the first helper is called */
	struct cursor cursor;		    /* of a run with one node */

	/* The first failure in time. Who brings error from 0 to its value writes the chunk. */
	_Alignas(64) _Atomic int error;
	bool chunk_failed;
	struct chunk failed;

	/* Threads there may be, the caller included; one less for each helper that went home because it waited. */
	_Atomic unsigned max_threads;

	/* What a unit costs, in ns, for helpers to begin with; 0: not known yet. */
	_Atomic float ns_per_unit;

	/* Did units cost a helper more or less than known? */
	_Atomic bool uneven;

	/* For the report: what helpers have done, each of them added when it leaves. */
	_Alignas(64) _Atomic size_t chunks;
	_Atomic unsigned threads;
	_Atomic uint64_t busy_ns;
};

static_assert(offsetof(struct run, ctl) % 64 == 0 && offsetof(struct run, published) % 64 == 0,
	      "what is the caller's shares no cache line with what helpers read");
static_assert(offsetof(struct run, error) % 64 == 0 && offsetof(struct run, chunks) % 64 == 0 &&
		      sizeof(struct run) % 64 == 0,
	      "nor does what threads leave behind with what is seldom written, and looked at for each chunk");

/* One thread at work on a run. */
struct worker {
	struct run *run;
	const struct plan *plan; /* the run's, or a helper's copy */
	int thread;		 /* 0: the caller; n: helper n - 1 */
	int node;		 /* whose CPUs it runs on; -1: not known, any */
	struct cursor *cursor;
	struct chunk chunk; /* the last one that it claimed, */
	bool is_ahead;	    /* and that is still to be done: the caller's first, claimed before it called anybody */
	struct pace pace;
	size_t chunks;
	uint64_t joined;
	uint64_t waited;    /* ktask_waited() */
	uint64_t now;	    /* the end of its last chunk */
	uint64_t called_at; /* when it last called a helper */
	uint64_t polled;
	int why;      /* enum ktask_why: what kept it from calling a helper */
	bool refused; /* when it last wanted to call one: TEAM_REFUSED */
	int tid;      /* gettid(), if the run is traced */
};

static inline unsigned max_threads(const struct run *run)
{
	return atomic_load_explicit(&run->max_threads, memory_order_relaxed);
}

#endif
