/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool.c: helpers, and how they are called, sent home and waited for. This file tells the protocol, and makes the pool.
 * The helper's side is in helper.c, the caller's in team.c, gather.c and will.c; birth.c makes the threads.
 *
 * Words
 *   helper   a thread of the pool, bound to the CPUs of one node. It serves one team at a time. There is a place in the
 *            tables for as many as there may be; the thread is born when it is called for the first time.
 *   team     the helpers of one run, on the caller's stack. It lives until its caller has seen team->here at 0.
 *   owner    whoever may write a helper's fields. Ownership goes from hand to hand: see below.
 *
 * State
 *   pool.idle      a bit for each helper: set, it has no owner and anyone may take it by clearing the bit.
 *   helper->word   PARKED (asleep in futex_wait, or on the way there), LINGERING (awake, watching the word) or RUNNING
 *                  (serving helper->team); CALLED is added to the first two by who calls it. The bits above count
 *                  the calls, so that one call is not taken for another.
 *   team->here     how many helpers were called and are not gone yet.
 *   team->called   which ones.
 *   helper->keeps  its owner's: it is idle, but has its seat and its place in the limits still, for the next call.
 *
 * Calling (team_call), by the caller or a member of the team; so team->here is above 0, or the caller is awake (crew.c: by
 * any thread, while the caller is)
 *   1. add to team->here, unless team->max is reached; take the helper: clear its idle bit. Whoever clears it is its
 *      owner. Take back what a mark says that it still has of a loan. If it lingers where it is wanted, it goes on with
 *      what it keeps; otherwise give that back, count it in the limits and find it a seat. If it is not born, make its
 *      thread, which starts at 4. Who does not call it after all sets the idle bit; it keeps nothing then.
 *   2. write helper->team; add to team->called.
 *   3. add CALLED and a call to the word, which nobody else writes meanwhile. If that was PARKED, futex_wake.
 * Answering (await_call), by the helper
 *   4. wait until the word has CALLED. Parked, it sleeps only while the word is PARKED, which futex_wait compares in
 *      the kernel in one step with falling asleep: had CALLED been added before, it does not sleep; after, step 3
 *      wakes it. So no call is slept through.
 *   5. exchange the word for RUNNING if it still has CALLED, and become the owner. Then do team->work, unless it came so
 *      late that somebody else must want its CPU (retreat.c).
 * Leaving (leave), by the helper
 *   6. clear its bit in team->called; if it is not to linger, give back its seat and its place in the limits; subtract
 *      from team->here. The team may be gone now.
 *      If that made 0 of a count whose caller sleeps, futex_wake: the address may be somebody else's by then, who
 *      sees a spurious wake-up, as every user of a futex must expect. Then take back what it was lent.
 *   7. set the word to PARKED or LINGERING, then the idle bit: nobody owns it. One that lingers and has done so for long
 *      enough (park) takes itself as in step 1, gives back what it keeps, changes the word to PARKED and sets the idle
 *      bit. If somebody else has taken it, it lingers on: it is called in a moment, or its idle bit is set again.
 * Sending home (dismiss), by the team's caller
 *   8. see CALLED in the word, then that helper->team is this team; then take CALLED off if the word has not changed.
 *      If it has not, no other call was made in between, so it is this team's; and the step that succeeds, this or 5,
 *      decides: after this one the helper has never seen the call. A futex_wake on its way to it is spurious. The
 *      caller is the owner now; it undoes 2 and 1, and sets the idle bit. It may leave LINGERING behind where PARKED
 *      was: the futex_wake of step 3 is done or will be, so the helper comes and lingers.
 * Gathering (team_gather), by the caller
 *   9. unless team->here is 0 in a moment, dismiss, then wait until it is: a while by looking, then asleep with
 *      TEAM_CALLER_SLEEPS in the word, which the last to leave sees in what step 6 subtracted from. Asleep only while the
 *      word is unchanged, so the last one cannot be missed. Every helper that is not dismissed runs or will run, finds no
 *      work, and leaves.
 *
 * Willing (will_one), by a caller that waits
 *  10. take a helper of team->called that is RUNNING. Give it the caller's nice or CPU, then set the mark in helper->lent,
 *      then look whether its bit is still in team->called. If it is not, the helper may have left before the mark: restore
 *      its nice. Step 6 clears the bit first and takes the marks then; so the helper sees the mark, or the caller that the
 *      bit is gone, or both, and who sees it restores. A mark may stay behind on a helper that has left, or has been
 *      called into the same team again and is dismissed: whoever takes it later, in step 1, 6 or 8, restores, which at
 *      worst is once too often. A restore that comes late may hit a helper that another team has willed meanwhile: its caller
 *      wills again when it looks the next time. A lent CPU goes back when the helper is placed for its next call; of
 *      that only its owner is told, by the mark. The helper may end its thread at any time, so here it is known by
 *      its tid, which may be nobody's any more (or, if the kernel has come round all numbers in that moment, somebody
 *      else's), and not by helper->thread, whose memory goes with it. The tid is 0 from when another thread is made until
 *      that one has come up: it has been lent nothing.
 *  11. A helper of a team whose members share a lock has its caller's nice by itself, from 5 until after 6. It writes
 *      helper->nice first and gives itself that nice then, and the same when it steps back. To restore is to give it what
 *      is written there, and again if another one is written there afterwards. So of a restore that comes late, either it
 *      comes before what the helper does itself, or it sees what that was: the nice that remains is the helper's own.
 *
 * A thread function may end its thread. A helper then does steps 6 and 7 on its way out (helper_ends), and is born again
 * when it is called. A caller gathers before its stack goes (abandon in run.c).
 *
 * Orders: setting an idle bit releases what its owner wrote, clearing it acquires (7 to 1, 8 to 1). Adding CALLED
 * releases, step 5 acquires (helper->team, and all of the run). The subtraction of step 6 releases all that the helper
 * did, and the caller's look at 0 acquires it; subtractions form one release sequence, so the last one stands for all.
 *
 * Fork: in the child there is only the thread that forked; in the parent nothing has changed. pool.starting is held over
 * the fork, so no table is half made. The child sets words, idle bits and limits back to what they were before the
 * first call, and pool.forks grows. A team with an older number calls nobody any more, and if it had helpers (here is
 * above 0) it is orphaned: it is never gathered, and its run claims nothing more, for an iterator's lock may be held by a
 * thread that is not there. A team without helpers is whole in the child, and its run goes on. A helper that forked
 * ends the child when it is back from the thread function.
 *
 * Surveying (pool_look_again): helpers that come home look at the machine now and then, between 6 and 7. Where none may be
 * called, one is called all the same, to pool.surveyors, a team without a caller that is always there; it goes by steps
 * 1 to 7 but counts against no limit, and nobody waits for it.
 *
 * All this is explored by tests/model/pool.pml and willing.pml, and the orders by orders.cpp.
 */
