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
 *     has lost nothing then but a look at the clock. The same if it was sent home before it came at all.
 *   - Callers that were never answered for a millisecond in all need no helper to tell them (gather.c), if no CPU is free.
 *     Otherwise it may be the host of a virtual machine who lets them wait: it runs late what is seldom used, and a pause
 *     would make that worse. Soon after a pause, an eighth of a millisecond will do (or what three answers take): most
 *     likely the neighbour is still there, and each call costs as much as a wake.
 *   - One that works looks between chunks, twice in a millisecond, and goes home when it waited for a good part of the
 *     time.
 *
 * After a retreat helpers are not replaced: for a pause, runs of this process have no more of them at work than were
 * left. Then the next one that is called finds out whether the neighbour is still there. If so, the pause doubles. It
 * starts from the shortest again after as much time as it lasted has passed without a retreat, or an eighth of a second
 * since a helper came in time: or who drops in now and then would be taken for one who stays. So a neighbour who stays
 * is bothered by one helper in a second, and one that has gone is missed for a second at most.
 *
 * Word
 *   pause   when it ends, how often it was doubled, and the room: how many helpers there may be until then. 0: there was
 *           none yet. After a long pause, once a helper more than that has come in time, the end is when it came, and
 *           marked (CAME). It is changed by compare-and-exchange only.
 * Going home (retreat), by a helper; or by a caller that was not answered
 *   1. look at the clock, then at the word.
 *   2. If the pause lasts, lower its room to those that are left, unless it is as low already.
 *   3. If it is over, begin another one.
 *   4. If the word has changed since 1, go on at 2 with what it is now.
 * Coming in time (retreat_came), by a helper that was woken
 *   5. If the pause is over, had no room for this one, and is forgotten sooner then, mark that; unless the word has
 *      changed.
 * Calling (retreat_forbids)
 *   6. While the pause lasts, call nobody if there are as many at work as it has room for.
 *
 * Why it is right. End, length and room change in one step, so they are always those of the same pause. Of several that
 * go for the same reason one begins the pause, and the others, who find it lasting, lower its room: so it doubles once,
 * and the room is the least that one of them left. A pause ends at most the longest time after its beginner's look at
 * the clock, and steps 2 and 5 never put it off: so nobody is kept from calling for longer. Who is between 6 and the call
 * when the word changes calls a helper too many, who finds out by itself. The word guards nothing else, so all is relaxed.
 * tests/model/pauses.pml explores this.
 */
#define _GNU_SOURCE
#include "retreat.h"

#include "clock.h"
#include "topology.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

/* At work: what the kernel's own threads take from it is less than this, or less than a tenth of its time. */
enum { DISTURBED_NS = 300000, DISTURBED_PART = 10 };

/* How often a helper at work looks: the look takes 0.6 µs. */
enum { LOOK_NS = 500000 };

/* How long callers wait in vain, in all, before they retreat: a free CPU answers in 0.1 ms. */
enum { PATIENCE_NS = 1000000 };

/* The pause after a retreat: from about a time slice to what nobody notices. */
enum { FIRST_PAUSE_NS = 4000000, LONGEST_PAUSE_NS = 1000000000, MOST_DOUBLED = 8 };

/* After so much time without a retreat since a helper came in time, the next pause is the shortest. */
enum { QUIET_NS = 125000000 };

/* Bits 0 to 13 the room, bits 14 to 17 how often it was doubled, bits 19 to 63 the end in ticks of 2^16 ns. */
enum { ROOM = (1 << 14) - 1, DOUBLED_SHIFT = 14, DOUBLED = 15, CAME = 1 << 18, END_SHIFT = 19, TICK_SHIFT = 16 };
static _Atomic uint64_t pause_word;

static struct kept_file loadavg;

static_assert((int)MAX_CPUS <= (int)ROOM, "there is a room for all helpers");
static_assert((int64_t)FIRST_PAUSE_NS << MOST_DOUBLED >= LONGEST_PAUSE_NS, "doubled so often it is the longest");

static uint64_t end_of(uint64_t word)
{
	return word >> END_SHIFT << TICK_SHIFT;
}

static unsigned doubled_of(uint64_t word)
{
	return (unsigned)(word >> DOUBLED_SHIFT) & DOUBLED;
}

static uint64_t ns_of(unsigned doubled)
{
	uint64_t ns = (uint64_t)FIRST_PAUSE_NS << doubled;

	return ns < LONGEST_PAUSE_NS ? ns : LONGEST_PAUSE_NS;
}

