/* SPDX-License-Identifier: BSD-3-Clause */
/* ctl.h: what a caller hands over, looked at before anything is done with it. Both return 0 or a negative errno. */
#ifndef KTASK_CTL_H
#define KTASK_CTL_H

#include "ktask.h"

/*
 * Brings a control structure that was made with any version of the header into the form of this one: what an older
 * one lacks has its default; what a newer one has besides must not be in use.
 */
int take_ctl(struct ktask_ctl *to, const struct ktask_ctl *from);

/* Their number, and their kn_nid; the sizes are looked at when the task is cut. */
int check_nodes(const struct ktask_node *nodes, size_t nr_nodes);

#endif
