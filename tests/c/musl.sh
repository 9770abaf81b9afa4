# SPDX-License-Identifier: BSD-3-Clause
# The library and some of its tests with musl in place of glibc, as in musllinux wheels. Debian: musl-tools.
set -eu

csrc=${CSRC:-../../csrc}
test -z "${SANITIZE:-}" || exit 77 # musl has none
command -v musl-gcc > /dev/null || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The kernel's headers, without glibc's, which lie beside them.
mkdir "$work/include"
for folder in linux asm-generic "$(gcc -print-multiarch)/asm" asm; do
	test -e "/usr/include/$folder" && ln -sf "/usr/include/$folder" "$work/include"
done

make -s -C "$csrc" "$work/build/libktask.a" BUILD="$work/build" CC=musl-gcc \
	CFLAGS="-O2 -Werror -isystem $work/include" > "$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
for test in affinity concurrent contract fork iterator memory stack thread_ends undo; do
	musl-gcc -std=c11 -static -pthread -fexceptions -O1 -I "$csrc/include" -isystem "$work/include" \
		-o "$work/$test" $test.c "$work/build/libktask.a"
	CHECK_QUICK=1 "$work/$test" || {
		echo "$test with musl" >&2
		exit 1
	}
done
