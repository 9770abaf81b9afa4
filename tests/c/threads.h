/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.h: which of this process's threads are helpers. */
#ifndef THREADS_H
#define THREADS_H

#include "check.h"

#include <stdbool.h>

/* By the name of an entry in /proc/self/task. A thread that has just gone is none. */
static inline bool is_helper(const char *entry)
{
	char path[300], name[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry);
	f = entry[0] == '.' ? NULL : fopen(path, "r");
	if (!f)
		return false;
	CHECK(fgets(name, sizeof(name), f));
	fclose(f);
	return strncmp(name, "ktask/", 6) == 0;
}

#endif
