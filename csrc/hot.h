/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hot.h: the functions of all files that the shortest runs go through, and NumPy's calls on small arrays, lie side by side. After a
 * pause their cache lines and pages have to be fetched anew, and that is most of what such a call costs.
 */
#ifndef KTASK_HOT_H
#define KTASK_HOT_H

#if defined(__GNUC__)
#define HOT __attribute__((hot))
#else
#define HOT
#endif

#endif
