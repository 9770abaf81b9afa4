/* SPDX-License-Identifier: BSD-3-Clause */
/* heartbeat.h: when a run calls helpers, and how much a thread takes at once. The reasons are told in heartbeat.c. */
#ifndef KTASK_HEARTBEAT_H
#define KTASK_HEARTBEAT_H

#include "run_private.h"

/* Which kind of work it is: kc_identity, or the thread function. */
const void *run_identity(const struct run *run);

/* What is known of the run's kind of work from earlier runs; before its first chunk. */
void heartbeat_recall(struct run *run);

/* Is it over before a helper could help, by what is known, and is nobody tracing it? */
bool heartbeat_is_short(const struct run *run, const struct ktask_node *node);

/* By the caller before its first chunk, by a helper before its first, and by each after each chunk: may call a helper. */
void heartbeat_begin(struct worker *caller);
void heartbeat_join(struct worker *helper);
void heartbeat(struct worker *w);

/* The size of the next chunk that w takes from its cursor. */
size_t heartbeat_size(const struct worker *w);

/* Remembers what the run has shown, when it went well. */
/* By a helper that has done some of the run. */
void heartbeat_leave(const struct worker *helper);

void heartbeat_end(struct worker *caller);
void heartbeat_end_at_once(const struct run *run, size_t units, uint64_t now);

#endif
