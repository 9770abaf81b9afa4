/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.c: this process's helpers are counted, and its seats are taken and given back; table.c tells what a seat is.
 *
 * Looking for a seat takes a look at each CPU's. Where there was none just now, nobody looks for a while:
 *
 * Word
 *   full_until   when to look again; 0: now.
 * Calling (team_call)
 *   1. full_until is not over: do without a helper, and say nothing.
 *   2. Look for a seat.
 *   3. There is none: write the time in FULL_NS from now (limits_found_full).
 * Giving back (limits_stand)
 *   4. Empty the seat.
 *   5. If full_until is not 0, make it 0.
 *
 * Why nobody is kept from a free seat for long. Only who has looked writes a time (1), and that is FULL_NS after
 * its look at the clock, however many look: so after FULL_NS somebody looks again. A time that was there when this
 * process emptied a seat is taken back (4 before 5). One that is written after that, by who had looked before, is
 * over soon; and so it is with seats that other processes give back, who know nothing of this word.
 * tests/model/full.pml explores this.
 *
 * A CPU quota is shared by all processes of its cgroup, and of those below: these are a group, and have no more
 * seats together than the quota has whole CPUs. There is no counter that a dying process could leave wrong: the
 * seats are counted.
 *
 * State
 *   table->groups[row]   the group of the process that has the row, written by that one only.
 * Sitting down (limits_sit_at, sit)
 *   6. Take a seat.
 *   7. If the process is in a group, count the seats of all that are in it; if they are too many, give it back.
 *
 * Why they are never too many. 6 and the looks of 7 are sequentially consistent. Of those who keep their seats,
 * take the one that took his last: he counts all the others, who had theirs before and have them still. Two may
 * both go where one could have stayed: that costs speed, nothing else. A process whose group has just changed is
 * not counted for a moment, or in the wrong one. A killed one's seats count until somebody clears up.
 *
 * All other operations on counters and seats are relaxed: they guard no data, only their own values, and the order
 * of changes to one atomic object is the same for all threads. What a helper does is ordered by the word it is
 * called through. A processor that does 5 before 4 leaves a time behind that is over after FULL_NS, as above.
 */
#define _GNU_SOURCE
#include "limits.h"

#include "clock.h"
#include "ktask.h"
#include "table.h"

#include <assert.h>
#include <linux/limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static_assert((int)LIMITS_WHY >= (int)TABLE_WHY, "there is room for the table's reasons");

/* Who finds all seats taken looks so often, at most, whether they have died who took them. */
enum { RECLAIM_NS = 20000000 };

/* Where no seat was found, none is looked for so long, unless this process has given one back. */
enum { FULL_NS = 200000 };

/* Somebody is on the way into the table, or out: it takes some 50 us. Try again after a while, and so often at most. */
enum { BUSY_NS = 1000000, BUSY_TRIES = 100 };

/* Written before the first helper starts. */
static int environment_max;
static bool with_seats;
static int nr_seats;

static _Alignas(64) _Atomic int running;
static _Alignas(64) _Atomic int machine_max;
static _Atomic int process_max = INT32_MAX;
static _Atomic uint64_t group;
static _Atomic int group_max;
static _Atomic uint64_t full_until;

/* The table; or the seats that take its place. Written while joining, before joined. */
static struct member member;
static char why_alone[TABLE_WHY];
static char door_path[PATH_MAX];
static _Atomic uint32_t own_seats[MAX_CPUS];
static _Atomic uint32_t *seats = own_seats;
static uint32_t mine = 1; /* what stands in a seat that a helper of this process has */
static _Atomic bool joined;

static uint64_t busy_until;
static int busy_tries;

static _Atomic uint64_t reclaimed_at;
static pthread_mutex_t reclaiming = PTHREAD_MUTEX_INITIALIZER; /* runs only try it */

void limits_init(int ceiling, bool need_seats, int nr)
{
	environment_max = ceiling;
	with_seats = need_seats;
	nr_seats = nr;
	limits_reset();
}

void limits_set_max(int max)
{
	atomic_store_explicit(&machine_max, max, memory_order_relaxed);
}

void limits_reset(void)
{
	table_leave(&member);
	seats = own_seats;
	mine = 1;
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (atomic_load_explicit(&own_seats[cpu], memory_order_relaxed))
			atomic_store_explicit(&own_seats[cpu], 0, memory_order_relaxed);
	atomic_store_explicit(&running, 0, memory_order_relaxed);
	atomic_store_explicit(&full_until, 0, memory_order_relaxed);
	atomic_store_explicit(&reclaimed_at, 0, memory_order_relaxed);
	atomic_store_explicit(&joined, false, memory_order_relaxed);
	why_alone[0] = '\0';
	busy_until = 0;
	busy_tries = 0;
}

