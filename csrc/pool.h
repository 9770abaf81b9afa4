/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.h: the helper threads, and the team of helpers that works on one run. The protocol is told in pool.c. */
#ifndef KTASK_POOL_H
#define KTASK_POOL_H

#include "thread_local.h"
#include "topology.h"
#include "trace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { MAX_HELPERS = MAX_CPUS, HELPER_BITS = 64 };

struct team;

/* Done by each helper of a team, once for each call; now: when it came. */
typedef void team_work(struct team *team, int helper, int node, uint64_t now);

/*
 * The helpers of one run; lives on the stack of the caller, who made the run. What is not atomic is written by the
 * caller only: before it calls its first helper, but for the last four, which are its own.
 */
struct team {
	team_work *work;
	/* Did this process itself have all CPUs lately? Then a helper that waited for one is in nobody's way. NULL: no. */
	bool (*had_all)(struct team *team, uint64_t now);
	struct ktask_trace *trace; /* the process's (trace.h); NULL: off */
	uint64_t run;		   /* its number there */
	unsigned max;		   /* helpers that may be in it at the same time */
	unsigned forks;		   /* pool_forks() when the run began */
	pthread_t caller;	   /* this and the next three lines: once the pool stands, at the first call */
	int home;		   /* the caller's node, */
	int caller_cpu;		   /* and its CPU, which helpers keep away from */
	bool enrolled;
	bool hot;   /* the caller makes short runs in quick succession: helpers had better linger */
	bool first; /* the last run called none: how late these are says little of how late they would be if it had */
	bool shares_lock; /* the work of all is done under one lock, in part; helpers then have */
	int nice;	  /* the caller's nice, if they are privileged */
	bool seated;	  /* the caller has a seat, or needs none: */
	bool took_seat;	  /* it has taken it for this team */
	unsigned nr_cancelled;
	unsigned nr_willed;

	_Alignas(64) _Atomic uint32_t here; /* helpers called and not yet gone, and TEAM_CALLER_SLEEPS; a futex */
	_Atomic unsigned nr_called;
	_Atomic unsigned nr_retreated;
	_Atomic uint64_t called[MAX_HELPERS / HELPER_BITS]; /* which helpers; only as many words as the pool needs */
};

/* Makes the pool's tables, once. False: no pool can be had, runs are serial. */
bool pool_start(void);

/* Makes all the threads that the calling thread's runs can use, so that none is made in the middle of a run. */
void pool_bring_up(void);

/* Why there is no helper to be had (KTASK=off, one CPU); NULL where there is none, or nobody has tried. */
const char *pool_why_off(void);

/* Was the number of helpers fixed (KTASK_HELPERS), whatever the CPUs? */
bool pool_is_oversubscribed(void);

/* The calling thread's number in the system; once the pool stands, without a system call but for the first. */
int pool_tid(void);

/* How many helpers the pool has room for, born or not. */
int pool_nr_helpers(void);

/* How many of them may work at a time; as long as the pool does not stand, how many that will be. */
int pool_most_helpers(void);

const struct topology *pool_topology(void);

/*
 * After a run that would have called a helper, but may have none as things are (a CPU quota, the power policy): now and
 * then a helper looks whether they have changed. With helpers at work, these do.
 */
void pool_look_again(uint64_t now);

/*
 * By a helper between two chunks: are more at work than there may be by now? Looks at the machine now and then: a few
 * reads of files that are open.
 */
bool pool_is_overfull(uint64_t now);

/* Grows by one in each forked child: the threads of a team with an older number do not exist here. */
unsigned pool_forks(void);

/* Is the helper that this thread called last awake, waiting for its next call (so that it costs next to nothing)? */
bool pool_is_warm(void);

/* A run may call a helper in a moment: what that takes of the one that this thread called last comes near meanwhile. */
void pool_prefetch(void);

/* By a helper between chunks: somebody else wants its CPU, so it goes home, and stays there for a while. */
bool pool_wants_back(int helper, uint64_t now);

/*
 * By a helper, before it begins something under a lock that others need: whoever wants its CPU goes first. True: somebody
 * did, so it goes home. now: what time it is, before and after.
 */
bool pool_makes_way(int helper, uint64_t *now);

/* Do helpers retreat at all? */
bool pool_retreats(void);

void team_init(struct team *team, team_work *work, unsigned max);

/*
 * Calls one more helper, from the pool of that node (an index of the topology; -1: the caller's) or the nearest that has
 * one to spare within the limits. From the caller or a member of the team. Returns what time it is then, or else
 *
 *   TEAM_REFUSED   there is none for now: the limits, the CPUs that the caller may use, or a retreat say so;
 *   TEAM_NONE_IDLE this process has no other, but one may be on its way home at this very moment.
 */
enum { TEAM_REFUSED = 0, TEAM_NONE_IDLE = 1 };
uint64_t team_call(struct team *team, int node);

/*
 * By the caller: does what its first call of a helper would do before, so that any thread may call helpers from then on,
 * until the caller gathers. False: no helpers can be had now.
 */
bool team_muster(struct team *team);

/* How many helpers the team has now. */
unsigned team_size(const struct team *team);

/*
 * By the caller, when there is no more work to give out: sends home the helpers that have not begun, and waits for
 * the others, for timeout_ns at most. True: all are gone, and what they wrote can be read.
 */
bool team_gather(struct team *team, uint64_t timeout_ns);

/* The outermost of this thread's teams that has been enrolled for helpers and is not gathered yet, in the thread's own view. */
extern THREAD_LOCAL const struct team *not_gathered;

/*
 * By a caller who is about to write a new run of so many bytes there, and has an earlier one that was not gathered: ends
 * the program if that is in the same memory, and helpers are at work on it; gives back its seat if it was left (longjmp.c).
 */
void look_for_left(uintptr_t run, size_t size);

/* Ends the program, and says why. */
void tell_left(void);

/* By a helper, after a chunk: is its team, of this kind, still there? Or else the program ends (longjmp.c). */
static inline void team_check(const struct team *team, team_work *work)
{
	if (team->work != work)
		tell_left();
}

#endif