#define _GNU_SOURCE
#include "pool.h"

#include "clock.h"
#include "environment.h"
#include "facts.h"
#include "fsroot.h"
#include "futex.h"
#include "ktask.h"
#include "limits.h"
#include "pool_private.h"
#include "price.h"
#include "priority.h"
#include "tid.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pool pool = {
	.starting = PTHREAD_MUTEX_INITIALIZER,
};

THREAD_LOCAL struct team *serving;
THREAD_LOCAL int caller_seat = -1;
THREAD_LOCAL int thread_number;

/* This thread's tid; 0: not asked for yet, or it may change, as long as nobody notices forks. */
static THREAD_LOCAL pid_t known_tid;

const char *pool_why_off(void)
{
	return atomic_load_explicit(&pool.state, memory_order_acquire) == NO_POOL ? pool.why_off : NULL;
}

const struct topology *pool_topology(void)
{
	return &pool.topology;
}

int ktask_thread(void)
{
	return thread_number;
}

int pool_tid(void)
{
	pid_t tid = known_tid;

	if (tid)
		return tid;
	tid = this_tid();
	if (pool_nr_helpers())
		known_tid = tid;
	return tid;
}

size_t ktask_max_threads(void)
{
	pool_start();
	return (size_t)pool_nr_helpers() + 1;
}

unsigned pool_forks(void)
{
	return atomic_load_explicit(&pool.forks, memory_order_relaxed);
}

bool pool_is_overfull(uint64_t now)
{
	if (facts_are_stale(true, now))
		facts_survey(true);
	return limits_running() > limits_max();
}

