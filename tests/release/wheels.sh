#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The four wheels of a release, cross-compiled by zig, without the containers of cibuildwheel: manylinux and musllinux, x86-64
# and aarch64, in build/wheels. Each is audited. The one of this machine is installed and tried; so are others if there is a
# Python for them: PYTHON_manylinux_aarch64, PYTHON_musllinux_x86_64, ... name a command that runs one, such as
# "qemu-aarch64 -L /the/root /the/root/usr/bin/python3.11", which must find cffi and psutil.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python}
out=$PWD/build/wheels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out" && mkdir -p "$out"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1600000000}
umask 022

"$python" -m venv "$work/venv"
bin=$work/venv/bin
"$bin/pip" install --quiet 'setuptools>=77' 'cffi>=1.16' build wheel ziglang 'auditwheel>=6.4' 'abi3audit>=0.0.20' patchelf
export PATH=$bin:$PATH

mkdir "$work/tree"
tar -c --exclude-vcs --exclude=build --exclude=dist --exclude='.venv*' --exclude='.*_cache' --exclude=.hypothesis \
	--exclude=__pycache__ --exclude='*.egg-info' --exclude='*.so' . | tar -x -C "$work/tree"

# unwinder(machine): what gcc would link, and zig does not have; its name is all that is taken from it
unwinder() {
	find "/usr/$1-linux-gnu/lib" "/lib/$1-linux-gnu" "/usr/lib/$1-linux-gnu" -name libgcc_s.so.1 2> "$work/log" | head -1 || true
}

# compile(libc, machine): a wheel for linux_machine in $work/made
compile() {
	local target=$2-linux-$1 more=
	if [ "$1" = gnu.2.28 ]; then
		more=$(unwinder "$2")
		test "$more" || {
			echo "no libgcc_s.so.1 for $2: apt-get install libgcc-s1-arm64-cross" >&2
			exit 1
		}
	fi
	printf '#!/bin/sh\nexec "%s" -m ziglang cc -target %s "$@"\n' "$bin/python" "$target" > "$work/cc"
	chmod +x "$work/cc"
	rm -rf "$work/made" "$work/tree/build"
	(cd "$work/tree" && CC=$work/cc LDSHARED="$work/cc -shared $more" _PYTHON_HOST_PLATFORM=linux-$2 \
		python -m build --wheel --no-isolation --outdir "$work/made" . > "$work/log" 2>&1) || {
		cat "$work/log"
		exit 1
	}
	if grep 'without threads' "$work/log"; then
		exit 1
	fi
}

# name_musl(machine): as its distributions call it, and auditwheel knows it; zig says libc.so
name_musl() {
	(cd "$work/made" && wheel unpack --dest unpacked ./*.whl > "$work/log" && rm ./*.whl &&
		patchelf --replace-needed libc.so "libc.musl-$1.so.1" unpacked/*/ktask/*.so &&
		wheel pack --dest-dir . unpacked/* > "$work/log")
}

for libc in gnu.2.28 musl; do
	for machine in x86_64 aarch64; do
		compile "$libc" "$machine"
		if [ "$libc" = musl ]; then
			name_musl "$machine"
		fi
		auditwheel repair --wheel-dir "$work/repaired" "$work"/made/*.whl > "$work/log" 2>&1 || {
			cat "$work/log"
			exit 1
		}
		repaired=$(echo "$work"/repaired/*.whl)
		if python -m zipfile --list "$repaired" | grep '\.libs/'; then
			echo 'a library was copied into the wheel' >&2
			exit 1
		fi
		abi3audit --strict --summary "$repaired"
		mv "$repaired" "$out"
	done
done

# try_with(wheel, python): the smoke test, away from the sources
try_with() {
	rm -rf "$work/site" && mkdir "$work/site"
	python -m zipfile -e "$1" "$work/site"
	cp tests/release/smoke.py "$work"
	(cd "$work" && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$work/site $2 smoke.py)
}

"$bin/pip" install --quiet psutil
for wheel in "$out"/*.whl; do
	kind=$(basename "$wheel" | sed 's/.*-\(many\|musl\)linux_[0-9]*_[0-9]*_\(.*\)\.whl/\1linux_\2/')
	given=PYTHON_$kind
	if [ "${!given:-}" ]; then
		try_with "$wheel" "${!given}"
	elif [ "$kind" = "manylinux_$(uname -m)" ]; then
		try_with "$wheel" "$bin/python"
	else
		echo "$kind: built and audited; to have it tried, name a Python in $given"
	fi
done
