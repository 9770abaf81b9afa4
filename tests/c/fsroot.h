/* SPDX-License-Identifier: BSD-3-Clause */
/* fsroot.h: another machine than this one, as far as ktask can read (KTASK_FSROOT). */
#ifndef FSROOT_H
#define FSROOT_H

#include "check.h"

#include <ftw.h>
#include <sys/stat.h>

static char fsroot[] = "/tmp/ktask-test-XXXXXX";

/*
 * The path of a file: "/proc/..." and the like from the root on, others are those that describe the machine's nodes. The
 * directories above it are made.
 */
static inline const char *fsroot_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s%s%s", fsroot, name[0] == '/' ? "" : "/sys/devices/system/node/", name);
	for (char *slash = strchr(path + strlen(fsroot) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	return path;
}

static inline void fsroot_write(const char *name, const char *text)
{
	FILE *f = fopen(fsroot_path(name), "w");

	CHECK(f);
	CHECK(fputs(text, f) >= 0);
	CHECK(fclose(f) == 0);
}

static inline void fsroot_make(void)
{
	strcpy(fsroot + strlen(fsroot) - 6, "XXXXXX");
	CHECK(mkdtemp(fsroot));
	setenv("KTASK_FSROOT", fsroot, 1);
}

static inline int fsroot_remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
	(void)stat, (void)type, (void)where;
	return remove(path);
}

static inline void fsroot_remove(void)
{
	CHECK(nftw(fsroot, fsroot_remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

#endif
