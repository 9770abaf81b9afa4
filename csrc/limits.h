/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.h: who may start a helper (the kernel document's "Resource Limits").
 *
 * There is a seat for each CPU. A helper works only while it has one, of a CPU of its node that its caller may use;
 * callers take seats too, once they call helpers, but work also without. Seats are shared by all processes of the
 * user where that is possible (table.c), and belong to this process alone otherwise. Processes under the same CPU
 * quota have no more of them together than that has whole CPUs. Besides, this process may have a limit for its
 * helpers. Callers are never limited, and nothing here ever waits, but for a fork: who finds no seat goes on without.
 */
#ifndef KTASK_LIMITS_H
#define KTASK_LIMITS_H

#include "topology.h"

enum { LIMITS_PATH = 64, LIMITS_WHY = 160 };

/*
 * Never more than ceiling helpers at a time (KTASK_MAX_HELPERS); with_seats: do they need seats as well? All CPUs,
 * those to come too, have numbers below nr_seats.
 */
void limits_init(int ceiling, bool with_seats, int nr_seats);

/* The most that the machine has room for; it may change at any time. */
void limits_set_max(int max);
int limits_machine_max(void);

/*
 * The processes of this group, by a number that is the same in all of them, have no more than max seats together;
 * 0: this process is in none. It may change at any time; by one thread at a time.
 */
void limits_set_group(uint64_t group, int max);

/* In a child after fork: nothing is held, and the table is yet to be joined. */
void limits_reset(void);

/* Around a fork, in parent and child: nobody comes back to the table in between, half of which the child would have. */
void limits_hold(void);
void limits_let_go(void);

/*
 * Joins the table, unless this process has done so or knows that it cannot. By one thread at a time, before the first
 * seat is taken. False: somebody is just in the way, try again later.
 */
bool limits_join(void);

/* By the same thread afterwards, without any lock, since it may have to wait: says on stderr, once, if it cannot be used. */
void limits_warn(void);
bool limits_joined(void);

/* One more helper of this process, if it may have one more. */
bool limits_take(void);
void limits_give_back(void);

/* Takes the seat of this CPU, if it is free. */
bool limits_sit_at(int cpu, bool caller);

/* Takes some seat of these CPUs, which it returns; -1: none is free. */
int limits_sit(const struct cpus *cpus, bool caller);

/* Gives back the seat of this CPU; of -1, nothing. */
void limits_stand(int cpu);

/* Nobody has found a seat lately: it is not worth a try. */
bool limits_full(void);
void limits_found_full(void);

/* Helpers of this process that are at work now, and the most there may be (ktask_set_max_helpers in ktask.h, too). */
int limits_running(void);
int limits_max(void);

/*
 * The table's door (buffer is room for its name; NULL: KTASK_TABLE=off), and why this process keeps to limits of its own,
 * or will have to (buffer is room for the reason; NULL: it has joined the table, or could as far as can be seen).
 */
const char *limits_table(char buffer[LIMITS_PATH]);
const char *limits_why_alone(char buffer[LIMITS_WHY]);

#define LIMITS_OFF "KTASK_TABLE=off is set in the environment"

#endif
