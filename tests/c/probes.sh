# SPDX-License-Identifier: BSD-3-Clause
# The probes are in the library, with arguments, where it is built with <sys/sdt.h>; without it there are none.
set -eu

csrc=${CSRC:-../../csrc}
cc=${CC:-cc}

test -z "${SANITIZE:-}" || exit 77
command -v readelf > /dev/null || exit 77
echo '#include <sys/sdt.h>' | $cc -E - > /dev/null 2>&1 || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The library's notes.
notes() {
	$cc -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -pthread -fexceptions -fPIC -shared -I "$csrc/include" \
		-o "$work/libktask.so" "$csrc"/*.c
	readelf -n "$work/libktask.so" > "$work/notes"
}

notes
for probe in "run__begin 3" "run__end 2" "chunk__begin 3" "chunk__end 2" "helper__call 2" "helper__come 3" \
	"helper__dismiss 2" "helper__retreat 2" "helper__will 3"; do
	set -- $probe
	grep -A 2 "Name: $1\$" "$work/notes" | awk -v n="$2" '/Arguments:/ { exit NF != n + 1 }' || {
		echo "no probe $1 with $2 arguments" >&2
		exit 1
	}
	grep -q "Name: $1\$" "$work/notes" || { echo "no probe $1" >&2; exit 1; }
done

mkdir "$work/csrc" && cp -r "$csrc"/*.[ch] "$csrc/include" "$work/csrc"
sed 's|sys/sdt.h|sys/not-here.h|' "$csrc/probes.h" > "$work/csrc/probes.h"
csrc=$work/csrc
notes
if grep -q 'Provider: ktask' "$work/notes"; then
	echo "probes without <sys/sdt.h>" >&2
	exit 1
fi
