# The words of this repository; CI says the same ones. `make help` lists them. ARGS="..." is handed on.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test fmt lint types sim fuzz fuzz-property soak compat compat-full bench bench-smoke docs wheel lock setup clean

help: ## list the words
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-13s %s\n", $$1, $$2 }'

# --- .venv, in three steps: each word waits for no more than it needs. A stamp says which locks are installed.

PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-input

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tailrace needs Python 3.11 or later: make PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.run: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.compat: requirements-compat.lock .venv/.dev
	$(PIP) --require-hashes -r requirements-compat.lock
	@touch $@

setup: .venv/.dev ## make .venv with all that the code, its tests and the linters need

serve: .venv/.run ## run a broker on 127.0.0.1:9092, data in ./tailrace-data (ARGS="--set wal.sync=interval")
	@exec $(BIN)/tailrace serve $(ARGS)

test: .venv/.dev ## run all tests that need no other server (ARGS="-k wal")
	$(BIN)/python -m pytest $(ARGS)

fmt: .venv/.dev ## format the code and sort its imports
	$(BIN)/ruff check -q --select I --fix .
	$(BIN)/ruff format .

lint: .venv/.dev ## check style, banned calls and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=engine:controller:gateway $(BIN)/lint-imports --no-cache

types: .venv/.dev ## check types, strictly
	$(BIN)/mypy

# A folder without tests in it is one that a later version fills; saying so is better than a green nothing.
tests_in = $(shell find engine controller gateway -path '*/tests/$(1)/*' -name 'test_*.py' 2>/dev/null)

SEEDS ?= 1
SEED ?= 1

sim: .venv/.dev ## simulate a broker with faults from a seed (SEED=17), or many (SEEDS=1000 SEED=1)
	$(BIN)/python engine/tests/sim/sim_run.py --seeds $(SEEDS) --seed $(SEED) $(ARGS)

fuzz: .venv/.compat ## send valid and mutated frames to a running broker (ARGS="--frames 1000000 --seed 7")
	cd compat-tests && ../$(BIN)/python -m fuzz.run $(ARGS)

fuzz-property: .venv/.dev ## look long for what breaks the property tests
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --timeout 0 $(call tests_in,property) $(ARGS)

soak: .venv/.compat ## mixed load with restarts for long; what grew, lost or drifted (ARGS="--minutes 30 --write")
	cd compat-tests && ../$(BIN)/python -m soak.run $(ARGS)

compat: .venv/.compat ## run real clients, kills and power cuts against a real broker: what every CI run does
	compat-tests/setup.sh
	cd compat-tests && ../$(BIN)/python -m pytest -m "not full" $(ARGS)

compat-full: .venv/.compat ## all of compat (an hour), which renders compat-tests/MATRIX.md anew
	compat-tests/setup.sh
	cd compat-tests && ../$(BIN)/python -m pytest --ignore librdkafka --outcomes ../docs/compat.json $(ARGS)
	cd compat-tests && ../$(BIN)/python librdkafka/run.py --json ../docs/compat-librdkafka.json
	cd compat-tests && ../$(BIN)/python harness/report.py

bench: .venv/.compat ## measure beside Apache Kafka and render the table and plot into docs/ (25 minutes)
	$(BIN)/python bench/run.py $(ARGS)

bench-smoke: .venv/.compat ## every load of the bench, very small, on Tailrace alone
	$(BIN)/python bench/run.py --smoke $(ARGS)

docs: .venv/.run ## render config/, docs/metrics.md and docs/configs.md from the code
	$(BIN)/python -m tailrace_core.render

wheel: .venv/.run ## build a wheel, install it in a fresh environment elsewhere and run it there
	PYTHON=$(BIN)/python .ci/wheel

lock: .venv/.run ## choose the versions of all dependencies anew (ARGS=--upgrade)
	$(PIP) uv
	.ci/lock $(BIN)/uv $(ARGS)

clean: ## remove .venv, caches and builds; data folders stay
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