bool is_idle(int id)
{
	return atomic_load_explicit(&pool.idle[id / HELPER_BITS], memory_order_relaxed) >> (id % HELPER_BITS) & 1;
}

struct helper *take_idle(int id)
{
	uint64_t bit = UINT64_C(1) << (id % HELPER_BITS);

	if (atomic_fetch_and_explicit(&pool.idle[id / HELPER_BITS], ~bit, memory_order_acquire) & bit)
		return &pool.helpers[id];
	return NULL;
}

void set_idle(struct helper *h)
{
	atomic_fetch_or_explicit(&pool.idle[h->id / HELPER_BITS], UINT64_C(1) << (h->id % HELPER_BITS),
				 memory_order_release);
}

/* ---- making the pool -------------------------------------------------------------------------------------------- */

/*
 * The limits as the machine is now: one less than threads that may work, for the caller; and for all processes under the
 * same quota as many threads as it has whole CPUs.
 */
static void heed(const struct facts *facts)
{
	const struct quota *quota = &facts->quota;
	bool counts = quota->period && quota->usec / quota->period < (uint64_t)facts->cpus;

	if (pool.oversubscribed)
		return;
	limits_set_max(facts->threads - 1);
	limits_set_group(counts ? quota->cgroup : 0, counts ? (int)(quota->usec / quota->period) : 0);
}

/* Room in the tables for one helper less than there may ever be CPUs, which may come to any node; or KTASK_HELPERS. */
static bool share_out_helpers(void)
{
	const struct topology *t = &pool.topology;
	long fixed = number_from_environment("KTASK_HELPERS", -1, MAX_HELPERS);
	struct cpus cpus;
	int to_come;

	pool.oversubscribed = fixed >= 0;
	pool.first = calloc((size_t)t->nr_nodes + 1, sizeof(*pool.first));
	if (!pool.first)
		return false;
	limits_init((int)number_from_environment("KTASK_MAX_HELPERS", MAX_HELPERS, MAX_HELPERS), fixed < 0,
		    t->end_possible);
	limits_set_max(fixed >= 0 ? (int)fixed : 0);
	topology_all_cpus(t, &cpus);
	to_come = t->nr_possible - cpus_count(&cpus);
	for (int node = 0; node < t->nr_nodes; node++) {
		int n;

		topology_cpus(t, node, &cpus);
		n = cpus_count(&cpus) + (to_come + t->nr_nodes - 1) / t->nr_nodes;
		if (fixed >= 0)
			n = (int)(fixed * (node + 1) / t->nr_nodes - fixed * node / t->nr_nodes);
		else if (n > t->nr_possible - 1)
			n = t->nr_possible - 1;
		if (n > MAX_HELPERS - pool.first[node])
			n = MAX_HELPERS - pool.first[node];
		pool.first[node + 1] = pool.first[node] + n;
	}
	pool.nr_helpers = pool.first[t->nr_nodes];
	pool.nr_words = (pool.nr_helpers + HELPER_BITS - 1) / HELPER_BITS;
	return true;
}

/* All helpers as they are before they are born, and nobody's. Their memory is zeroed, or theirs. */
static void reset_helpers(void)
{
	for (int node = 0; node < pool.topology.nr_nodes; node++) {
		for (int id = pool.first[node]; id < pool.first[node + 1]; id++) {
			struct helper *h = &pool.helpers[id];

			waits_close(&h->waits);
			memset(h, 0, sizeof(*h));
			h->id = id;
			h->node = node;
			h->placed_off = -1;
			h->seat = -1;
			set_idle(h);
		}
	}
}

static bool make_tables(void)
{
	long wake_ns = number_from_environment("KTASK_WAKE_NS", -1, 1000000000);

	if (wake_ns >= 0)
		price_fix((uint32_t)wake_ns);
	fsroot_init();
	if (!topology_read(&pool.topology) || !share_out_helpers())
		return false;
	/* Of helpers that outnumber the CPUs some always wait, and that tells nothing. */
	pool.stubborn = is_off_in_environment("KTASK_RETREAT", pool.oversubscribed);
	if (!pool.stubborn)
		retreat_start();
	facts_start(&pool.topology, heed);
	pool_reset_surveyors();
	if (pool.nr_helpers == 0)
		return true;
	pool.helpers = aligned_alloc(_Alignof(struct helper), (size_t)pool.nr_helpers * sizeof(*pool.helpers));
	pool.idle = calloc((size_t)pool.nr_words, sizeof(*pool.idle));
	if (!pool.helpers || !pool.idle)
		return false;
	memset(pool.helpers, 0, (size_t)pool.nr_helpers * sizeof(*pool.helpers));
	reset_helpers();
	return true;
}

