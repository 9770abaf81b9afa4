# ktask. On a fresh machine with a C compiler and Python 3.10 or newer:
#
#   make demo      the main job: clears memory, computes, renders a picture, serially and with ktask
#   make test      everything that must hold
#   make bench     how fast it is beside its peers
#
# All make a virtual environment in VENV first. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SECONDS ?= 600
ASAN_TESTS = contract exceptions iterator concurrent func_arg trace
TSAN_TESTS = fork concurrent exceptions
SEED ?=
MUTANTS ?= # which: options of tests/mutation/mutate.py
# Of the extension module. Other flags do not make setuptools compile them again.
OBJECTS = build/temp.* build/lib.*
DEMO ?= # options of the demo, such as --quick
QUICK ?= # anything: make bench ends within a minute, and leaves the figures of the documentation alone
ONLY ?= # make bench measures these only: hot apart long memory python loop ufuncs
SOURCES = pyproject.toml setup.py MANIFEST.in $(wildcard csrc/*.c csrc/*.h csrc/include/*.h csrc/examples/* src/ktask/*.py src/ktask/_numpy/*.*)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(VENV)/.demo ## install and run the main job; writes mandelbrot.png and timeline.png
	$(BIN)/python -m ktask demo $(DEMO)

test: test-c test-python lint ## everything that must hold

test-c: $(VENV)/.test ## C tests, plain and with the sanitizers
	$(MAKE) -C tests/c check
	$(MAKE) -C tests/c check SANITIZE=address,undefined
	$(MAKE) -C tests/c check SANITIZE=thread

test-fuzz: ## the parsers of system files, given any text, for a few seconds (needs clang)
	$(MAKE) -C tests/fuzz check

test-python: $(VENV)/.test ## Python tests
	$(BIN)/python -m pytest

test-vm: $(VENV)/.test ## tests in virtual machines with several NUMA nodes; skipped where there is no qemu
	$(BIN)/python -m pytest -rs tests/vm

bench: $(VENV)/.bench ## measure beside other libraries; rewrites the tables and plots of the documentation
	$(BIN)/python bench/run.py $(if $(QUICK),--quick) $(ONLY:%=--only %)

test-numpy: $(VENV)/.test ## NumPy's own tests of ufuncs, with ktask doing the work; then with small arrays cut too
	for cut in 0 1; do KTASK_TEST_CUT=$$cut PYTHONPATH=tests/numpy $(BIN)/python -m pytest -c /dev/null -q -p accelerated \
		-p no:cacheprovider --pyargs numpy._core.tests.test_ufunc numpy._core.tests.test_umath || exit 1; done

docs: $(VENV)/.docs ## the documentation site, in build/docs; a warning is an error
	$(BIN)/sphinx-build -q -E -W --keep-going -d build/doctrees docs build/docs

dist: $(VENV)/.release ## source distribution and wheel, in dist/: the same bits for the same commit
	umask 022; SOURCE_DATE_EPOCH=$$(git log -1 --pretty=%ct) $(BIN)/python -m build --outdir dist .

dist-check: $(VENV)/.release ## what is released: same bits twice, the ABIs, the components, an installation
	PYTHON=$(abspath $(BIN)/python) tests/release/check.sh

wheels: $(BIN)/python ## all wheels of a release, cross-compiled and audited, in build/wheels (needs libgcc-s1-arm64-cross)
	PYTHON=$(abspath $(BIN)/python) tests/release/wheels.sh

lint: $(VENV)/.test ## types, style and static analysis
	$(BIN)/mypy
	$(BIN)/ruff check src tests bench examples docs setup.py
	$(BIN)/ruff format --check src tests bench examples docs setup.py
	$(BIN)/python tests/mutation/mutate.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress --min-severity medium .github
	$(MAKE) -C tests/c lint CLANG_FORMAT=$(abspath $(BIN)/clang-format)

model: ## explore the protocols with model checkers
	$(PYTHON) tests/model/check.py

asan-python: $(VENV)/.test ## some of the Python tests, on an extension module built with AddressSanitizer
	rm -rf build/asan $(OBJECTS)
	CFLAGS='-fsanitize=address -O1 -g' LDFLAGS=-fsanitize=address $(BIN)/python -m pip install --quiet --no-deps \
		--no-build-isolation --target build/asan .
	rm -rf $(OBJECTS)
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		PYTHONPATH=build/asan $(BIN)/python -m pytest -p no:cacheprovider $(ASAN_TESTS:%=tests/python/test_%.py)

# Without forks while other Python threads run: they allocate, and ThreadSanitizer's allocator may be locked for good in the child.
tsan-python: $(VENV)/.test ## forks and many threads from Python, on an extension module built with ThreadSanitizer
	rm -rf build/tsan $(OBJECTS)
	CFLAGS='-fsanitize=thread -O1 -g' LDFLAGS=-fsanitize=thread $(BIN)/python -m pip install --quiet --no-deps \
		--no-build-isolation --target build/tsan .
	rm -rf $(OBJECTS)
	LD_PRELOAD="$$($(CC) -print-file-name=libtsan.so)" PYTHONPATH=build/tsan \
		TSAN_OPTIONS=die_after_fork=0:atexit_sleep_ms=0:suppressions=$(CURDIR)/tests/python/tsan.txt \
		$(BIN)/python -m pytest -p no:cacheprovider -k 'not while_other_threads_run' $(TSAN_TESTS:%=tests/python/test_%.py)

soak: $(VENV)/.test ## everything at random for SECONDS=600
	$(BIN)/python tests/soak/soak.py $(SECONDS) $(SEED)

# The compiler gets its flags last, after those of the extension's own build: nothing is optimized into other branches, and
# calls are no branches, which they would be if they could throw.
# placement.c needs several NUMA nodes: tests/vm runs it in a virtual machine, out of sight. And the counts are written while other
# threads go on counting, so that a branch, which is told from what stands around it, may come out as less than 0.
GCOVR = $(BIN)/gcovr --root . --filter csrc/ --exclude csrc/placement.c tests/c/build/coverage \
	--merge-mode-functions=merge-use-line-min --exclude-unreachable-branches \
	--gcov-ignore-parse-errors=negative_hits.warn_once_per_file \
	--txt - --print-summary --html-details build/coverage/c.html --fail-under-line 95 --fail-under-branch 90

# Functions called by name only from helpers are not seen by Python's tracer; the same ones run in callers, too. An interrupt
# at any instant may find coverage holding its own lock (lock_data), for good: so that test runs without. So do CPython's own
# tests of executors, which are all about time.
coverage: $(VENV)/.coverage ## lines and branches that the tests reach, in C and Python: 95 and 90 % at least
	rm -rf tests/c/build/coverage build/coverage $(OBJECTS) && mkdir -p build/coverage
	printf '#!/bin/sh\nexec cc "$$@" -O0 -g --coverage -fprofile-update=atomic -fno-exceptions\n' >build/coverage/cc
	chmod +x build/coverage/cc
	CC=$(CURDIR)/build/coverage/cc CFLAGS=-O0 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/coverage/ext .
	$(MAKE) -C tests/c coverage BUILD=build/coverage
	PYTHONPATH=build/coverage/ext COVERAGE_FILE=build/coverage/python $(BIN)/coverage run -m pytest -p no:cacheprovider \
		-k 'not at_any_instant' --ignore tests/python/test_bench.py --ignore tests/python/test_executor_cpython.py
	COVERAGE_FILE=build/coverage/python $(BIN)/coverage combine --quiet
	COVERAGE_FILE=build/coverage/python $(BIN)/coverage report --ignore-errors
	COVERAGE_FILE=build/coverage/python $(BIN)/coverage json --quiet --ignore-errors -o build/coverage/python.json
	$(BIN)/python -c 'import json, sys; t = json.load(open("build/coverage/python.json"))["totals"]; \
		lines, branches = t["covered_lines"] / t["num_statements"], t["covered_branches"] / t["num_branches"]; \
		print(f"Python: {lines:.1%} of lines, {branches:.1%} of branches"); \
		sys.exit(lines < 0.95 or branches < 0.90)'; python=$$?; \
	$(GCOVR) build/temp.*/csrc; c=$$?; \
	rm -rf $(OBJECTS); [ $$python = 0 ] && [ $$c = 0 ]

coverage-c: $(VENV)/.coverage ## the same of the C core, by the C tests alone
	rm -rf tests/c/build/coverage && mkdir -p build/coverage
	$(MAKE) -s -C tests/c coverage BUILD=build/coverage
	$(GCOVR)

mutants: $(VENV)/.test ## seed small bugs in chunk.c, undo.c and the Python layer, and see whether the tests notice
	$(BIN)/python tests/mutation/mutate.py $(MUTANTS)

lib: ## the C library alone, in csrc/build
	$(MAKE) -C csrc

clean: ## remove all that was built
	rm -rf $(VENV) build dist bench/build src/*.egg-info src/ktask/*.so
	$(MAKE) -C csrc clean
	$(MAKE) -C tests/c clean
	$(MAKE) -C tests/fuzz clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The demo is installed as a user would have it; the tests run on the sources, so that they see every change.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --upgrade '.[demo]'
	touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --upgrade --editable '.[test]'
	touch $@

$(VENV)/.bench: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --upgrade --editable '.[bench]'
	touch $@

$(VENV)/.coverage: $(VENV)/.test
	$(BIN)/python -m pip install --quiet 'coverage>=7.10' 'gcovr>=7'
	touch $@

# ktask is there already: these add what its extras name.
$(VENV)/.docs $(VENV)/.release: $(VENV)/.%: $(VENV)/.test
	$(BIN)/python -m pip install --quiet 'ktask[$*]'
	touch $@

.PHONY: help demo test test-c test-fuzz test-python test-numpy test-vm bench docs dist dist-check wheels lint model asan-python tsan-python soak coverage coverage-c mutants lib clean
