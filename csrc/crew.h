/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crew.h: helpers for a queue of calls, where work comes while other work is under way. A run has all its work when it
 * begins; a crew stays open, and takes from the queue piece after piece. Not in ktask.h: executors are made of it.
 */
#ifndef KTASK_CREW_H
#define KTASK_CREW_H

#include <stdbool.h>

struct crew;

/*
 * work(arg) does one piece of the queue's work and returns true, or false: there is none just now. It is called by
 * helpers, several at once. NULL: no memory.
 */
struct crew *crew_new(bool (*work)(void *arg), void *arg);

/* It must be closed. */
void crew_free(struct crew *crew);

/*
 * Begins a time of work, by the thread that does its own share of it: the crew's caller. It takes a seat, as the caller
 * of a run does. False: no helpers can be had just now.
 */
bool crew_open(struct crew *crew);

/*
 * Calls one helper more, if the limits leave one and helpers pay: those that mostly wait (for a lock, an interpreter, the
 * disk) go home, and none is called for a while. By any thread, until the crew is being closed. False: none was called.
 */
bool crew_call(struct crew *crew);

/* By its caller, when no other thread calls helpers any more: returns when they are gone, and gives back the seat. */
void crew_close(struct crew *crew);

#endif
