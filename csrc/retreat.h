/* SPDX-License-Identifier: BSD-3-Clause */
/* retreat.h: helpers go home when somebody else wants their CPU. Why, and by which signs, is told in retreat.c. */
#ifndef KTASK_RETREAT_H
#define KTASK_RETREAT_H

#include "fsroot.h"

#include <stdbool.h>
#include <stdint.h>

/* What a helper knows of its waits for a CPU; its own. All zero before it is born. */
struct waits {
	struct kept_file schedstat; /* not open: there is none here, or the program has closed it */
	uint64_t looked;	    /* when it last looked (clock_ns), and what it saw: */
	uint64_t waited;	    /* ns on a run queue, since it was born; or without schedstat */
	uint64_t worked;	    /* ns on a CPU, */
	long slept;		    /* how often it gave the CPU away, and how often it had to */
	long forced;
};

/* By a helper when it is born; and by a forked child, for helpers that it has not got. */
void waits_open(struct waits *w);
void waits_close(struct waits *w);

/* Around its sleep, which is none of the waits that count. */
void waits_before_sleep(struct waits *w);
void waits_after_sleep(struct waits *w, uint64_t now);

/*
 * Did it wait so long on its way to a CPU that somebody else must be there? Worth asking when it took longer than
 * LATE_NS: on a free CPU a helper waits some microseconds, behind somebody's time slice milliseconds.
 */
enum { LATE_NS = 100000 };
bool waits_late(struct waits *w, uint64_t now);

/* Between chunks: does it get in somebody's way, going by what it waited while it worked? Looks only now and then. */
bool waits_at_work(struct waits *w, uint64_t now);

/* Once, before all that follows. */
void retreat_start(void);

/* A helper goes home, and leaves so many others of this process at work. */
void retreat(int others, uint64_t now);

/* The same by a caller that nobody came to, if more threads are ready to run than there are CPUs for them. */
void retreat_unanswered(int others, uint64_t now);

/* A helper was woken and came in time, as one of so many that are at work or on their way now. */
void retreat_came(int helpers, uint64_t now);

/* Should no more helpers be called now, if so many are at work? */
bool retreat_forbids(int helpers);

/* For how long in all, if helpers usually take answer_ns, calls are made in vain before that is taken for a sign. */
uint64_t retreat_patience_ns(uint64_t answer_ns, uint64_t now);

/* How long the pause lasts after the last retreat, in ns; 0: it is over. */
uint64_t retreat_pause_ns(uint64_t now);

#endif
