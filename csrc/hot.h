/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hot.h: the functions that the shortest runs go through lie side by side. After a pause their cache lines and pages have to be
 * fetched anew, and that is most of what such a run costs.
 */
#ifndef KTASK_HOT_H
#define KTASK_HOT_H

#define EACH_RUN __attribute__((hot))

#endif
