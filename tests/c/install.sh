# SPDX-License-Identifier: BSD-3-Clause
# The example is built as its first lines say, against an installed copy, shared and static, and without the library.
set -eu

csrc=${CSRC:-../../csrc}
example=$csrc/examples/sum.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc=${CC:-cc}
strict="-std=c11 -Wall -Wextra -Wpedantic -Werror"
export PKG_CONFIG_PATH=$work/usr/lib/pkgconfig

# A prefix of its own makes the installed files usable where they are, a staging directory those of a package.
make -s -C $csrc install BUILD="$work/build" PREFIX="$work/usr" CC="$cc" CFLAGS=-O2 > "$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
make -s -C $csrc install BUILD="$work/build" PREFIX=/usr DESTDIR="$work/stage" CC="$cc" CFLAGS=-O2 > "$work/log" 2>&1
for file in include/ktask.h include/ktask_memory.h lib/libktask.so lib/libktask.so.0 lib/libktask.a lib/pkgconfig/ktask.pc; do
	test -e "$work/usr/$file"
	test -e "$work/stage/usr/$file"
done

$cc $strict -o "$work/shared" $example $(pkg-config --cflags --libs ktask)
LD_LIBRARY_PATH=$work/usr/lib "$work/shared" > "$work/shared.out"
ldd "$work/shared" | grep -q libktask.so.0

$cc $strict -static -o "$work/static" $example $(pkg-config --static --cflags --libs ktask)
"$work/static" > "$work/static.out"

$cc $strict -DCONFIG_KTASK=0 $(pkg-config --cflags ktask) -o "$work/serial" $example
"$work/serial" > "$work/serial.out"

cmp "$work/shared.out" "$work/static.out"
cmp "$work/shared.out" "$work/serial.out"

# What the headers declare is exported and nothing else, and the version is ktask.h's.
sed -n 's/^[a-z].* \**\(ktask_[a-z_]*\)(.*);$/\1/p' $csrc/include/*.h | sort -u > "$work/declared"
nm -D --defined-only "$work/usr/lib/libktask.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort > "$work/exported"
cmp "$work/declared" "$work/exported"
grep -q "KTASK_VERSION \"$(pkg-config --modversion ktask)\"" "$work/usr/include/ktask.h"
