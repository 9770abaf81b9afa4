/* SPDX-License-Identifier: BSD-3-Clause */
/* futex.h: sleep until a word changes (futex(2)). Both calls allow spurious wake-ups: look again after each. */
#ifndef KTASK_FUTEX_H
#define KTASK_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FUTEX_FOREVER UINT64_MAX

/* Where the system refuses futexes (a sandbox, say), a waiter looks this often. */
enum { NAP_NS = 1000000 };

/*
 * Sleeps while *word is expected, for timeout_ns at most. The kernel compares the word and goes to sleep as one step
 * with respect to futex_wake, so a change that is followed by a wake is never slept through.
 */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec t = { .tv_sec = (time_t)(timeout_ns / 1000000000u),
			      .tv_nsec = (long)(timeout_ns % 1000000000u) };

	if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns == FUTEX_FOREVER ? NULL : &t, NULL, 0) &&
	    (errno == EPERM || errno == ENOSYS))
		nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

/*
 * Wakes one sleeper. The word is only an address here: it may belong to somebody else by now, whose sleepers then see
 * a spurious wake-up.
 */
static inline void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
