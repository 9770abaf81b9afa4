/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that were compiled with an older or a newer header than the library's. */
#include "check.h"

#include "../../csrc/ctl.h"
#include "ktask.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { UNITS = 100 };

static int count(void *start, void *end, void *n)
{
	atomic_fetch_add((atomic_size_t *)n, (size_t)((uintptr_t)end - (uintptr_t)start));
	return KTASK_RETURN_SUCCESS;
}

static void *never(void *position, size_t size)
{
	(void)size;
	CHECK(!"a member beyond the end was used");
	return position;
}

static bool is_nothing(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

/* All that lies beyond the size is noise, and never taken for members: these have their defaults. */
static void older(void)
{
	static const size_t ends[] = {
		offsetof(struct ktask_ctl, kc_iter_func),   offsetof(struct ktask_ctl, kc_max_threads),
		offsetof(struct ktask_ctl, kc_align),	    offsetof(struct ktask_ctl, kc_poll_func),
		offsetof(struct ktask_ctl, kc_report),	    offsetof(struct ktask_ctl, kc_trace),
		offsetof(struct ktask_ctl, kc_identity),    offsetof(struct ktask_ctl, kc_call_ns),
		offsetof(struct ktask_ctl, kc_shares_lock),
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		atomic_size_t n = 0;
		struct ktask_ctl taken;
		DEFINE_KTASK_CTL(ctl, count, &n, 1);

		ctl.kc_iter_func = ends[i] <= offsetof(struct ktask_ctl, kc_iter_func) ? never : ktask_iter_range;
		ctl.kc_struct_size = ends[i];
		memset((char *)&ctl + ends[i], 0xff, sizeof(ctl) - ends[i]);
		memset(&taken, 0xff, sizeof(taken));
		CHECK(take_ctl(&taken, &ctl) == 0 && taken.kc_iter_func == ktask_iter_range);
		taken.kc_iter_func = NULL;
		CHECK(is_nothing((char *)&taken + ends[i], sizeof(taken) - ends[i]));
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
		CHECK(n == UNITS);
	}
}

static void newer(void)
{
	struct {
		struct ktask_ctl ctl;
		char more[24];
	} larger = { .more = { 0 } };
	atomic_size_t n = 0;
	DEFINE_KTASK_CTL(ctl, count, &n, 1);

	larger.ctl = ctl;
	larger.ctl.kc_struct_size = sizeof(larger);
	CHECK(ktask_run(AT(0), UNITS, &larger.ctl) == KTASK_RETURN_SUCCESS);
	CHECK(n == UNITS);
	for (size_t i = 0; i < sizeof(larger.more); i++) {
		larger.more[i] = 1;
		CHECK(ktask_run(AT(0), UNITS, &larger.ctl) == -E2BIG);
		larger.more[i] = 0;
	}
	CHECK(n == UNITS);
}

/* Of a report, as much is written as the program has room for. */
static void report_sizes(void)
{
	union {
		struct ktask_report report;
		unsigned char bytes[2 * sizeof(struct ktask_report)];
	} r;
	atomic_size_t n = 0;
	DEFINE_KTASK_CTL(ctl, count, &n, 1);

	ktask_ctl_set_report(&ctl, &r.report);
	memset(&r, 0xff, sizeof(r));
	r.report.kr_struct_size = offsetof(struct ktask_report, kr_undone);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(r.report.kr_struct_size == offsetof(struct ktask_report, kr_undone));
	CHECK(r.report.kr_chunks >= 1 && r.report.kr_chunks <= UNITS);
	for (size_t i = offsetof(struct ktask_report, kr_undone); i < sizeof(r); i++)
		CHECK(r.bytes[i] == 0xff);

	r.report.kr_struct_size = sizeof(r);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(r.report.kr_struct_size == sizeof(r) && r.report.kr_error == 0);
	for (size_t i = sizeof(r.report); i < sizeof(r); i++)
		CHECK(r.bytes[i] == 0xff);
}

static void all(void)
{
	older();
	newer();
	report_sizes();
}

int main(void)
{
	with_each_setting(all);
	return 0;
}
