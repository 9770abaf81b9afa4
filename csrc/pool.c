/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool.c: helpers, and how they are called, sent home and waited for.
 *
 * Words
 *   helper   a thread of the pool, bound to the CPUs of one node. It serves one team at a time.
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
 *
 * Calling (team_call), by the caller or a member of the team; so team->here is above 0, or the caller is awake
 *   1. add to team->here, unless team->max is reached; take the helper: clear its idle bit. Whoever clears it is its
 *      owner.
 *   2. write helper->team; add to team->called.
 *   3. add CALLED and a call to the word. If that found PARKED, futex_wake.
 * Answering (await_call), by the helper
 *   4. wait until the word has CALLED. Parked, it sleeps only while the word is PARKED, which futex_wait compares in
 *      the kernel in one step with falling asleep: had CALLED been added before, it does not sleep; after, step 3
 *      wakes it. So no call is slept through.
 *   5. exchange the word for RUNNING if it still has CALLED, and become the owner. Then do team->work.
 * Leaving (leave), by the helper
 *   6. clear its bit in team->called, take back its priority, subtract from team->here. The team may be gone now.
 *      If that made 0 of a count whose caller sleeps, futex_wake: the address may be somebody else's by then, who
 *      sees a spurious wake-up, as every user of a futex must expect.
 *   7. set the word to PARKED or LINGERING, then the idle bit: nobody owns it.
 * Sending home (dismiss), by the team's caller
 *   8. see CALLED in the word, then that helper->team is this team; then take CALLED off if the word has not changed.
 *      If it has not, no other call was made in between, so it is this team's; and the step that succeeds, this or 5,
 *      decides: after this one the helper has never seen the call. A futex_wake on its way to it is spurious. The
 *      caller is the owner now; it undoes 2 and 1, and sets the idle bit.
 * Gathering (team_gather), by the caller
 *   9. dismiss, then wait until team->here is 0: a while by looking, then asleep with TEAM_CALLER_SLEEPS in the word,
 *      which the last to leave sees in what step 6 subtracted from. Asleep only while the word is unchanged, so the
 *      last one cannot be missed. Every helper that is not dismissed runs or will run, finds no work, and leaves.
 *
 * Orders: setting an idle bit releases what its owner wrote, clearing it acquires (7 to 1, 8 to 1). Adding CALLED
 * releases, step 5 acquires (helper->team, and all of the run). The subtraction of step 6 releases all that the helper
 * did, and the caller's look at 0 acquires it; subtractions form one release sequence, so the last one stands for all.
 *
 * Fork: the child has no helpers. pool.forks grows, the pool counts as never started, and a team of before is left
 * alone by everyone: its helpers do not exist in the child, and in the parent nothing has changed.
 */
#define _GNU_SOURCE
#include "pool.h"

#include "clock.h"
#include "futex.h"
#include "limits.h"
#include "priority.h"
#include "thread_local.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* helper->word: bits 0 and 1 the state, bit 2 CALLED, bits 3 to 31 the number of calls. */
enum { PARKED = 0, LINGERING = 1, RUNNING = 2, STATE = 3, CALLED = 4, ONE_CALL = 8 };

/* The team that this thread, a helper, works for. */
static THREAD_LOCAL struct team *serving;

#define TEAM_CALLER_SLEEPS (UINT32_C(1) << 31)

/* Used until the first wake has been measured; about a virtual machine's. */
enum { FIRST_WAKE_NS = 15000, FIRST_ANSWER_NS = 50000 };

/* A helper never lingers longer: about what waking it costs, so that it loses at most what it may win. */
enum { LINGER_NS = 50000 };

/* While it lingers: how often it lets others run, and the gap in its own time that tells that they did. */
enum { YIELD_NS = 2000, PREEMPTED_NS = 10000 };

struct helper {
	_Alignas(64) _Atomic uint32_t word;
	atomic_bool willed;	     /* some caller lent it its priority */
	_Atomic(struct team *) team; /* written by the owner; others only compare it */
	int id;
	int node;
	pid_t tid;
	pthread_t thread;

	/* The owner's. */
	uint64_t called_at;
	uint64_t idle_since;
	bool lingers;	     /* its last call came soon enough to linger for the next */
	pthread_t placed_by; /* the caller for whom mask was made, and the CPU it keeps away from */
	int placed_off;
	struct cpus mask; /* where it may run now */
};

