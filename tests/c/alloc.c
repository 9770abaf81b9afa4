/* SPDX-License-Identifier: BSD-3-Clause */
/* Once the pool stands, runs allocate no memory and open no files, in no thread, however they end. */
#include "check.h"
#include "ktask.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>

/* Sanitizers have allocators of their own in this place. */
#if UNDER_ASAN || UNDER_TSAN || !defined(__GLIBC__)

int main(void)
{
	return SKIPPED;
}

#else

enum { HELPERS = 5, UNITS = 64, ERROR = 5 };

static atomic_int armed, nr_counted;

static void count(void)
{
	if (armed)
		atomic_fetch_add(&nr_counted, 1);
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *old);

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	count();
	return __libc_realloc(old, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	count();
	return __libc_memalign(align, size);
}

void *memalign(size_t align, size_t size)
{
	count();
	return __libc_memalign(align, size);
}

int posix_memalign(void **memory, size_t align, size_t size)
{
	count();
	*memory = __libc_memalign(align, size);
	return *memory ? 0 : ENOMEM;
}

void free(void *old)
{
	if (old)
		count();
	__libc_free(old);
}

FILE *fopen(const char *path, const char *mode)
{
	static FILE *(*next)(const char *, const char *);

	count();
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "fopen");
	return next(path, mode);
}

int open(const char *path, int flags, ...)
{
	static int (*next)(const char *, int, ...);
	va_list args;
	int fd;

	count();
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "open");
	va_start(args, flags);
	fd = next(path, flags, va_arg(args, int));
	va_end(args);
	return fd;
}

static atomic_int here;

static int meet(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	atomic_fetch_add(&here, 1);
	while (here < HELPERS + 1)
		sched_yield();
	return KTASK_RETURN_SUCCESS;
}

static int nest(void *start, void *end, void *arg);

static int yield(void *start, void *end, void *fails)
{
	sched_yield();
	return fails && start <= AT(UNITS / 2) && end > AT(UNITS / 2) ? ERROR : KTASK_RETURN_SUCCESS;
}

static int nest(void *start, void *end, void *fails)
{
	DEFINE_KTASK_CTL(ctl, yield, fails, 1);

	return ktask_run(start, (size_t)((char *)end - (char *)start), &ctl);
}

static void undo(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
}

static void *step(void *position, size_t size)
{
	return AT((uintptr_t)position + size);
}

static int poll(size_t done, size_t total, void *arg)
{
	(void)arg;
	return done > total;
}

static void run_all_kinds(void)
{
	static struct ktask_event events[10];

	for (int i = 0; i < 1000; i++) {
		struct ktask_report report = KTASK_REPORT_INITIALIZER;
		struct ktask_trace trace = { .kt_events = events, .kt_capacity = 10 };
		struct ktask_node nodes[2] = { { AT(0), UNITS, 0 }, { AT(UNITS), UNITS, NUMA_NO_NODE } };
		void *fails = i & 1 ? &nodes : NULL;
		DEFINE_KTASK_CTL(ctl, i & 2 ? nest : yield, fails, 1);

		ktask_ctl_set_undo_func(&ctl, undo);
		ktask_ctl_set_poll_func(&ctl, poll, NULL);
		ktask_ctl_set_report(&ctl, &report);
		ktask_ctl_set_trace(&ctl, &trace);
		if (i & 4)
			ktask_ctl_set_iter_func(&ctl, step);
		CHECK(ktask_run_numa(nodes, 2, &ctl) == (fails ? ERROR : KTASK_RETURN_SUCCESS));
	}
}

int main(void)
{
	DEFINE_KTASK_CTL(ctl, meet, NULL, 1);
	void *volatile something;

	use_helpers(HELPERS);
	CHECK(ktask_init() == 0);
	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS); /* now all the helpers are there */
	run_all_kinds();

	armed = 1;
	run_all_kinds();
	CHECK(nr_counted == 0);

	/* And they would have been counted. */
	something = malloc(1);
	free(something);
	something = fopen("/dev/null", "r");
	CHECK(nr_counted >= 3);
	return 0;
}

#endif
