/* SPDX-License-Identifier: BSD-3-Clause */
/* facts.h: what may change while a program runs: the CPUs that are online, CPU quotas, the power policy. */
#ifndef KTASK_FACTS_H
#define KTASK_FACTS_H

#include "cgroup.h"
#include "power.h"
#include "topology.h"

struct facts {
	int cpus; /* online */
	struct quota quota;
	struct power power;
	bool power_counts; /* not so with KTASK_POWER=ignore */
	int threads;	   /* that may work at a time, as all this says; 1 at least */
};

/*
 * The first survey, in the calling thread. heed is called with the facts after each survey, that one too, by one thread
 * at a time. Call once.
 */
void facts_start(struct topology *topology, void (*heed)(const struct facts *facts));

/* Is the last survey so long ago that another one is due? In the middle of a run any will do. */
bool facts_are_stale(bool in_run, uint64_t now);

/*
 * A survey, unless another thread is about it. In the middle of a run it opens nothing, and looks at the quota and the
 * power policy only; otherwise it opens files where there is something new.
 */
void facts_survey(bool in_run);

/* A survey for certain: one that is under way is waited for. If facts is not NULL, it gets them. */
void facts_refresh(struct facts *facts);

/* Grows by one with each survey: what was set by older facts had better be set anew. */
unsigned facts_surveys(void);

/* In a child, after fork. */
void facts_forked(void);

#endif