static_assert(offsetof(struct team, here) % 64 == 0, "what all members write shares no line with what they read");
static_assert(sizeof(struct helper) % 64 == 0, "helpers share no cache line");

enum pool_state { NOT_STARTED, STARTED, NO_POOL };

static struct {
	pthread_mutex_t starting;
	_Atomic enum pool_state state;
	_Atomic unsigned forks;
	_Atomic uint32_t wake_ns;
	_Atomic uint32_t answer_ns;
	_Atomic int nr_lingering;
	_Atomic uint32_t coming; /* threads that were made but have not come up; a futex */

	/* Written once, before state becomes STARTED or NO_POOL. */
	const char *why_off;
	bool has_tables;
	bool oversubscribed; /* KTASK_HELPERS: helpers may be more than there are CPUs for them */
	bool fixed_wake;     /* KTASK_WAKE_NS */
	int nr_helpers;
	int nr_words;
	int *first;		/* of each node's helpers, which are numbered in a row; nr_nodes + 1 of them */
	struct helper *helpers; /* nr_helpers */
	_Atomic uint64_t *idle; /* nr_words */
	struct topology topology;
} pool = { .starting = PTHREAD_MUTEX_INITIALIZER, .wake_ns = FIRST_WAKE_NS, .answer_ns = FIRST_ANSWER_NS };

const char *pool_why_off(void)
{
	return atomic_load_explicit(&pool.state, memory_order_acquire) == NO_POOL ? pool.why_off : NULL;
}

const struct topology *pool_topology(void)
{
	return &pool.topology;
}

unsigned pool_forks(void)
{
	return atomic_load_explicit(&pool.forks, memory_order_relaxed);
}

uint64_t pool_wake_ns(void)
{
	return atomic_load_explicit(&pool.wake_ns, memory_order_relaxed);
}

uint64_t pool_answer_ns(void)
{
	return atomic_load_explicit(&pool.answer_ns, memory_order_relaxed);
}

bool pool_is_warm(void)
{
	return atomic_load_explicit(&pool.nr_lingering, memory_order_relaxed) > 0;
}

/* An exponential average over some eight measurements; one that is out of all proportion counts as a millisecond. */
static void smooth(_Atomic uint32_t *average, uint64_t ns)
{
	uint32_t old = atomic_load_explicit(average, memory_order_relaxed);
	int64_t now = ns > 1000000 ? 1000000 : (int64_t)ns;

	if (!pool.fixed_wake)
		atomic_store_explicit(average, (uint32_t)(old + (now - old) / 8), memory_order_relaxed);
}

static void set_idle(struct helper *h)
{
	atomic_fetch_or_explicit(&pool.idle[h->id / HELPER_BITS], UINT64_C(1) << (h->id % HELPER_BITS),
				 memory_order_release);
}

/* Step 1: takes the lowest idle helper of a node, so that a few stay warm and the others asleep. */
static struct helper *take_idle(int node)
{
	for (int id = pool.first[node]; id < pool.first[node + 1];) {
		_Atomic uint64_t *word = &pool.idle[id / HELPER_BITS];
		uint64_t bits = atomic_load_explicit(word, memory_order_relaxed) >> (id % HELPER_BITS);
		uint64_t bit;

		if (!bits) {
			id = (id / HELPER_BITS + 1) * HELPER_BITS;
			continue;
		}
		id += __builtin_ctzll(bits);
		if (id >= pool.first[node + 1])
			break;
		bit = UINT64_C(1) << (id % HELPER_BITS);
		if (atomic_fetch_and_explicit(word, ~bit, memory_order_acquire) & bit)
			return &pool.helpers[id];
		id++;
	}
	return NULL;
}

/* ---- the helper's side ------------------------------------------------------------------------------------------ */

