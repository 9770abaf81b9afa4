/* SPDX-License-Identifier: BSD-3-Clause */
/* thread_local.h: variables of a thread, of which a shared library may have a few without allocation at first use. */
#ifndef KTASK_THREAD_LOCAL_H
#define KTASK_THREAD_LOCAL_H

#include <features.h>

#ifdef __GLIBC__
#define THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else /* others have no spare room for it, but allocate when the library is loaded */
#define THREAD_LOCAL _Thread_local
#endif

#endif
