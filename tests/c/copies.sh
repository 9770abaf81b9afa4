# SPDX-License-Identifier: BSD-3-Clause
# Several copies of the library in one process, one run inside the other's, closed and opened again, and forks all along.
set -eu

csrc=${CSRC:-../../csrc}
cc=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s -C $csrc BUILD="$work/build" CC="$cc" CFLAGS=-O2 > "$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
for copy in one two; do
	cp "$work/build/libktask.so" "$work/$copy.so"
done

cat > "$work/copies.c" << 'END'
#include "check.h"
#include "ktask.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>

enum { UNITS = 100, RESULT = UNITS * (UNITS - 1) / 2 };

typedef int (*run_func)(void *, size_t, struct ktask_ctl *);
static run_func one, two;

static int add(void *start, void *end, void *sum)
{
	sched_yield();
	for (uintptr_t i = (uintptr_t)start; i < (uintptr_t)end; i++)
		atomic_fetch_add((atomic_int *)sum, (int)i);
	return 0;
}

static int add_by_two(void *start, void *end, void *sum)
{
	struct ktask_ctl ctl = { .kc_struct_size = sizeof(ctl), .kc_thread_func = add, .kc_func_arg = sum,
				 .kc_min_chunk_size = 1 };

	return two(start, (uintptr_t)end - (uintptr_t)start, &ctl);
}

static void check(void)
{
	for (int i = 0; i < 50; i++) {
		atomic_int sum = 0;
		struct ktask_ctl ctl = { .kc_struct_size = sizeof(ctl), .kc_thread_func = i % 2 ? add : add_by_two,
					 .kc_func_arg = &sum, .kc_min_chunk_size = 1 };

		CHECK(one(AT(0), UNITS, &ctl) == 0);
		CHECK(sum == RESULT);
	}
}

static void *open_copy(const char *path, run_func *run)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	CHECK(library);
	*(void **)run = dlsym(library, "ktask_run");
	CHECK(*run);
	return library;
}

int main(int argc, char **argv)
{
	(void)argc;
	use_helpers(3);
	for (int i = 0; i < 5; i++) {
		void *first = open_copy(argv[1], &one), *second = open_copy(argv[2], &two);

		CHECK(one != two);
		check();
		in_child(check);
		/* Helpers sleep in the code, and forks call it: it must stay. */
		CHECK(dlclose(first) == 0 && dlclose(second) == 0);
		in_child(check);
	}
	return 0;
}
END
$cc -std=c11 -Wall -Wextra -Werror -O1 -pthread -I. -I"$csrc/include" -o "$work/copies" "$work/copies.c" -ldl
"$work/copies" "$work/one.so" "$work/two.so"
