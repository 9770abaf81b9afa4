/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hot.h: for functions of several files that NumPy's calls on small arrays go through: they lie side by side in memory. A call
 * that takes some hundred ns notices each further page of code.
 */
#ifndef KTASK_HOT_H
#define KTASK_HOT_H

#if defined(__GNUC__)
#define HOT __attribute__((hot))
#else
#define HOT
#endif

#endif
