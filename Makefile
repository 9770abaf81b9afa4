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
DEMO ?= # options of the demo, such as --quick
QUICK ?= # anything: make bench ends within a minute, and leaves the figures of the documentation alone
ONLY ?= # make bench measures these only: hot apart long memory python loop
SOURCES = pyproject.toml setup.py MANIFEST.in $(wildcard csrc/*.c csrc/*.h csrc/include/*.h csrc/examples/* src/ktask/*.py)

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

bench: $(VENV)/.bench ## measure beside other libraries; rewrites the tables and plots of the documentation
	$(BIN)/python bench/run.py $(if $(QUICK),--quick) $(ONLY:%=--only %)

lint: $(VENV)/.test ## types, style and static analysis
	$(BIN)/mypy
	$(BIN)/ruff check src tests bench examples setup.py
	$(BIN)/ruff format --check src tests bench examples setup.py
	$(MAKE) -C tests/c lint CLANG_FORMAT=$(abspath $(BIN)/clang-format)

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

.PHONY: help demo test test-c test-fuzz test-python bench lint lib clean
