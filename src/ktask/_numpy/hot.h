/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hot.h: what NumPy's calls on small arrays go through as well. Of several files, these functions lie side by side in memory: a
 * call that takes some hundred ns notices each further page of code.
 */
#ifndef KTASK_HOT_H
#define KTASK_HOT_H

#if defined(__GNUC__)
#define HOT __attribute__((hot))
#else
#define HOT
#endif

#endif