/* Waits awake for a call, until that no longer pays or somebody else wants the CPU. */
static void linger(struct helper *h)
{
	uint64_t end = h->idle_since + LINGER_NS, last = h->idle_since, yielded = last;
	uint32_t word;

	atomic_fetch_add_explicit(&pool.nr_lingering, 1, memory_order_relaxed);
	while (!((word = atomic_load_explicit(&h->word, memory_order_relaxed)) & CALLED)) {
		uint64_t now = clock_ns();

		if (now >= end || now - last > PREEMPTED_NS) {
			if (atomic_compare_exchange_strong_explicit(&h->word, &word, word ^ (LINGERING ^ PARKED),
								    memory_order_relaxed, memory_order_relaxed))
				break;
			continue; /* called at the last moment */
		}
		last = now;
		if (now - yielded > YIELD_NS) {
			yielded = now;
			sched_yield();
		}
		for (int i = 0; i < 8; i++)
			clock_pause();
	}
	atomic_fetch_sub_explicit(&pool.nr_lingering, 1, memory_order_relaxed);
}

/* Steps 4 and 5. */
static void await_call(struct helper *h)
{
	for (;;) {
		uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);

		if (word & CALLED) {
			if (atomic_compare_exchange_strong_explicit(&h->word, &word,
								    (word & ~(uint32_t)(STATE | CALLED)) | RUNNING,
								    memory_order_acq_rel, memory_order_relaxed))
				return;
		} else if ((word & STATE) == LINGERING) {
			linger(h);
		} else {
			futex_wait(&h->word, word, FUTEX_FOREVER);
		}
	}
}

/* Step 6. */
static void leave(struct helper *h, struct team *team)
{
	bool willed;
	uint32_t here;

	/*
	 * This and the exchange are sequentially consistent, as are their counterparts in will_one: either this helper
	 * sees that it was willed, or the caller sees that it has left, or both. Then the priority goes back.
	 */
	atomic_fetch_and(&team->called[h->id / HELPER_BITS], ~(UINT64_C(1) << (h->id % HELPER_BITS)));
	willed = atomic_exchange(&h->willed, false);
	if (willed)
		priority_restore(h->tid);
	limits_give_back(h->node);
	here = atomic_fetch_sub_explicit(&team->here, 1, memory_order_acq_rel);
	if (here & TEAM_CALLER_SLEEPS && (willed || here == (TEAM_CALLER_SLEEPS | 1)))
		futex_wake(&team->here);
}

/* Step 7. */
static void become_idle(struct helper *h)
{
	uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);

	h->idle_since = clock_ns();
	atomic_store_explicit(&h->word, (word & ~(uint32_t)STATE) | (h->lingers ? LINGERING : PARKED),
			      memory_order_relaxed);
	set_idle(h);
}

static void start_thread(int id);

static void *helper_main(void *arg)
{
	struct helper *h = arg;
	unsigned forks = pool_forks();
	char name[32];

	snprintf(name, sizeof(name), "ktask/%d.%d", pool.topology.nodes[h->node].nid, h->id - pool.first[h->node]);
	name[15] = '\0'; /* what the kernel keeps */
	pthread_setname_np(pthread_self(), name);
	h->tid = gettid();
	priority_step_back();
	/* Helpers start each other as a binary tree, so that whoever starts the pool pays for one thread only. */
	start_thread(2 * h->id + 1);
	start_thread(2 * h->id + 2);
	if (atomic_fetch_sub_explicit(&pool.coming, 1, memory_order_relaxed) == 1)
		futex_wake(&pool.coming);
	for (;;) {
		struct team *team;
		uint64_t answer;

		await_call(h);
		team = atomic_load_explicit(&h->team, memory_order_relaxed);
		answer = clock_ns() - h->called_at;
		h->lingers = team->hot || h->called_at - h->idle_since < LINGER_NS;
		if (answer > PREEMPTED_NS / 2)
			smooth(&pool.answer_ns, answer);
		serving = team;
		team->work(team, h->id, h->node);
		serving = NULL;
		/* The thread function forked, and this is the child: a pthread's return would end it with exit(0), too. */
		if (pool_forks() != forks)
			exit(0);
		leave(h, team);
		become_idle(h);
	}
	return NULL;
}

/* ---- making the pool -------------------------------------------------------------------------------------------- */

/* Where helpers of a node wait for their first call. */
static struct cpus node_mask(int node)
{
	struct cpus mask = pool.topology.nodes[node].cpus;

	cpus_and(&mask, &pool.topology.allowed);
	return cpus_empty(&mask) ? pool.topology.allowed : mask;
}

