# Everything a person does with a clone. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-fast test-flink faults fuzz audit bench-growth bench-windows lint format docs dashboards
.PHONY: lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# The lock file pins every version with its hashes; the package itself is installed from this folder.
.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.13 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/installed ## a real Kafka and PostgreSQL, a few seconds of market, metrics and charts
	$(BIN)/cryptometrics demo

# Two at a time, each with services of its own: most of a test's time is waiting for Kafka's groups.
test: .venv/installed ## all tests, on a real Kafka and PostgreSQL of their own
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-fast: .venv/installed ## what takes under a minute: the pure parts, state and ownership
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m 'not slow' tests/unit \
		tests/integration/test_state.py tests/integration/test_offsets.py

# FAULTS_RESULTS=file: one JSON object a line for each row of the table, too.
# One test is handed out at a time, the longest first; most of the time is waiting, so two at a time take half.
faults: .venv/installed ## every fault in full, some twenty minutes; ends with the table of docs/guarantees.md
	FAULTS=full $(BIN)/python -m pytest --numprocesses 2 --dist load --maxschedchunk 1 tests/faults

# FUZZ_SECONDS: how long the decoder is fuzzed; the rest takes its share. FUZZ_SEED: another one, other inputs.
fuzz: .venv/installed ## a minute of hostile input for everything that reads from outside
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) $(BIN)/python -m pytest tests/fuzz

# The only target that fetches Flink's jars (159 MiB, pinned). TICKS=100000 makes it shorter.
test-flink: .venv/installed ## the streaming job on a Flink cluster of its own, a task manager killed in the middle
	FLINK=full $(BIN)/python -m pytest -s tests/flink/test_flink.py -k killed

bench-windows: .venv/installed ## how fast windows are made: process, FnApiRunner, Flink; each compared with SQL
	FLINK=full $(BIN)/python -m pytest -s tests/flink -k 'not killed'

# ROWS: how many the table has; five million take some minutes.
bench-growth: .venv/installed ## whether speed falls as the table grows; needs the services up
	$(BIN)/python -m cryptometrics.bench.growth --rows $(or $(ROWS),5000000)

# Not one of the dependencies: it is needed here alone, and wants the newest list.
audit: .venv/installed ## known vulnerabilities of what is locked, as PyPI knows them
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off --requirement requirements.lock

lint: .venv/installed ## format check, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed ## renew what is generated in docs/: CLI reference, diagram, sample chart, licences
	$(BIN)/python docs/cli_reference.py
	$(BIN)/python docs/architecture_diagram.py
	$(BIN)/python docs/sample_chart.py
	$(BIN)/python docs/licences.py

dashboards: .venv/installed ## renew the Grafana dashboards in cryptometrics/dashboards/
	$(BIN)/python -m cryptometrics.dashboards.build

lock: .venv/installed ## renew requirements.lock within the bounds of pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra local --extra beam --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml

clean: ## remove what was made here
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist charts
