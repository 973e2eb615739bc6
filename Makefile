# Two commands do everything: `make search` shows swell at work, `make test` proves that it works.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup search test check lint schema clean

help:
	@echo "make search   set up, run the quick-start search, print its table (a few minutes)"
	@echo "make setup    set up the environment in $(VENV) alone"
	@echo "make check    the fast loop: ruff, pyright, import rules, unit tests"
	@echo "make test     everything, with what the tests need installed"
	@echo "make schema   write the JSON Schema for editors and docs/reference.md anew"

setup: $(VENV)/.setup

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "swell needs Python 3.11: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.setup: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.setup-test: $(VENV)/.setup
	$(INSTALL) --editable '.[gp,test]'
	@touch $@

search: setup
	$(BIN)/swell run search_spaces/quickstart.yaml

lint: $(VENV)/.setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

schema: setup
	$(BIN)/python -m cluster.schema
	$(BIN)/python -m cluster.reference

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
