/* SPDX-License-Identifier: BSD-3-Clause */
/* KTASK=off: the caller does everything, with the same results, undo included, and no thread is ever made. */
#include "check.h"
#include "ktask.h"

#include <dirent.h>
#include <pthread.h>

enum { UNITS = 1000, ERROR = 3 };

static pthread_t caller;
static char done[UNITS];
static uintptr_t fails_at;

static int work(void *start, void *end, void *arg)
{
	(void)arg;
	CHECK(pthread_equal(pthread_self(), caller));
	if (fails_at >= (uintptr_t)start && fails_at < (uintptr_t)end)
		return ERROR;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		CHECK(done[i]++ == 0);
	return KTASK_RETURN_SUCCESS;
}

static void undo(void *start, void *end, void *arg)
{
	(void)arg;
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		CHECK(--done[i] == 0);
}

static void *step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

static int nr_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = 0;

	CHECK(dir);
	for (struct dirent *d; (d = readdir(dir));)
		n += d->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void all(void)
{
	int threads = nr_threads();
	char text[1 << 16];

	caller = pthread_self();
	for (int i = 0; i < 200; i++) {
		struct ktask_node nodes[2] = { { AT(0), UNITS / 4, 0 }, { AT(UNITS / 4), UNITS - UNITS / 4, 0 } };
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		DEFINE_KTASK_CTL(ctl, work, NULL, 1);

		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_report(&ctl, &report);
		if (i & 1)
			ktask_ctl_set_iter_func(&ctl, step);
		fails_at = UNITS;
		CHECK(ktask_run_numa(nodes, 2, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(report.kr_threads == 1 && report.kr_called == 0);
		for (int j = 0; j < UNITS; j++)
			CHECK(done[j]-- == 1);

		fails_at = (uintptr_t)(i * 5);
		CHECK(ktask_run_numa(nodes, 2, &ctl) == ERROR);
		for (int j = 0; j < UNITS; j++)
			CHECK(done[j] == 0);
	}
	CHECK(ktask_init() == 0);
	CHECK(nr_threads() == threads);
	CHECK(ktask_describe(text, sizeof(text)) < sizeof(text));
	CHECK(strstr(text, "\"enabled\": false"));
	/* As snprintf does. */
	CHECK(ktask_describe(NULL, 0) == strlen(text));
	CHECK(ktask_describe(text, 5) > 5 && strlen(text) == 4);
}

int main(void)
{
	use_helpers(0);
	in_child(all);
	use_helpers(7);
	setenv("KTASK", "off", 1);
	in_child(all);
	return 0;
}
