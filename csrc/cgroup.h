/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup.h: how much CPU time and memory the control groups of this process leave it (cgroup v1 and v2). */
#ifndef KTASK_CGROUP_H
#define KTASK_CGROUP_H

#include "fsroot.h"

#include <stdint.h>

/* usec of CPU time in each period of wall time: so many CPUs. A period of 0: no quota. */
struct quota {
	uint64_t usec;
	uint64_t period;
	char path[FSROOT_PATH]; /* the cgroup's directory */
	uint64_t cgroup;	/* a number that is this cgroup's in all processes; not 0 */
};

/* A cgroup that this process is in: its own or one above. */
struct cgroup_level {
	bool unified;		/* v2 */
	char path[FSROOT_PATH]; /* its directory */
	struct kept_file quota;
	struct kept_file period; /* v1 only */
};

enum { CGROUP_LEVELS = 32, CGROUP_MEMBERSHIP = 8192 };

/* The files that tell, kept open. */
struct cgroup {
	struct kept_file membership;
	char member_of[CGROUP_MEMBERSHIP]; /* what it said when the others were opened */
	int nr_levels;
	struct cgroup_level level[CGROUP_LEVELS]; /* the innermost first; what lies further out is not looked at */
};

/* Finds out which cgroups those are, and opens their files; those of before are closed. */
void cgroup_open(struct cgroup *cgroup);

/* Was the process moved to another one, or has a file gone, since cgroup_open? */
bool cgroup_moved(const struct cgroup *cgroup);

/* The tightest quota of all. Opens nothing. */
void cgroup_quota(const struct cgroup *cgroup, struct quota *quota);

/*
 * The tightest limit of memory of all, in bytes, as it is now; UINT64_MAX: there is none. Opens the files, some dozens of
 * microseconds; may be called at any time, by any thread.
 */
uint64_t cgroup_memory_limit(void);

/* ---- parsers: they take any text ---------------------------------------------------------------------------------- */

/* cpu.max, such as "150000 100000" or "max 100000". False: no quota. */
bool cgroup_parse_max(const char *text, uint64_t *usec, uint64_t *period);

/*
 * From /proc/self/cgroup: the cgroup of the process in the hierarchy with this controller of v1's, or in v2's (NULL). False:
 * it has none, or its path is longer than FSROOT_PATH.
 */
bool cgroup_parse_membership(const char *text, const char *controller, char *path);

/* A line of /proc/self/mountinfo that mounts that hierarchy. */
struct cgroup_mount {
	char root[FSROOT_PATH];	 /* what cgroup it shows */
	char point[FSROOT_PATH]; /* where */
};

/* False: it is no such line. */
bool cgroup_parse_mount(const char *line, const char *controller, struct cgroup_mount *mount);

/* The part of the cgroup's path that lies below the mount's root: "" or "/...". NULL: it does not lie there. */
const char *cgroup_below(const char *path, const char *root);

#endif