static bool create(struct helper *h, bool placed)
{
	pthread_attr_t attr;
	bool ok;

	if (pthread_attr_init(&attr) != 0)
		return false;
	if (placed)
		pthread_attr_setaffinity_np(&attr, sizeof(h->mask), (cpu_set_t *)&h->mask);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&h->thread, &attr, helper_main, h) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

/*
 * Makes the thread of helper id, if there is one. It counts as idle at once: a call waits for it to come up. If it
 * cannot be made, those that it would have made may still be.
 */
static void start_thread(int id)
{
	struct helper *h;

	if (id >= pool.nr_helpers)
		return;
	h = &pool.helpers[id];
	h->mask = node_mask(h->node);
	h->placed_off = -1;
	atomic_fetch_add_explicit(&pool.coming, 1, memory_order_relaxed);
	/* A mask is refused when its CPUs have gone in the meantime; calls will place the helper. */
	if (create(h, true) || create(h, false)) {
		set_idle(h);
		return;
	}
	if (atomic_fetch_sub_explicit(&pool.coming, 1, memory_order_relaxed) == 1)
		futex_wake(&pool.coming);
	start_thread(2 * id + 1);
	start_thread(2 * id + 2);
}

void pool_settle(void)
{
	uint32_t coming;

	while ((coming = atomic_load_explicit(&pool.coming, memory_order_relaxed)) != 0)
		futex_wait(&pool.coming, coming, FUTEX_FOREVER);
}

/* Signals are for the program's own threads; only those that a thread brings on itself stay open. */
static void block_signals(sigset_t *before)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&all, own[i]);
	pthread_sigmask(SIG_BLOCK, &all, before);
}

static long number_from_environment(const char *name, long otherwise, long max)
{
	const char *text = getenv(name);
	char *end;
	long n;

	if (!text || !*text)
		return otherwise;
	n = strtol(text, &end, 10);
	return *end || n < 0 ? otherwise : n > max ? max : n;
}

/* How many helpers each node has: as many as CPUs, all together one less, for the caller; or KTASK_HELPERS. */
static bool share_out_helpers(void)
{
	const struct topology *t = &pool.topology;
	long fixed = number_from_environment("KTASK_HELPERS", -1, MAX_HELPERS);
	int system_max = fixed >= 0 ? (int)fixed : t->nr_cpus - 1;

	pool.oversubscribed = fixed >= 0;
	pool.first = calloc((size_t)t->nr_nodes + 1, sizeof(*pool.first));
	if (!pool.first || !limits_init(t->nr_nodes, system_max))
		return false;
	for (int node = 0; node < t->nr_nodes; node++) {
		struct cpus cpus = t->nodes[node].cpus;
		int n;

		cpus_and(&cpus, &t->allowed);
		n = cpus_count(&cpus);
		if (fixed >= 0)
			n = (int)(fixed * (node + 1) / t->nr_nodes - fixed * node / t->nr_nodes);
		else if (n > system_max)
			n = system_max;
		pool.first[node + 1] = pool.first[node] + n;
		limits_set_node(node, n);
	}
	pool.nr_helpers = pool.first[t->nr_nodes];
	pool.nr_words = (pool.nr_helpers + HELPER_BITS - 1) / HELPER_BITS;
	return pool.nr_helpers <= MAX_HELPERS;
}

static bool make_tables(void)
{
	long wake_ns = number_from_environment("KTASK_WAKE_NS", -1, 1000000000);

	pool.fixed_wake = wake_ns >= 0;
	pool.wake_ns = pool.fixed_wake ? (uint32_t)wake_ns : FIRST_WAKE_NS;
	pool.answer_ns = pool.fixed_wake ? (uint32_t)wake_ns : FIRST_ANSWER_NS;
	if (!topology_read(&pool.topology) || !share_out_helpers())
		return false;
	if (pool.nr_helpers == 0)
		return true;
	pool.helpers = aligned_alloc(_Alignof(struct helper), (size_t)pool.nr_helpers * sizeof(*pool.helpers));
	pool.idle = calloc((size_t)pool.nr_words, sizeof(*pool.idle));
	if (!pool.helpers || !pool.idle)
		return false;
	memset(pool.helpers, 0, (size_t)pool.nr_helpers * sizeof(*pool.helpers));
	for (int node = 0; node < pool.topology.nr_nodes; node++)
		for (int id = pool.first[node]; id < pool.first[node + 1]; id++)
			pool.helpers[id].node = node;
	for (int id = 0; id < pool.nr_helpers; id++)
		pool.helpers[id].id = id;
	return true;
}

