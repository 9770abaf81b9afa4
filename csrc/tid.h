/* SPDX-License-Identifier: BSD-3-Clause */
/* tid.h: the calling thread as the kernel numbers it. gettid() came to glibc in 2.30, and wheels are for 2.28. */
#ifndef KTASK_TID_H
#define KTASK_TID_H

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline pid_t this_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

#endif
