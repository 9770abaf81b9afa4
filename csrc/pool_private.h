/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_private.h: what the files of the pool share: the state that the protocol at the top of pool.c is about. */
#ifndef KTASK_POOL_PRIVATE_H
#define KTASK_POOL_PRIVATE_H

#include "pool.h"
#include "retreat.h"
#include "thread_local.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

/* helper->word: bits 0 and 1 the state, bit 2 CALLED, bits 3 to 31 the number of calls. */
enum { PARKED = 0, LINGERING = 1, RUNNING = 2, STATE = 3, CALLED = 4, ONE_CALL = 8 };

/* team->here: bits 0 to 30 the helpers, bit 31: its caller sleeps until the last one has left. */
#define TEAM_CALLER_SLEEPS (UINT32_C(1) << 31)

/* helper->lent: the caller's nice; its CPU, and no other. */
enum { LENT_PRIORITY = KTASK_LENT_PRIORITY, LENT_CPU = KTASK_LENT_CPU };

struct helper {
	_Alignas(64) _Atomic uint32_t word;
	_Atomic unsigned lent; /* LENT_: what a caller that waits has lent to it */
	_Atomic bool awake;    /* it is LINGERING, and not still on its way there: from a call that was taken back */
	_Atomic(struct team *) team; /* written by the owner; others only compare it */

	/* The owner's; up to here on the line of the word, where a call of a helper that lingers finds all that it needs. */
	uint64_t called_at;
	uint64_t idle_since;
	pthread_t placed_by; /* the caller for whom it was placed, */
	int placed_off;	     /* and the CPU that it keeps away from */
	int seat;	     /* the CPU whose seat it has, or had last; -1: none yet */
	bool keeps;	     /* it has its seat and its place in the limits while it is idle */
	bool lingers;	     /* its last call came soon enough to linger for the next */

	_Alignas(64) int id;
	int node;
	_Atomic uint64_t unanswered_ns; /* that callers have waited in vain since it last came, in time or not */
	_Atomic pid_t tid; /* its thread's; 0: that one has not come up yet, and for system calls the calling thread */
	_Atomic int nice;  /* that it has unless a caller lends it another */
	struct waits waits;

	/* The owner's. */
	bool born;    /* it has a thread: */
	bool newborn; /* that one has not come to a call yet: when it does says nothing of wakes */
	pthread_t thread;
	uint64_t placed; /* a hash of the CPUs where it may run, */
	uint64_t looked; /* and when it last looked whether that still holds */
};

static_assert(offsetof(struct team, here) % 64 == 0, "what all members write shares no line with what they read");
static_assert(sizeof(struct helper) % 64 == 0, "helpers share no cache line");

enum pool_state { NOT_STARTED, STARTED, NO_POOL };

struct pool {
	pthread_mutex_t starting;
	_Atomic enum pool_state state;
	_Atomic unsigned forks;
	_Atomic uint32_t coming;	   /* threads that were made but have not come up; a futex */
	_Atomic uint64_t no_births_before; /* when no thread could be made, another try has to wait */

	/* Written once, before state becomes STARTED or NO_POOL. */
	const char *why_off;
	bool oversubscribed; /* KTASK_HELPERS: helpers may be more than there are CPUs for them */
	sigset_t signals;    /* blocked in the thread that made the pool, and so in children of helpers */
	bool stubborn;	     /* KTASK_RETREAT=off: helpers stay whoever else is there */
	int nr_helpers;
	int nr_words;
	int *first;		/* of each node's helpers, which are numbered in a row; nr_nodes + 1 of them */
	struct helper *helpers; /* nr_helpers */
	_Atomic uint64_t *idle; /* nr_words */
	struct topology topology;
	struct team surveyors; /* a helper that is called to look at the machine, not to work */
};

extern struct pool pool;

/* The team that this thread, a helper, works for. */
extern THREAD_LOCAL struct team *serving;

/* The seat that this thread has as the caller of a run, by its CPU; -1: none. It gives it back. */
extern THREAD_LOCAL int caller_seat;
void caller_stands(void);

/* ktask_thread(). */
extern THREAD_LOCAL int thread_number;

/* Has nobody taken this helper? That may be over in a moment. */
bool is_idle(int id);

/* Step 1: takes this helper, if it is idle. Its owner ends that with set_idle: anybody may take it then. */
struct helper *take_idle(int id);
void set_idle(struct helper *h);

/* Not the last one's: whoever calls is in the team, or is the caller, who is awake. */
static inline void give_place_back(struct team *team)
{
	atomic_fetch_sub_explicit(&team->here, 1, memory_order_relaxed);
}

/* By its owner: gives back the seat and the place in the limits that it has kept. */
void give_back_kept(struct helper *h);

/*
 * The caller waits so long before it looks whether the helper it waits for has got a CPU: chunks are shorter as a rule, and
 * a time slice is much longer.
 */
enum { STARVED_NS = 300000 };

/* The helper that the caller waits for, from when on, and the CPU time that it had used by then. */
struct wait {
	const struct helper *helper;
	uint64_t since;
	uint64_t cpu_ns;
	bool settled; /* it has a CPU, or was given the caller's */
};

/*
 * Lends to one of the team's helpers that still run what the caller does not need while it waits: its priority, where that
 * can be taken back, and its CPU, to one that starves.
 */
void will_one(struct team *team, struct wait *wait);

/* By a helper's own thread: from now on it has that nice, unless a caller lends it another. */
void change_nice(struct helper *h, int nice);

/* By its owner: takes off the marks of what was lent to it, and gives that back. */
void take_back(struct helper *h);

/* Makes the thread of a helper that the caller owns, on the given CPUs or any. False: the system has none to give. */
bool give_birth(struct helper *h, const struct cpus *cpus);

/* What happened to one of a team's helpers, for the process's trace. */
static inline void team_trace(const struct team *team, int kind, const struct helper *h, uint64_t begin, uint64_t end,
			      int result)
{
	if (team->trace)
		trace_add(team->trace, &(struct ktask_event){
					       .ke_begin = begin,
					       .ke_end = end,
					       .ke_thread = h->id + 1,
					       .ke_cpu = -1,
					       .ke_nid = NUMA_NO_NODE,
					       .ke_result = result,
					       .ke_run = team->run,
					       .ke_kind = kind,
				       });
}

/* None is under way. */
void pool_reset_surveyors(void);

/* Waits until all threads that were made are up. */
void await_births(void);

/* What a helper's thread does, from its birth on; arg is the helper. */
void *helper_main(void *arg);

/* Signals are for the program's own threads, so threads that are made in between are without. */
void block_signals(sigset_t *before);

#endif
