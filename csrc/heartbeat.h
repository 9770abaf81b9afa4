/* SPDX-License-Identifier: BSD-3-Clause */
/* heartbeat.h: when a run calls helpers. The reasons are told in heartbeat.c. */
#ifndef KTASK_HEARTBEAT_H
#define KTASK_HEARTBEAT_H

#include "run_private.h"

/* Which kind of work it is: kc_identity, or the thread function. */
const void *run_identity(const struct run *run);

/* What is known of the run's kind of work from earlier runs; first of all. */
void heartbeat_recall(struct run *run, const struct ktask_node *nodes, size_t nr_nodes);

/*
 * By what is known, is the run, which has begun, over before a helper could help, one that sleeps if none waits awake? And is nobody
 * tracing it? Then this is how many units of it to do at a time, ahead of all preparation; else 0. It may turn out to be
 * long: then a helper is due.
 */
size_t heartbeat_ahead(const struct run *run, const struct ktask_node *node);
bool heartbeat_is_due(const struct plan *plan, uint64_t now);

/* After such a run: enum ktask_why. */
int heartbeat_why_ahead(const struct run *run, uint64_t now);

/* And if it went well: remembers what it has shown. */
void heartbeat_end_ahead(const struct run *run, uint64_t now);

/* Did the run before, of this thread, end but a moment ago, so that a helper may still wait awake? */
bool heartbeat_is_quick(const struct run *run);

/* Any other run: what is known is used from now on. */
void heartbeat_prepare(struct run *run);

/* By the caller before its first chunk, by a helper before its first, and by each after each chunk: may call a helper. */
void heartbeat_begin(struct worker *caller);
void heartbeat_join(struct worker *helper);
void heartbeat(struct worker *w);

/* Remembers what the run has shown, when it went well. */
void heartbeat_end(struct worker *caller);

#endif