/* What pool_most_helpers says as long as the pool does not stand. */
static int expected_helpers(void)
{
	static _Atomic int expected = -1; /* found out once: it takes a system call */
	int n = atomic_load_explicit(&expected, memory_order_relaxed);
	struct cpus allowed;

	if (n < 0) {
		n = (int)number_from_environment("KTASK_HELPERS", -1, MAX_HELPERS);
		if (n < 0) {
			topology_allowed(pthread_self(), &allowed);
			n = cpus_count(&allowed) - 1;
		}
		atomic_store_explicit(&expected, n, memory_order_relaxed);
	}
	return n;
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
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&pool.starting);
}

static void after_fork_in_child(void)
{
	pool.starting = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	atomic_fetch_add_explicit(&pool.forks, 1, memory_order_relaxed);
	atomic_store_explicit(&pool.nr_lingering, 0, memory_order_relaxed);
	atomic_store_explicit(&pool.coming, 0, memory_order_relaxed);
	if (atomic_load_explicit(&pool.state, memory_order_relaxed) != STARTED)
		return;
	for (int id = 0; id < pool.nr_helpers; id++) {
		atomic_store_explicit(&pool.helpers[id].word, PARKED, memory_order_relaxed);
		atomic_store_explicit(&pool.helpers[id].willed, false, memory_order_relaxed);
		pool.helpers[id].lingers = false;
	}
	for (int i = 0; i < pool.nr_words; i++)
		atomic_store_explicit(&pool.idle[i], 0, memory_order_relaxed);
	limits_reset();
	atomic_store_explicit(&pool.state, NOT_STARTED, memory_order_relaxed);
}

static bool handles_forks;

static void handle_forks(void)
{
	handles_forks = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* With pool.starting held. Returns why there is no pool, or NULL: it stands. */
static const char *start(void)
{
	const char *off = getenv("KTASK");
	sigset_t before;

	if (!pool.has_tables) {
		if (!handles_forks || !make_tables())
			return "there was no memory for the pool";
		pool.has_tables = true;
	}
	if (off && strcmp(off, "off") == 0)
		return "KTASK=off is set in the environment";
	if (pool.nr_helpers == 0)
		return pool.oversubscribed ? "KTASK_HELPERS=0 is set in the environment"
					   : "this process may use one CPU only";
	block_signals(&before);
	priority_probe();
	start_thread(0); /* should it fail, nobody is ever idle, and the callers do all the work */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return NULL;
}

bool pool_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	enum pool_state state = atomic_load_explicit(&pool.state, memory_order_acquire);

	if (state == NOT_STARTED) {
		/* Before the lock is ever taken, or a child could inherit it locked. */
		pthread_once(&once, handle_forks);
		pthread_mutex_lock(&pool.starting);
		state = atomic_load_explicit(&pool.state, memory_order_relaxed);
		if (state == NOT_STARTED) {
			pool.why_off = start();
			state = pool.why_off ? NO_POOL : STARTED;
			atomic_store_explicit(&pool.state, state, memory_order_release);
		}
		pthread_mutex_unlock(&pool.starting);
	}
	return state == STARTED;
}

/* ---- the caller's side ------------------------------------------------------------------------------------------ */

void team_init(struct team *team, void (*work)(struct team *team, int helper, int node), unsigned max)
{
	team->work = work;
	team->max = max;
	team->hot = false;
	team->forks = pool_forks();
	team->enrolled = false;
	team->nr_cancelled = 0;
	team->nr_willed = 0;
	atomic_init(&team->here, 0);
	atomic_init(&team->nr_called, 0);
}

/* What a run that calls no helper does without. */
static bool enroll(struct team *team)
{
	if (!pool_start())
		return false;
	/* A helper's own mask is one node's; in a run of its own it goes by the caller whose work that is part of. */
	team->caller = serving ? serving->caller : pthread_self();
	team->home = topology_here(&pool.topology, &team->caller_cpu);
	for (int i = 0; i < pool.nr_words; i++)
		atomic_init(&team->called[i], 0);
	team->enrolled = true;
	return true;
}

