# SPDX-License-Identifier: BSD-3-Clause
# How many instructions the shortest runs, a thousand claims and NumPy's small calls take, beside what was recorded: a slower hot path is
# noticed here, on any machine however busy. Up to a tenth more passes; a tenth less asks for a new record.
set -eu

csrc=${CSRC:-../../csrc}
cc=${CC:-cc}

# Recorded with this compiler, -O2. How long a run takes decides which way some of it goes, so this is the middle of a few.
compiler="gcc 12 x86_64"
record="empty_run 505 traced_run 1557 claims 183135 small_loops 2514 small_blocks 4010"

test -z "${SANITIZE:-}" || exit 77 # counts something else
command -v valgrind > /dev/null || exit 77
test "$($cc --version | sed -n '1s/ .*//p') $($cc -dumpversion | sed 's/\..*//') $(uname -m)" = "$compiler" || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
numpy=../../src/ktask/_numpy
$cc -std=c11 -O2 -pthread -fexceptions -I "$csrc/include" -o "$work/instructions" instructions.c "$csrc"/*.c
$cc -std=c11 -O2 -pthread -fexceptions -I "$csrc/include" -I "$numpy" -o "$work/numpy_small" numpy_small.c \
	"$numpy"/*.c "$csrc"/*.c -lm

# count(function): instructions in it and in all that it calls, once
count() {
	case $1 in small_*) program=numpy_small ;; *) program=instructions ;; esac
	valgrind --tool=callgrind --callgrind-out-file="$work/out" --toggle-collect="$1" "$work/$program" \
		> "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
	sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/log"
}

set -- $record
status=0
while test $# -gt 0; do
	counted=$(count "$1")
	if test "$counted" -gt $(($2 * 11 / 10)); then # who lost the CPU meanwhile has set its watch again
		counted=$(count "$1")
	fi
	echo "$1: $counted instructions, recorded $2"
	if test "$counted" -gt $(($2 * 11 / 10)); then
		echo "$1 has become slower" >&2
		status=1
	elif test "$counted" -lt $(($2 * 9 / 10)); then
		echo "$1 has become quicker: record $counted" >&2
		status=1
	fi
	shift 2
done
exit $status