void limits_hold(void)
{
	pthread_mutex_lock(&reclaiming);
}

void limits_let_go(void)
{
	pthread_mutex_unlock(&reclaiming);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

const char *limits_table(char buffer[LIMITS_PATH])
{
	const char *name = secure_getenv("KTASK_TABLE");

	if (name && *name)
		return strcasecmp(name, "off") == 0 || strcmp(name, "0") == 0 ? NULL : name;
	snprintf(buffer, LIMITS_PATH, "/dev/shm/ktask-%u", (unsigned)geteuid());
	return buffer;
}

/* Those who have asked for it know; others are told, once: they may wonder why the machine is so busy. */
static char warning[TABLE_WHY + 512];
static atomic_flag warned = ATOMIC_FLAG_INIT;

void limits_warn(void)
{
	/* Nobody reads it: then not. */
	if (warning[0] && !atomic_flag_test_and_set_explicit(&warned, memory_order_relaxed) &&
	    write(STDERR_FILENO, warning, strlen(warning)) < 0)
		return;
}

/* Why not to try; NULL: try. */
static const char *reason_to_stay_alone(const char *path)
{
	if (!with_seats)
		return "KTASK_HELPERS is set in the environment";
	if (!path)
		return LIMITS_OFF;
	if (getenv("KTASK_FSROOT"))
		return "KTASK_FSROOT is set in the environment: the CPUs may be another machine's";
	return NULL;
}

static void tell_group(void)
{
	if (member.table)
		atomic_store_explicit(&member.table->groups[member.row],
				      atomic_load_explicit(&group, memory_order_relaxed), memory_order_relaxed);
}

/* If one joins at this very moment, an old group may be told; the next survey puts that right. */
void limits_set_group(uint64_t number, int max)
{
	atomic_store_explicit(&group_max, max, memory_order_relaxed);
	atomic_store_explicit(&group, number, memory_order_relaxed);
	if (limits_joined())
		tell_group();
}

bool limits_join(void)
{
	char buffer[LIMITS_PATH];
	const char *path = limits_table(buffer), *reason = reason_to_stay_alone(path);
	enum table_answer answer;

	if (limits_joined())
		return true;
	if (reason) {
		snprintf(why_alone, sizeof(why_alone), "%s", reason);
	} else {
		if (busy_until && clock_ns() < busy_until)
			return false;
		answer = table_join(&member, path, why_alone);
		if (answer == TABLE_BUSY && ++busy_tries < BUSY_TRIES) {
			why_alone[0] = '\0';
			busy_until = clock_ns() + BUSY_NS;
			return false;
		}
		if (answer == TABLE_JOINED) {
			seats = member.table->seats;
			mine = (uint32_t)member.row + 1;
			snprintf(door_path, sizeof(door_path), "%s", path);
		} else {
			snprintf(warning, sizeof(warning),
				 "ktask: %s cannot be used (%s). Other processes' helpers are not counted. "
				 "(KTASK_TABLE=off: never, and no such message)\n",
				 path, why_alone);
		}
	}
	atomic_store_explicit(&joined, true, memory_order_release);
	tell_group();
	return true;
}

bool limits_joined(void)
{
	return atomic_load_explicit(&joined, memory_order_acquire);
}

const char *limits_why_alone(char buffer[LIMITS_WHY])
{
	char path_buffer[LIMITS_PATH];
	const char *path, *reason;

	if (limits_joined())
		return why_alone[0] ? why_alone : NULL;
	path = limits_table(path_buffer);
	reason = reason_to_stay_alone(path);
	if (reason)
		return reason;
	return table_users(path, NULL, 0, buffer) < 0 ? buffer : NULL;
}

/* ---- this process's helpers ------------------------------------------------------------------------------------- */

int limits_max(void)
{
	int max = atomic_load_explicit(&machine_max, memory_order_relaxed);
	int wanted = atomic_load_explicit(&process_max, memory_order_relaxed);

	max = max < environment_max ? max : environment_max;
	return max < wanted ? max : wanted;
}

int limits_machine_max(void)
{
	return atomic_load_explicit(&machine_max, memory_order_relaxed);
}

int ktask_set_max_helpers(int max)
{
	int before = atomic_exchange_explicit(&process_max, max < 0 ? INT32_MAX : max, memory_order_relaxed);

	return before == INT32_MAX ? -1 : before;
}

int limits_running(void)
{
	return atomic_load_explicit(&running, memory_order_relaxed);
}

/* Two that add themselves at once may both be refused the last place; that costs speed, nothing else. */
bool limits_take(void)
{
	if (atomic_fetch_add_explicit(&running, 1, memory_order_relaxed) < limits_max())
		return true;
	limits_give_back();
	return false;
}

void limits_give_back(void)
{
	atomic_fetch_sub_explicit(&running, 1, memory_order_relaxed);
}

/* ---- seats ------------------------------------------------------------------------------------------------------ */

static bool take_seat(int cpu, bool caller)
{
	uint32_t nobody = 0;

	return atomic_load_explicit(&seats[cpu], memory_order_relaxed) == 0 &&
	       atomic_compare_exchange_strong_explicit(&seats[cpu], &nobody, caller ? mine | SEAT_CALLER : mine,
						       memory_order_seq_cst, memory_order_relaxed);
}

static void leave_seat(int cpu)
{
	uint32_t seat = atomic_load_explicit(&seats[cpu], memory_order_relaxed);

	if ((seat & ~SEAT_CALLER) == mine)
		atomic_compare_exchange_strong_explicit(&seats[cpu], &seat, 0, memory_order_relaxed,
							memory_order_relaxed);
}

/* How many seats this process's group has. */
static int group_size(uint64_t number)
{
	int n = 0;

	for (int cpu = 0; cpu < nr_seats; cpu++) {
		uint32_t seat = atomic_load(&seats[cpu]);

		n += seat && (!member.table || table_group_of(member.table, seat) == number);
	}
	return n;
}

/* With a seat that was just taken: it goes back if it is one too many for the group. */
static bool keep_seat(int cpu)
{
	uint64_t number = atomic_load_explicit(&group, memory_order_relaxed);

	if (!number || group_size(number) <= atomic_load_explicit(&group_max, memory_order_relaxed))
		return true;
	leave_seat(cpu);
	return false;
}

bool limits_sit_at(int cpu, bool caller)
{
	return take_seat(cpu, caller) && keep_seat(cpu);
}

static int sit(const struct cpus *cpus, bool caller)
{
	for (int i = 0; i < MAX_CPUS / CPUS_WORD_BITS; i++)
		for (unsigned long bits = cpus->word[i]; bits; bits &= bits - 1) {
			int cpu = i * CPUS_WORD_BITS + __builtin_ctzl(bits);

			if (take_seat(cpu, caller))
				return keep_seat(cpu) ? cpu : -1;
		}
	return -1;
}

static void clear_up(void)
{
	if (table_reclaim(&member))
		return;
	if (table_return(&member, door_path)) {
		tell_group();
		table_reclaim(&member);
	}
}

/* Not often, and not by two at once. True: it is worth another look. */
static bool reclaim(void)
{
	uint64_t now = clock_ns(), last = atomic_load_explicit(&reclaimed_at, memory_order_relaxed);
	int cancel;

	if (seats == own_seats || (last && clock_since(last, now) < RECLAIM_NS) ||
	    pthread_mutex_trylock(&reclaiming) != 0)
		return false;
	atomic_store_explicit(&reclaimed_at, now, memory_order_relaxed);
	/* Opening a file would end a thread that is being cancelled, with the lock. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	clear_up();
	pthread_setcancelstate(cancel, NULL);
	pthread_mutex_unlock(&reclaiming);
	return true;
}

int limits_sit(const struct cpus *cpus, bool caller)
{
	int cpu = sit(cpus, caller);

	return cpu < 0 && !cpus_empty(cpus) && reclaim() ? sit(cpus, caller) : cpu;
}

void limits_stand(int cpu)
{
	if (cpu < 0)
		return;
	leave_seat(cpu);
	if (atomic_load_explicit(&full_until, memory_order_relaxed))
		atomic_store_explicit(&full_until, 0, memory_order_relaxed);
}

bool limits_full(void)
{
	uint64_t until = atomic_load_explicit(&full_until, memory_order_relaxed);

	return until && clock_ns() < until;
}

void limits_found_full(void)
{
	atomic_store_explicit(&full_until, clock_ns() + FULL_NS, memory_order_relaxed);
}