unsigned team_size(const struct team *team)
{
	return atomic_load_explicit(&team->here, memory_order_relaxed) & ~TEAM_CALLER_SLEEPS;
}

/*
 * Moves a helper, before it is woken, to those CPUs of its node that the team's caller may use, without the one that
 * the caller itself is on: woken there it would only wait. False: there is no such CPU, or enough helpers are on them.
 */
static bool place(struct helper *h, const struct team *team)
{
	struct cpus mask, allowed;

	if ((atomic_load_explicit(&h->word, memory_order_relaxed) & STATE) == LINGERING &&
	    pthread_equal(h->placed_by, team->caller) && h->placed_off == team->caller_cpu)
		return true; /* as it was a moment ago */
	topology_allowed(team->caller, &allowed);
	/* The helper itself has its place in the team already. */
	if (!pool.oversubscribed && team_size(team) >= (unsigned)cpus_count(&allowed))
		return false;
	mask = pool.topology.nodes[h->node].cpus;
	cpus_and(&mask, &allowed);
	if (cpus_has(&mask, team->caller_cpu)) {
		cpus_remove(&mask, team->caller_cpu);
		if (cpus_empty(&mask) && pool.oversubscribed)
			cpus_add(&mask, team->caller_cpu);
	}
	if (cpus_empty(&mask))
		return false;
	/* Refused where the CPUs have just gone offline or out of the cpuset: then where it was is as good. */
	if (memcmp(&mask, &h->mask, sizeof(mask)) != 0 &&
	    pthread_setaffinity_np(h->thread, sizeof(mask), (const cpu_set_t *)&mask) == 0)
		h->mask = mask;
	h->placed_by = team->caller;
	h->placed_off = team->caller_cpu;
	return true;
}

/* On the caller's own node one CPU is the caller's. */
static bool home_is_full(const struct team *team)
{
	struct cpus cpus = pool.topology.nodes[team->home].cpus;
	int n = 0;

	if (pool.topology.nr_nodes == 1 || pool.oversubscribed)
		return false;
	cpus_and(&cpus, &pool.topology.allowed);
	for (int id = pool.first[team->home]; id < pool.first[team->home + 1]; id++)
		n += atomic_load_explicit(&team->called[id / HELPER_BITS], memory_order_relaxed) >> (id % HELPER_BITS) &
		     1;
	return n + 1 >= cpus_count(&cpus);
}

/* Steps 2 and 3. */
static void call(struct team *team, struct helper *h)
{
	uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);

	h->called_at = clock_ns();
	atomic_store_explicit(&h->team, team, memory_order_relaxed);
	atomic_fetch_add_explicit(&team->nr_called, 1, memory_order_relaxed);
	atomic_fetch_or_explicit(&team->called[h->id / HELPER_BITS], UINT64_C(1) << (h->id % HELPER_BITS),
				 memory_order_relaxed);
	/* It may park at this very moment. */
	while (!atomic_compare_exchange_weak_explicit(&h->word, &word, (word + ONE_CALL) | CALLED, memory_order_release,
						      memory_order_relaxed))
		;
	if ((word & STATE) == PARKED) {
		uint64_t begin = clock_ns();

		futex_wake(&h->word);
		smooth(&pool.wake_ns, clock_ns() - begin);
	}
}

/*
 * A place in the team. Acquires what those did who left it, a failure of the run for one: who comes after them
 * must know.
 */
