# Every verb sets up what it needs first. Python >= 3.11 and the package registries are all that is required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup run demo test check format docs clean conformance

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup
	$(BIN)/gateway demo --keep

demo: setup
	$(BIN)/gateway demo

# Two processes: the tests with real servers one after the other, all others beside them (tests/conftest.py).
test: setup
	$(BIN)/python -m pytest -q -n 2

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m gateway.ops.contracts --check

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup
	$(BIN)/python -m gateway.ops.contracts --write

# The Java machine of HAPI runs in the process by a package that nothing else needs.
conformance: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/conformance/requirements.lock
	$(BIN)/python -m tests.conformance

clean:
	rm -rf $(VENV) .gateway .pytest_cache .mypy_cache .ruff_cache
