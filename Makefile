# Expunge: `make demo` plays the whole story, `make test` runs every test. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEVSTACK := $(BIN)/python tools/devstack/devstack.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE  # tests start a thousand processes: what is compiled once need not be again

.PHONY: setup demo test alone coverage faults check fix up down status bench lock clean

setup: $(VENV)/ready  ## a virtual environment with the locked dependencies

$(VENV)/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=python3.12, for example" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## the story, from photos to confirmations, on a real Kafka and a real Redis
	@$(DEVSTACK) up --instance demo $(if $(CLUSTER),--cluster)
	@env -u EXPUNGE_CONFIG $$($(DEVSTACK) env --instance demo $(if $(CLUSTER),--cluster)) $(BIN)/expunge demo

ALONE := tests/unit tests/cli tests/adapters tests/properties
BESIDE := tests/faults/test_lost_state.py tests/faults/test_moved.py tests/faults/test_outages.py tests/faults/test_rotation.py
SERVED := tests/contract tests/integration tests/e2e $(filter-out $(BESIDE),$(sort $(wildcard tests/faults/test_*.py)))
LOG := .devstack/alone.log
OWN := .devstack/beside.log

# What needs no servers gives way to the rest, and what takes servers of its own away runs beside both: most of what has
# servers waits (containers are for one run alone). ARGS is for pytest, and then there is one run.
test: setup  ## every test, on servers of its own (CONTAINERS=1 takes them from a Docker engine)
	@test -n "$(CONTAINERS)" || { test -n "$$EXPUNGE_TEST_KAFKA" && test -n "$$EXPUNGE_TEST_REDIS"; } || $(DEVSTACK) up --instance test
	@mkdir -p .devstack; export EXPUNGE_TEST_CONTAINERS=$(CONTAINERS); \
	 if test -n "$(ARGS)"; then $(BIN)/python -m pytest $(ARGS); code=$$?; \
	 else nice -n 10 $(MAKE) -s alone > $(LOG) 2>&1 & alone=$$!; \
	  { test -n "$(CONTAINERS)" || $(BIN)/python -m pytest --durations=9 $(BESIDE); } > $(OWN) 2>&1 & own=$$!; \
	  $(BIN)/python -m pytest --durations=15 $(if $(CONTAINERS),$(BESIDE)) $(SERVED); served=$$?; \
	  wait $$own || served=$$?; cat $(OWN); wait $$alone; code=$$?; cat $(LOG); \
	  test $$code -ne 0 || { $(BIN)/coverage report --fail-under=95; code=$$?; }; \
	  test $$served -eq 0 || code=$$served; fi; \
	 test -n "$(CONTAINERS)$$EXPUNGE_TEST_KAFKA" || $(DEVSTACK) down --instance test; exit $$code

alone: setup  ## what needs no servers; histories are long, and what they reach is not counted
	@$(BIN)/coverage run -m pytest -q --durations=9 $(filter-out tests/properties,$(ALONE)) && $(BIN)/python -m pytest -q --durations=3 tests/properties

coverage: setup  ## how much of the core the tests that need no servers reach; less than the floor is an error
	@$(BIN)/coverage run -m pytest -q $(filter-out tests/properties,$(ALONE)) && $(BIN)/coverage report --fail-under=95

faults: setup  ## outages of a minute on servers of their own, with figures (EXPUNGE_TEST_OUTAGE_SECONDS=600 for ten)
	@EXPUNGE_TEST_OUTAGE_SECONDS=$${EXPUNGE_TEST_OUTAGE_SECONDS:-60} $(BIN)/python -m pytest -s tests/faults/test_outages.py

check: setup  ## lint, format, types, layers, schemas
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/schemas.py --check
	@$(BIN)/python tools/machines.py --check
	@$(BIN)/python tools/vocabulary.py --check
	@$(BIN)/python tools/limits.py --check
	@$(BIN)/python tools/commands.py --check
	@$(BIN)/python tools/dashboard.py --check

fix: setup  ## format, and write the schemas anew
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .
	@$(BIN)/python tools/schemas.py
	@$(BIN)/python tools/machines.py
	@$(BIN)/python tools/vocabulary.py
	@$(BIN)/python tools/limits.py
	@$(BIN)/python tools/commands.py
	@$(BIN)/python tools/dashboard.py

up down status: setup  ## the demo's servers; with CLUSTER=1 a Redis Cluster instead of one Redis
	@$(DEVSTACK) $@ --instance demo $(if $(CLUSTER),--cluster)

bench: setup  ## figures beside the raw clients', into benchmarks/RESULTS.md
	@$(DEVSTACK) up --instance test
	@$(BIN)/python benchmarks/run.py; code=$$?; $(DEVSTACK) down --instance test; exit $$code

lock: setup  ## requirements.lock from pyproject.toml, with hashes and without index hosts
	@$(BIN)/uv pip compile pyproject.toml --quiet --group dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' -o requirements.lock

clean:  ## what the targets made, servers first
	@test ! -x $(BIN)/python || { $(DEVSTACK) down --instance demo; $(DEVSTACK) down --instance test; }
	rm -rf $(VENV) .devstack .demo