static bool lasts(uint64_t word, uint64_t now)
{
	return now < end_of(word) && !(word & CAME);
}

/* When it is forgotten, if nobody retreats until then. */
static uint64_t forgotten_at(uint64_t word)
{
	return end_of(word) + (word & CAME ? QUIET_NS : ns_of(doubled_of(word)));
}

/* The second of "run waited slices". -1: there is no such thing, or it is not open any more. */
static int64_t read_waited(const struct waits *w)
{
	char text[64], *end;

	if (!kept_read(&w->schedstat, text, sizeof(text)))
		return -1;
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
	int64_t waited = read_waited(w);
	uint64_t ns;

	if (waited < 0) {
		kept_close(&w->schedstat);
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
	kept_open(&w->schedstat, "proc/thread-self/schedstat");
	look(w, clock_ns());
}

void waits_close(struct waits *w)
{
	kept_close(&w->schedstat);
}

void waits_before_sleep(struct waits *w)
{
	look(w, clock_ns());
}

void waits_after_sleep(struct waits *w, uint64_t now)
{
	if (!w->schedstat.open)
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

void retreat_start(void)
{
	kept_open(&loadavg, "proc/loadavg");
}

void retreat(int others, uint64_t now)
{
	uint64_t word = atomic_load_explicit(&pause_word, memory_order_relaxed), next;
	uint64_t room = others < 0 ? 0 : others < ROOM ? (uint64_t)others : ROOM; /* below 0 in a child of fork */

	do {
		if (lasts(word, now)) {
			if (room >= (word & ROOM))
				return;
			next = (word & ~(uint64_t)ROOM) | room;
		} else {
			unsigned before = doubled_of(word);
			unsigned doubled = now > forgotten_at(word) ? 0 : before + (before < MOST_DOUBLED);

			next = (now + ns_of(doubled)) >> TICK_SHIFT << END_SHIFT | doubled << DOUBLED_SHIFT | room;
		}
	} while (!atomic_compare_exchange_weak_explicit(&pause_word, &word, next, memory_order_relaxed,
							memory_order_relaxed));
}

/*
 * Are no more threads ready to run, on the whole machine, than this one may use CPUs? The fourth number in /proc/loadavg
 * counts them (proc_loadavg(5)), at this moment, also a helper that was called and waits. It may deceive where not all
 * CPUs are for all threads: then a helper whose own are taken goes home when it comes at last.
 */
static bool is_cpu_free(void)
{
	char text[128];
	struct cpus mine;
	int ready = 0, cancel;

	/* To read would end a thread that is being cancelled, in the middle of the end of its run. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (kept_read(&loadavg, text, sizeof(text)) && sscanf(text, "%*s %*s %*s %d/", &ready) != 1)
		ready = 0;
	pthread_setcancelstate(cancel, NULL);
	topology_allowed(pthread_self(), &mine);
	return ready > 0 && ready <= cpus_count(&mine);
}

void retreat_unanswered(int others, uint64_t now)
{
	if (!is_cpu_free())
		retreat(others, now);
}

void retreat_came(int helpers, uint64_t now)
{
	uint64_t word = atomic_load_explicit(&pause_word, memory_order_relaxed);

	if (helpers <= (int)(word & ROOM) || lasts(word, now) || now + QUIET_NS >= forgotten_at(word))
		return;
	atomic_compare_exchange_strong_explicit(&pause_word, &word,
						now >> TICK_SHIFT << END_SHIFT | CAME | (word & (CAME - 1)),
						memory_order_relaxed, memory_order_relaxed);
}

bool retreat_forbids(int helpers)
{
	uint64_t word = atomic_load_explicit(&pause_word, memory_order_relaxed);

	return word && helpers >= (int)(word & ROOM) && lasts(word, clock_ns());
}

uint64_t retreat_patience_ns(uint64_t answer_ns, uint64_t now)
{
	uint64_t word = atomic_load_explicit(&pause_word, memory_order_relaxed);
	uint64_t least = 3 * answer_ns > PATIENCE_NS / 8 ? 3 * answer_ns : PATIENCE_NS / 8;
	bool soon = word && !(word & CAME) && now < forgotten_at(word);

	return soon && least < PATIENCE_NS ? least : PATIENCE_NS;
}

uint64_t retreat_pause_ns(uint64_t now)
{
	uint64_t word = atomic_load_explicit(&pause_word, memory_order_relaxed);

	return lasts(word, now) ? ns_of(doubled_of(word)) : 0;
}
