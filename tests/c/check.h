/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.h: the little that all the tests need, to be included first. A test is a program: it returns 0, or SKIPPED, or
 * has failed.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

/* Which sanitizer this is built with: gcc says so with a macro, clang when asked. */
#ifdef __has_feature
#define HAVE_FEATURE(feature) __has_feature(feature)
#else
#define HAVE_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAVE_FEATURE(address_sanitizer)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__) || HAVE_FEATURE(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

/* What was covered is written at the end of a process, also of one that ends at once (make coverage). */
#ifdef COUNTS_COVERAGE
#ifdef __cplusplus
extern "C"
#endif
	void
	__gcov_dump(void);
#define _exit(status) (__gcov_dump(), _exit(status))
#endif

/* _exit, since a failure may be found in any thread, or in a child that inherited half-written output. */
#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* Position n of a task whose units are numbers. */
#define AT(n) ((void *)(uintptr_t)(n))

/* Under a simulator, or for the impatient: the same tests with fewer rounds. ThreadSanitizer is slow as well. */
static inline int rounds(int normal, int quick)
{
	if (getenv("CHECK_QUICK"))
		return quick;
	return UNDER_TSAN && normal / 2 > quick ? normal / 2 : normal;
}

/* So many helpers, whatever the CPUs, that are called at the slightest occasion. Before the first use of ktask. */
static inline void use_helpers(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	setenv("KTASK_HELPERS", text, 1);
	setenv("KTASK_WAKE_NS", "0", 1);
}

/* Runs function in so many threads, each with its number, from 1 on, and waits for them. */
static inline void in_threads(int n, void *(*function)(void *number))
{
	pthread_t thread[16];

	CHECK(n <= 16);
	for (int i = 0; i < n; i++)
		CHECK(pthread_create(&thread[i], NULL, function, (void *)(uintptr_t)(i + 1)) == 0);
	for (int i = 0; i < n; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

/* Waits for a child, which must end well. */
static inline void check_child(pid_t child)
{
	int status;

	CHECK(child > 0);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Runs test in a process of its own, so that it meets a fresh library. exit, so that leaks are looked for. */
static inline void in_child(void (*test)(void))
{
	pid_t child = fork();

	if (child == 0) {
		test();
		exit(0);
	}
	check_child(child);
}

/* Runs test with the default settings, and with helpers as many and as eager as it takes to make races likely. */
static inline void with_each_setting(void (*test)(void))
{
	static const int helpers[] = { 1, 2, 7 };

	in_child(test);
	for (size_t i = 0; i < sizeof(helpers) / sizeof(helpers[0]); i++) {
		use_helpers(helpers[i]);
		in_child(test);
	}
	unsetenv("KTASK_HELPERS");
	unsetenv("KTASK_WAKE_NS");
}

#endif
