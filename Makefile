# Everything is done by these targets; none needs another one to be run before.
#
#   make demo            the whole system with real parts and a few calls (ARGS=--json for programs)
#   make test            everything that must pass: lint, unit, integration, acceptance
#   make accept          the long acceptance tests
#   make bench           vsek beside Asterisk's own Queue() and Dial(), under 10 minutes
#   make bench-rest      ARI clients in a race, a soak, ten thousand agents: under 10 minutes
#   make bench-all       the same in full, for hours; fills docs/performance.md
#   make bench-guard     fails if vsek has become slower compared with them
#   make lint | test-unit | test-integration | test-acceptance    one part of it (ARGS=… goes to pytest)
#   make fmt             format the code
#   make lock            renew the pinned versions in requirements/
#   make venv            only the set-up

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest $(ARGS)
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint test-unit test-integration test-acceptance accept bench bench-rest bench-all bench-guard fmt lock clean

help:
	@sed -n '3,13s/^# *//p' Makefile

venv: $(STAMP)

# Pinned versions with hashes first, then the project itself without looking anything up.
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vsek needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) …" >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@$(PIP) install --quiet --retries 10 --require-hashes -r requirements/dev.txt >&2
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable . >&2
	@touch $@

# No echo: with ARGS=--json stdout is the document and nothing else.
demo: $(STAMP)
	@$(BIN)/vsek demo $(ARGS)

test: lint test-unit test-integration test-acceptance

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Unit tests run under coverage: parts that decide about calls must be covered in full.
test-unit: $(STAMP)
	export COVERAGE_FILE=$$(mktemp -u $(VENV)/coverage.XXXXXX); trap 'rm -f "$$COVERAGE_FILE"*' EXIT; \
	  $(BIN)/coverage run -m pytest -n auto --dist worksteal $(ARGS) tests/unit && \
	  $(BIN)/coverage combine --quiet && $(BIN)/coverage report

test-integration: $(STAMP)
	$(PYTEST) tests/integration

test-acceptance: $(STAMP)
	$(PYTEST) -m "not long" tests/acceptance

accept: $(STAMP)
	$(PYTEST) -m long -o faulthandler_timeout=1800 tests/acceptance

# Alone on the machine, else the figures say little. BENCH_OUT is where they go.
BENCH_OUT ?= docs/benchmark
GUARD := tests/acceptance/bench-guard.json

bench: $(STAMP)
	$(BIN)/vsek bench W1 W2 W5 W7 --short $(ARGS)

bench-rest: $(STAMP)
	$(BIN)/vsek bench W6 W8 W9 --short --runs 2 $(ARGS)

bench-all: $(STAMP)
	$(BIN)/vsek bench --out $(BENCH_OUT) --docs docs/performance.md $(ARGS)

bench-guard: $(STAMP)
	$(BIN)/vsek bench W1 W2 --short --runs 3 --guard $(GUARD) $(ARGS)

fmt: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Made with the oldest Python that vsek supports: what newer ones do not need does no harm there.
LOCK := $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-header \
  --no-emit-find-links --no-emit-index-url --no-emit-trusted-host --no-annotate --upgrade

lock: $(STAMP)
	$(LOCK) --extra demo --extra dev --output-file requirements/dev.txt pyproject.toml
	$(LOCK) --build-deps-for wheel --constraint requirements/dev.txt \
	  --output-file requirements/run.txt pyproject.toml

clean:
	rm -rf $(VENV) build dist
