/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread function that is left by longjmp() leaves helpers on a stack that is gone: the next run there says so and ends
 * the program, or a helper that finds something else there. Nothing else does: not runs inside others, on whatever stack,
 * nor a longjmp() when no helper is there.
 */
#include "check.h"

#include "../../csrc/limits.h"
#include "../../csrc/pool_private.h"
#include "../../csrc/table.h"
#include "ktask.h"
#include "library.h"

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
static bool left;
static atomic_int helpers_here;
static atomic_bool may_go, too_late;

static bool is_caller(void)
{
	return pthread_equal(pthread_self(), caller);
}

/* Is one there? If not, the caller's chunk is long enough for the next to have company. */
static bool has_company(void)
{
	if (!helpers_here)
		usleep(1000);
	return helpers_here;
}

/* Until they may go, or nothing is left for the caller: then they wait for nothing. */
static void helper_waits(void)
{
	helpers_here++;
	while (!may_go && !too_late)
		usleep(100); /* out of the caller's way, on a busy machine */
}

static int let_go(size_t done, size_t total, void *unused)
{
	(void)unused;
	too_late = done == total;
	return 0;
}

/* Helpers stay; the caller, once one is there, is off. */
static int leave(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	if (!is_caller()) {
		helper_waits();
	} else if (has_company()) {
		left = true;
		longjmp(before, 1);
	}
	return KTASK_RETURN_SUCCESS;
}

/* The same without helpers. */
static int leave_alone(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	left = true;
	longjmp(before, 1);
}

/* From the same place on the stack each time. */
__attribute__((noinline)) static void run_and_return(ktask_thread_func function, size_t max_threads)
{
	DEFINE_KTASK_CTL(ctl, function, NULL, 1);

	ktask_ctl_set_max_threads(&ctl, max_threads);
	ktask_ctl_set_poll_func(&ctl, let_go, NULL);
	if (setjmp(before) == 0)
		ktask_run(AT(0), UNITS, &ctl);
}

/* Runs function until the caller has left a run. */
__attribute__((noinline)) static void run_until_left(ktask_thread_func function, size_t max_threads)
{
	caller = pthread_self();
	for (left = false; !left;) {
		helpers_here = 0;
		may_go = too_late = false;
		run_and_return(function, max_threads);
	}
}

/* ---- left behind ------------------------------------------------------------------------------------------------ */

static void next_run(void)
{
	run_until_left(leave, 0);
	run_until_left(leave, 0);
}

/* Writes to where runs were. */
__attribute__((noinline)) static void overwrite(void)
{
	volatile char memory[1 << 16];

	for (size_t i = 0; i < sizeof(memory); i++)
		memory[i] = 'x';
}

static void helper_back_from_its_chunk(void)
{
	run_until_left(leave, 0);
	overwrite();
	may_go = true;
	for (;;)
		pause();
}

static void is_told(void (*by)(void))
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
		by();
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
	for (int i = 0; i < rounds(25, 10); i++) {
		run_and_return(leave_alone, 1);
		check_library();
	}
}

/* Not only out of the team, but done with all that comes after. */
static bool helpers_are_idle(void)
{
	for (int id = 0; id < pool.nr_helpers; id++)
		if (atomic_load(&pool.helpers[id].word) & (RUNNING | CALLED))
			return false;
	return true;
}

static int callers_seats(void)
{
	char buffer[LIMITS_PATH], why[TABLE_WHY];
	struct table_user users[16];
	int n = table_users(limits_table(buffer), users, 16, why), seats = 0;

	for (int i = 0; i < n && i < 16; i++)
		seats += users[i].pid == getpid() ? users[i].callers : 0;
	return seats;
}

/* A helper comes, and does the rest; when it is gone, the caller is off. */
static int leave_last(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	if (!is_caller()) {
		helpers_here++;
	} else if (has_company()) {
		while (!helpers_are_idle())
			sched_yield();
		left = true;
		longjmp(before, 1);
	}
	return KTASK_RETURN_SUCCESS;
}

/* The seat that the caller took goes back with its next run in that place. */
static void keeps_no_seat(void)
{
	setenv("KTASK_WAKE_NS", "0", 1);
	run_until_left(leave_last, 0);
	CHECK(callers_seats() == 1);
	run_until_left(leave_alone, 1);
	CHECK(callers_seats() == 0);
}

/* The caller makes a run in its chunk, and leaves that one only. */
static int leave_inner(void *start, void *end, void *arg)
{
	(void)start, (void)end, (void)arg;
	run_until_left(leave_last, 0);
	return KTASK_RETURN_SUCCESS;
}

/* Or with its next run that is less deep. */
static void keeps_no_seat_of_an_inner_run(void)
{
	DEFINE_KTASK_CTL(ctl, leave_inner, NULL, 1);

	setenv("KTASK_WAKE_NS", "0", 1);
	ktask_ctl_set_max_threads(&ctl, 1);
	CHECK(ktask_run(AT(0), 1, &ctl) == KTASK_RETURN_SUCCESS);
	CHECK(callers_seats() == 1);
	check_library();
	CHECK(callers_seats() == 0);
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
		helper_waits();
		return KTASK_RETURN_SUCCESS;
	}
	if (may_go || !has_company())
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
	ktask_ctl_set_poll_func(&ctl, let_go, NULL);
	for (int i = 0; i < rounds(20, 5); i += may_go) {
		helpers_here = 0;
		may_go = too_late = false;
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
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1 &&
	    !UNDER_TSAN) { /* which sees helpers on the stack, from before they left */
		in_child(keeps_no_seat);
		in_child(keeps_no_seat_of_an_inner_run);
	}
	use_helpers(1); /* another one would come to the stack that is gone */
	for (int i = 0; i < rounds(10, 3); i++) {
		is_told(next_run);
		if (!UNDER_TSAN)
			is_told(helper_back_from_its_chunk);
	}
	use_helpers(2);
	in_child(is_harmless);
	in_child(is_another_stack);
	return 0;
}
