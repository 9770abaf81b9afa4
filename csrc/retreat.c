/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * retreat.c: helpers go home when somebody else wants their CPU.
 *
 * A helper takes CPU time from a neighbour at nice 0 like any other thread, unless it is at nice 19. Even that counts
 * only among the threads of one scheduling group: a neighbour in another session (autogroup) or container (cgroup) has
 * nothing from it. So helpers look how long they wait for a CPU. On a CPU of their own they never do; whoever waits
 * shares it with somebody, and makes that somebody wait as long.
 *
 * The sign is the time that the kernel counts for each thread between being ready to run and running: the second number
 * in /proc/thread-self/schedstat (Documentation/scheduler/sched-stats.rst), kept open since a helper is born. How often
 * it had to make way (ru_nivcsw) is a bad sign: the kernel's own threads and a change of its CPUs count as well.
 *   - A helper that was woken and came late, because it waited, goes home before it has begun. SCHED_BATCH makes this
 *     the usual case: woken beside somebody who works, it has to wait until that one's time slice is over. The neighbour
 *     has lost nothing then but a look at the clock. The same if it was sent home before it came at all; and callers
 *     that were never answered for a millisecond in all need no helper to tell them (team.c).
 *   - One that works looks between chunks, twice in a millisecond, and goes home when it waited for a good part of the
 *     time.
 *
 * After a retreat helpers are not replaced: for a pause, runs of this process have no more of them at work than were
 * left. Then the next one that is called finds out whether the neighbour is still there. If so, the pause doubles; it
 * starts from the shortest again after as much time as it lasted has passed without a retreat. So a neighbour who stays
 * is bothered by one helper in a second, and one that has gone is missed for a second at most.
 */
#define _GNU_SOURCE
#include "retreat.h"

#include "clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* At work: what the kernel's own threads take from it is less than this, or less than a tenth of its time. */
enum { DISTURBED_NS = 300000, DISTURBED_PART = 10 };

/* How often a helper at work looks: the look takes 0.6 µs. */
enum { LOOK_NS = 500000 };

/* The pause after a retreat: from about a time slice to what nobody notices. */
enum { FIRST_PAUSE_NS = 4000000, LONGEST_PAUSE_NS = 1000000000 };

/*
 * Relaxed throughout, as they guard nothing: who sees old values calls a helper too many, or one too few for now. Who
 * moves pause_end on has the word on the other two.
 */
static _Atomic uint64_t pause_end;
static _Atomic uint64_t pause_ns;
static _Atomic int room;

/* The second of "run waited slices". -1: there is no such thing, or somebody has closed it. */
static int64_t read_waited(int fd)
{
	char text[64], *end;
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	strtoull(text, &end, 10);
	return (int64_t)strtoull(end, NULL, 10);
}

/* Without schedstat: what is left of the time when it had to make way, and never slept. */
static uint64_t time_missing(struct waits *w, uint64_t now)
{
	struct waits before = *w;
	struct timespec t;
	struct rusage u;

	if (getrusage(RUSAGE_THREAD, &u) != 0 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
		return 0;
	w->worked = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	w->slept = u.ru_nvcsw;
	w->forced = u.ru_nivcsw;
	if (w->slept != before.slept || w->forced == before.forced)
		return 0;
	return now - before.looked > w->worked - before.worked ? now - before.looked - (w->worked - before.worked) : 0;
}

/* For how many ns has it waited since it last looked? */
static uint64_t look(struct waits *w, uint64_t now)
{
	int64_t waited = read_waited(w->fd);
	uint64_t ns;

	if (waited < 0) {
		w->fd = -1;
		ns = time_missing(w, now);
	} else {
		ns = (uint64_t)waited > w->waited ? (uint64_t)waited - w->waited : 0;
		w->waited = (uint64_t)waited;
	}
	w->looked = now;
	return ns;
}

void waits_open(struct waits *w)
{
	struct stat s;

	w->fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (w->fd >= 0 && fstat(w->fd, &s) == 0) {
		w->dev = s.st_dev;
		w->ino = s.st_ino;
	}
	w->open = true;
	look(w, clock_ns());
}

void waits_close(struct waits *w)
{
	struct stat s;

	/* The program may have closed it, and the number may stand for something else now. */
	if (w->open && w->fd >= 0 && fstat(w->fd, &s) == 0 && s.st_dev == w->dev && s.st_ino == w->ino)
		close(w->fd);
	w->open = false;
}

void waits_before_sleep(struct waits *w)
{
	look(w, clock_ns());
}

void waits_after_sleep(struct waits *w, uint64_t now)
{
	if (w->fd < 0)
		time_missing(w, now);
	w->looked = now;
}

bool waits_late(struct waits *w, uint64_t now)
{
	return look(w, now) > LATE_NS;
}

bool waits_at_work(struct waits *w, uint64_t now)
{
	uint64_t since = now - w->looked, ns;

	if (since < LOOK_NS)
		return false;
	ns = look(w, now);
	return ns > DISTURBED_NS && ns > since / DISTURBED_PART;
}

void retreat(int others)
{
	uint64_t now = clock_ns(), end = atomic_load_explicit(&pause_end, memory_order_relaxed);
	uint64_t pause = atomic_load_explicit(&pause_ns, memory_order_relaxed);
	int left = atomic_load_explicit(&room, memory_order_relaxed);

	if (now < end) { /* one of several that go for the same reason */
		while (others < left && !atomic_compare_exchange_weak_explicit(
						&room, &left, others, memory_order_relaxed, memory_order_relaxed))
			;
		return;
	}
	pause = now - end > pause ? FIRST_PAUSE_NS : 2 * pause < LONGEST_PAUSE_NS ? 2 * pause : LONGEST_PAUSE_NS;
	if (!atomic_compare_exchange_strong_explicit(&pause_end, &end, now + pause, memory_order_relaxed,
						     memory_order_relaxed))
		return;
	atomic_store_explicit(&pause_ns, pause, memory_order_relaxed);
	atomic_store_explicit(&room, others, memory_order_relaxed);
}

bool retreat_forbids(int helpers)
{
	uint64_t end = atomic_load_explicit(&pause_end, memory_order_relaxed);

	return end && helpers >= atomic_load_explicit(&room, memory_order_relaxed) && clock_ns() < end;
}

uint64_t retreat_pause_ns(void)
{
	return clock_ns() < atomic_load_explicit(&pause_end, memory_order_relaxed)
		       ? atomic_load_explicit(&pause_ns, memory_order_relaxed)
		       : 0;
}