/* How many helpers there may be at most, before the pool stands and knows. */
static int expected_helpers(void)
{
	static _Atomic int expected = -1; /* found out once: it takes system calls */
	int n = atomic_load_explicit(&expected, memory_order_relaxed);

	if (n < 0) {
		n = (int)number_from_environment("KTASK_HELPERS", -1, MAX_HELPERS);
		if (n < 0)
			n = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
		n = n < 0 ? 0 : n > MAX_HELPERS ? MAX_HELPERS : n;
#ifndef __GLIBC__
		if (n == 0) /* musl's sysconf counts the CPUs that this thread may use: the next one may use more */
			return 0;
#endif
		atomic_store_explicit(&expected, n, memory_order_relaxed);
	}
	return n;
}

bool pool_retreats(void)
{
	return !pool.stubborn;
}

bool pool_is_oversubscribed(void)
{
	return pool.oversubscribed;
}

int pool_nr_helpers(void)
{
	return atomic_load_explicit(&pool.state, memory_order_acquire) == STARTED ? pool.nr_helpers : 0;
}

int pool_most_helpers(void)
{
	switch (atomic_load_explicit(&pool.state, memory_order_acquire)) {
	case STARTED:
		return limits_max();
	case NO_POOL:
		return 0;
	default:
		return expected_helpers();
	}
}

static void before_fork(void)
{
	pthread_mutex_lock(&pool.starting);
	limits_hold();
}

static void after_fork_in_parent(void)
{
	limits_let_go();
	pthread_mutex_unlock(&pool.starting);
}

static void after_fork_in_child(void)
{
	limits_let_go();
	pthread_mutex_unlock(&pool.starting);
	/* A helper that forks is none in the child, where there will be another one in its place. */
	if (thread_number)
		pthread_sigmask(SIG_SETMASK, &pool.signals, NULL);
	thread_number = 0;
	known_tid = 0;
	atomic_fetch_add_explicit(&pool.forks, 1, memory_order_relaxed);
	atomic_store_explicit(&pool.coming, 0, memory_order_relaxed);
	facts_forked();
	if (atomic_load_explicit(&pool.state, memory_order_relaxed) != STARTED)
		return;
	reset_helpers();
	limits_reset();
	pool_reset_surveyors();
	caller_seat = -1;
	not_gathered = NULL;
}

static bool handles_forks;

static void handle_forks(void)
{
	handles_forks = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* With pool.starting held. Returns why there is no pool, or NULL: it stands. */
static const char *start(void)
{
	if (!handles_forks || !make_tables())
		return "there was no memory for the pool";
	if (is_off_in_environment("KTASK", false))
		return "KTASK=off is set in the environment";
	if (pool.nr_helpers == 0)
		return pool.oversubscribed ? "KTASK_HELPERS=0 is set in the environment" : "this machine has one CPU";
	block_signals(&pool.signals);
	priority_probe();
	pthread_sigmask(SIG_SETMASK, &pool.signals, NULL);
	return NULL;
}

bool pool_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	enum pool_state state = atomic_load_explicit(&pool.state, memory_order_acquire);

	if (state == NOT_STARTED) {
		int cancellable;

		/* Before the lock is ever taken, or a child could inherit it locked. */
		pthread_once(&once, handle_forks);
		/* To open a file would end a thread that is being cancelled, and it has the lock. */
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellable);
		pthread_mutex_lock(&pool.starting);
		state = atomic_load_explicit(&pool.state, memory_order_relaxed);
		if (state == NOT_STARTED) {
			pool.why_off = start();
			state = pool.why_off ? NO_POOL : STARTED;
			atomic_store_explicit(&pool.state, state, memory_order_release);
		}
		pthread_mutex_unlock(&pool.starting);
		pthread_setcancelstate(cancellable, NULL);
	}
	return state == STARTED;
}
