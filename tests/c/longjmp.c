/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread function that is left by longjmp() leaves helpers on a stack that is gone: the next run there says so and ends
 * the program. Nothing else does: not runs inside others, on whatever stack, nor a longjmp() when no helper is there.
 */
#include "check.h"
#include "ktask.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

enum { UNITS = 64, STACK = 1 << 20 };

static pthread_t caller;
static jmp_buf before;
static atomic_int helpers_here;
static atomic_bool may_go;

static bool is_caller(void)
{
	return pthread_equal(pthread_self(), caller);
}

static void wait_for_helper(void)
{
	while (!helpers_here)
		sched_yield();
}

/* Helpers stay; the caller, once one is there, is off. */
static int leave(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	if (is_caller()) {
		wait_for_helper();
		longjmp(before, 1);
	}
	helpers_here++;
	for (;;)
		pause();
}

/* The same without helpers. */
static int leave_alone(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	longjmp(before, 1);
}

/* From the same place on the stack each time. */
__attribute__((noinline)) static void run_and_return(ktask_thread_func function, size_t max_threads)
{
	DEFINE_KTASK_CTL(ctl, function, NULL, 1);

	ktask_ctl_set_max_threads(&ctl, max_threads);
	if (setjmp(before) == 0)
		ktask_run(AT(0), UNITS, &ctl);
}

static int add(void *start, void *end, void *sum)
{
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add((atomic_int *)sum, (int)i);
	return KTASK_RETURN_SUCCESS;
}

static void check_library(void)
{
	atomic_int sum = 0;
	DEFINE_KTASK_CTL(ctl, add, &sum, 1);

	CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(sum == UNITS * (UNITS - 1) / 2);
}

/* ---- left behind ------------------------------------------------------------------------------------------------ */

static void is_told(void)
{
	char text[400] = "";
	size_t length = 0;
	ssize_t n;
	int ends[2], status;
	pid_t child;

	CHECK(pipe(ends) == 0);
	child = fork();
	if (child == 0) {
		struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(ends[1], STDERR_FILENO);
		caller = pthread_self();
		/* One helper, which stays where it is: another might come to what is left, and not get as far as that. */
		run_and_return(leave, 2);
		run_and_return(leave, 2);
		_exit(0);
	}
	close(ends[1]);
	while ((n = read(ends[0], text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)n;
	close(ends[0]);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(text, "left by longjmp()"));
}

/* ---- no false alarms -------------------------------------------------------------------------------------------- */

static void is_harmless(void)
{
	caller = pthread_self();
	for (int i = 0; i < rounds(100, 10); i++) {
		run_and_return(leave_alone, 1);
		check_library();
	}
}

/* Makes a run on the given stack. */
static void run_in_coroutine(void *stack)
{
	ucontext_t here, there;

	if (UNDER_TSAN) /* which wants to be told of other stacks */
		return;
	CHECK(getcontext(&there) == 0);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = STACK;
	there.uc_link = &here;
	makecontext(&there, check_library, 0);
	CHECK(swapcontext(&here, &there) == 0);
}

/* While a helper is at work on this run, the caller makes another one, on its own stack and then on another one. */
static int run_inside(void *start, void *end, void *stack)
{
	(void)start, (void)end;
	if (!is_caller()) {
		helpers_here++;
		while (!may_go)
			sched_yield();
		return KTASK_RETURN_SUCCESS;
	}
	wait_for_helper();
	if (may_go)
		return KTASK_RETURN_SUCCESS;
	check_library();
	run_in_coroutine(stack);
	may_go = true;
	return KTASK_RETURN_SUCCESS;
}

static void *call(void *stack)
{
	DEFINE_KTASK_CTL(ctl, run_inside, stack, 1);

	caller = pthread_self();
	for (int i = 0; i < rounds(40, 5); i++) {
		helpers_here = 0;
		may_go = false;
		CHECK(ktask_run(AT(0), UNITS, &ctl) == KTASK_RETURN_SUCCESS);
	}
	return NULL;
}

/* Of a thread's stack and a coroutine's in one piece of memory, each is the upper one once. */
static void is_another_stack(void)
{
	char *memory = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED);
	for (int upper = 0; upper < 2; upper++) {
		pthread_attr_t attributes;
		pthread_t thread;

		CHECK(pthread_attr_init(&attributes) == 0);
		CHECK(pthread_attr_setstack(&attributes, memory + upper * STACK, STACK) == 0);
		CHECK(pthread_create(&thread, &attributes, call, memory + (1 - upper) * STACK) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(pthread_attr_destroy(&attributes) == 0);
	}
}

int main(void)
{
	use_helpers(2);
	for (int i = 0; i < rounds(20, 3); i++)
		is_told();
	in_child(is_harmless);
	in_child(is_another_stack);
	return 0;
}