static bool take_place(struct team *team)
{
	uint32_t here = atomic_load_explicit(&team->here, memory_order_relaxed);

	do {
		if ((here & ~TEAM_CALLER_SLEEPS) >= team->max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&team->here, &here, here + 1, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

/* Not the last one's: whoever calls is in the team, or is the caller, who is awake. */
static void give_place_back(struct team *team)
{
	atomic_fetch_sub_explicit(&team->here, 1, memory_order_relaxed);
}

/* Step 1, on the given node or the nearest where the limits and the caller's affinity leave room. */
static struct helper *take_helper(struct team *team, int node)
{
	const struct topology *t = &pool.topology;

	for (int i = 0; i < t->nr_nodes; i++) {
		int near = t->nodes[node].by_distance[i];
		enum limits_answer answer;
		struct helper *h;

		if (near == team->home && home_is_full(team))
			continue;
		answer = limits_take(near);
		if (answer == LIMITS_SYSTEM_FULL)
			return NULL;
		if (answer == LIMITS_NODE_FULL)
			continue;
		h = take_idle(near);
		if (h && place(h, team))
			return h;
		if (h)
			set_idle(h);
		limits_give_back(near);
	}
	return NULL;
}

bool team_call(struct team *team, int node)
{
	struct helper *h;

	if (team->forks != pool_forks() || (!team->enrolled && !enroll(team)))
		return false;
	if (!take_place(team))
		return false;
	h = take_helper(team, node < 0 ? team->home : node);
	if (!h) {
		give_place_back(team);
		return false;
	}
	call(team, h);
	return true;
}

/* Step 8, for every helper that has not begun. */
static void dismiss(struct team *team)
{
	for (int i = 0; i < pool.nr_words; i++) {
		uint64_t bits = atomic_load_explicit(&team->called[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			struct helper *h = &pool.helpers[i * HELPER_BITS + __builtin_ctzll(bits)];
			/* Acquires helper->team of that call, or of a later one, after which the exchange fails. */
			uint32_t word = atomic_load_explicit(&h->word, memory_order_acquire);

			if (!(word & CALLED) || atomic_load_explicit(&h->team, memory_order_relaxed) != team ||
			    !atomic_compare_exchange_strong_explicit(&h->word, &word, word & ~(uint32_t)CALLED,
								     memory_order_acq_rel, memory_order_relaxed))
				continue;
			atomic_fetch_and_explicit(&team->called[i], ~(bits & -bits), memory_order_relaxed);
			/* Willed when it was in this team before, in the moment it left. */
			if (atomic_exchange(&h->willed, false))
				priority_restore(h->tid);
			limits_give_back(h->node);
			give_place_back(team);
			team->nr_cancelled++;
			set_idle(h);
		}
	}
}

/* Lends the caller's priority to one helper that still runs; it gives it back when it leaves. */
static void will_one(struct team *team)
{
	if (!priority_privileged())
		return;
	for (int i = 0; i < pool.nr_words; i++) {
		uint64_t bits = atomic_load_explicit(&team->called[i], memory_order_relaxed);

		for (; bits; bits &= bits - 1) {
			struct helper *h = &pool.helpers[i * HELPER_BITS + __builtin_ctzll(bits)];

			if ((atomic_load_explicit(&h->word, memory_order_acquire) & STATE) != RUNNING)
				continue;
			/* First the priority, then the mark: who takes the mark takes back a priority that has come. */
			priority_will(h->tid, priority_of_caller());
			if (!atomic_exchange(&h->willed, true))
				team->nr_willed++;
			if (atomic_load(&team->called[i]) & (bits & -bits))
				return;
			/* It left before the mark came. That may be another team's by now, so it stays. */
			priority_restore(h->tid);
		}
	}
}

bool team_gather(struct team *team, uint64_t timeout_ns)
{
	uint64_t begin, look_until;

	if (atomic_load_explicit(&team->here, memory_order_acquire) == 0)
		return true;
	dismiss(team);
	/* Going to sleep and being woken costs about as much as a wake, so looking that long at most doubles it. */
	begin = clock_ns();
	look_until = begin + pool_wake_ns();
	while (atomic_load_explicit(&team->here, memory_order_acquire) != 0 && clock_ns() < look_until)
		clock_pause();
	while (atomic_load_explicit(&team->here, memory_order_acquire) != 0) {
		uint64_t now = clock_ns();
		uint32_t here;

		if (now - begin >= timeout_ns)
			return false;
		dismiss(team);
		here = atomic_load_explicit(&team->here, memory_order_relaxed);
		will_one(team);
		/* Whoever left after the load, the willed one for one, has changed the word: then there is news. */
		if (here != 0 && atomic_compare_exchange_strong_explicit(&team->here, &here, here | TEAM_CALLER_SLEEPS,
									 memory_order_relaxed, memory_order_relaxed))
			futex_wait(&team->here, here | TEAM_CALLER_SLEEPS, timeout_ns - (now - begin));
		atomic_fetch_and_explicit(&team->here, ~TEAM_CALLER_SLEEPS, memory_order_relaxed);
	}
	return true;
}
