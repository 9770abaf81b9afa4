/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that is being cancelled ends at a system call, but not with a lock of the library. */
#include "check.h"
#include "ktask.h"
#include "library.h"

#include <pthread.h>

static int nothing(void *start, void *end, void *unused)
{
	(void)start, (void)end, (void)unused;
	return KTASK_RETURN_SUCCESS;
}

/* The first run of all: much is read from files. */
static void *run(void *unused)
{
	DEFINE_KTASK_CTL(ctl, nothing, NULL, 1);

	pthread_cancel(pthread_self());
	ktask_init();
	CHECK(ktask_run(AT(0), 64, &ctl) == KTASK_RETURN_SUCCESS);
	return unused;
}

static void *refresh(void *unused)
{
	pthread_cancel(pthread_self());
	ktask_refresh();
	return unused;
}

int main(void)
{
	void *(*const functions[])(void *) = { run, refresh };

	for (int i = 0; i < 2; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, functions[i], NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		check_library();
		CHECK(ktask_refresh() == 0);
		in_child(check_library);
	}
	return 0;
}
