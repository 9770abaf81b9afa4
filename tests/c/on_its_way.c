/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A caller that finds no idle helper, since the only ones are still on their way home from the last run, does not take the
 * machine for full: it gets one as soon as there is one, in the same run.
 */
#include "check.h"
#include "ktask.h"

#include "../../csrc/limits.h"
#include "../../csrc/pool.h"
#include "../../csrc/pool_private.h"

#include <stdatomic.h>
#include <time.h>

enum { UNITS = 60 }; /* few: each may be long, so a helper is called at once */

static bool at_home;

static void come_home(void)
{
	for (int id = 0; id < pool.nr_helpers; id++)
		set_idle(&pool.helpers[id]);
	at_home = true;
}

/* The first chunk comes after the caller has looked for a helper. */
static int work(void *start, void *end, void *done)
{
	if (!at_home) {
		CHECK(!limits_full());
		come_home();
	}
	nanosleep(&(struct timespec){ 0, 100000 }, NULL);
	atomic_fetch_add((atomic_size_t *)done, (size_t)((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

int main(void)
{
	struct ktask_report report = KTASK_REPORT_INITIALIZER;
	atomic_size_t done = 0;
	DEFINE_KTASK_CTL(ctl, work, &done, 1);

	CHECK(setenv("KTASK_WAKE_NS", "0", 1) == 0);
	CHECK(setenv("KTASK_TABLE", "off", 1) == 0);
	CHECK(ktask_init() == 0);
	if (pool_nr_helpers() == 0 || limits_max() == 0)
		return 77;
	for (int id = 0; id < pool.nr_helpers; id++)
		CHECK(take_idle(id));
	ktask_ctl_set_report(&ctl, &report);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(done == UNITS && at_home);
	CHECK(report.kr_called > 0);
	return 0;
}
