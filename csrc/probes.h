/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probes.h: places where perf, bpftrace or SystemTap can look in while a program runs (USDT). Each is one nop, and a note in
 * the library's file that says where it is and where its arguments are: these must be at hand, not computed for it.
 * Without <sys/sdt.h> (Debian: systemtap-sdt-dev) where it is built, there are none. docs/seeing.md lists them.
 */
#ifndef KTASK_PROBES_H
#define KTASK_PROBES_H

#if defined(__has_include) && !defined(__CPPCHECK__) /* which cannot tell */
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments" /* in <sys/sdt.h> */
#endif
#define PROBE2(name, a, b)    DTRACE_PROBE2(ktask, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(ktask, name, a, b, c)
#endif
#endif

#ifndef PROBE2
#define PROBE2(name, a, b)    ((void)0)
#define PROBE3(name, a, b, c) ((void)0)
#endif

#endif
