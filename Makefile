# Two commands do everything: `make search` shows swell at work, `make test` proves that it works.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Every trial's worker imports a few thousand modules. Where Python may not write what it has compiled (container images
# often say so), each process would compile all of them, which takes it longer than to import them.
unexport PYTHONDONTWRITEBYTECODE
SELDOM := /(torch|sympy|tests)/|__editable__
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
INSTALL += --editable
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '$(SELDOM)' $(VENV)/lib
# What the tests alone need is compiled when it is first imported.

.PHONY: help setup search test check lint packages bench bundle schema clean

help:
	@echo "make search   set up, run the quick-start search, print its table (a minute or two)"
	@echo "make setup    set up the environment in $(VENV) alone"
	@echo "make check    the fast loop: ruff, pyright, import rules, unit tests"
	@echo "make test     everything, with what the tests need installed (SLURM, PostgreSQL, chromium: as root)"
	@echo "make bench    what swell costs beside its rivals, into build/bench.md (minutes; FULL=1: hours)"
	@echo "make bundle   one archive to set swell up from on a cluster without internet"
	@echo "make schema   write anew what is made from the code: the JSON Schema for editors, docs/reference.md, tables"

setup: $(VENV)/.compiled

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "swell needs Python 3.11: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.setup: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) .
	@touch $@

$(VENV)/.compiled: $(VENV)/.setup
	$(COMPILE)
	@touch $@

$(VENV)/.setup-test: $(VENV)/.setup
	$(INSTALL) '.[test]'
	@touch $@

search: setup
	$(BIN)/swell run search_spaces/quickstart.yaml

lint: $(VENV)/.setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# A file is run by one process (of the conformance tests, a method), in the order of tests/conftest.py: the longest first.
BY_FILE := --dist loadfile --no-loadscope-reorder --durations=10
check: lint
	$(BIN)/python -m pytest -n 2 $(BY_FILE) -m "not slow"

# Real daemons, started by the tests themselves and by nobody else. Only a developer without root gets by without them.
packages:
	@slurm/testbed/testbed.sh install postgresql chromium fonts-liberation || { \
		[ "$$(id -u)" != 0 ] && [ -z "$$CI" ] && \
		echo "make test: not run by root, so the tests that need what is missing are skipped" >&2; }

# Five at once on two cores, a quarter of which four leave idle: many of these tests wait, for SLURM, for a disk, for a
# process to die.
test:
	@$(MAKE) --no-print-directory -j 3 packages lint $(VENV)/.compiled
	$(BIN)/python -m pytest -n 5 $(BY_FILE)

# A rival that cannot be installed does not take part, and the report says so. Our methods all do.
$(VENV)/.setup-bench: $(VENV)/.setup
	$(INSTALL) '.[methods]'
	@$(INSTALL) '.[bench]' && touch $@ || echo "make bench: Syne Tune could not be installed" >&2

bench: setup $(VENV)/.setup-bench
	$(BIN)/python -m benchmarks.bench $(if $(FULL),--full) $(if $(PARTS),--only $(PARTS))

# EXTRAS=gp,postgres brings PyTorch along, for Optuna's Gaussian processes.
bundle: $(VENV)/.setup
	PYTHON=$(BIN)/python slurm/bundle.sh build

schema: setup
	$(BIN)/python -m cluster.schema
	$(BIN)/python -m cluster.reference
	$(BIN)/python -m cluster.tables

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
