#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What is released: the source distribution and the wheel, built twice in different places, are the same bits; the wheel keeps
# to the ABIs it names, has a list of components, and works where it is installed. PYTHON has the extra ktask[release].
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python}
bin=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH="$bin:$PATH"

# The wheels that the workflow will build, by the settings in pyproject.toml.
for machine in x86_64 aarch64; do
	cibuildwheel --print-build-identifiers --platform linux --archs $machine .
done | tr '\n' ' ' | grep -x 'cp310-manylinux_x86_64 cp310-musllinux_x86_64 cp310-manylinux_aarch64 cp310-musllinux_aarch64 '

# Any date will do, but the same for both; without git, since what is checked may be a mere copy.
export SOURCE_DATE_EPOCH=1600000000
umask 022

for place in one another; do
	mkdir -p "$work/$place/tree"
	tar -c --exclude-vcs --exclude=build --exclude=dist --exclude='.venv*' --exclude='.*_cache' --exclude=.hypothesis \
		--exclude=__pycache__ --exclude='*.egg-info' --exclude='*.so' . | tar -x -C "$work/$place/tree"
	find "$work/$place/tree" -exec touch -d "$([ $place = one ] && echo 2001-01-01 || echo now)" {} +
	(cd "$work/$place/tree" && "$python" -m build --quiet --outdir ../dist . > ../log 2>&1) || {
		cat "$work/$place/log"
		exit 1
	}
done
(cd "$work/one/dist" && sha256sum -- *) > "$work/sums"
(cd "$work/another/dist" && sha256sum --check --quiet "$work/sums")
echo 'built twice, the same bits:' && cat "$work/sums"

wheel=$(echo "$work"/one/dist/ktask-*-abi3-*.whl)
twine check --strict "$work"/one/dist/*
auditwheel show "$wheel" | tr '\n' ' ' | grep -o 'following platform tag: "manylinux_[^"]*"'
auditwheel repair --wheel-dir "$work/repaired" "$wheel" > "$work/log" 2>&1 || {
	cat "$work/log"
	exit 1
}
repaired=$(echo "$work"/repaired/*manylinux*.whl)
if "$python" -m zipfile --list "$repaired" | grep '\.libs/'; then
	echo 'a library was copied into the wheel' >&2
	exit 1
fi
abi3audit --strict --summary "$repaired"

"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet "$repaired"
cp tests/release/smoke.py "$work"
(cd "$work" && venv/bin/python smoke.py)

cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file "$work/sbom.json" "$work/venv/bin/python"
"$python" - "$work/sbom.json" << 'END'
import json
import sys

sbom = json.load(open(sys.argv[1]))
names = {c["name"] for c in sbom["components"]}
assert sbom["metadata"]["component"]["name"] == "ktask" and {"cffi", "psutil"} <= names, names
print("components:", *sorted(names))
END
