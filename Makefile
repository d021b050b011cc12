# Everything to do with a clone. `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-fast test-flink faults soak mutants model fuzz audit sbom bench-growth bench-web bench-windows lint
.PHONY: format docs dashboards lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# Two lock files pin every version with its hashes: what users run, and everything that developers need besides.
# The package itself is installed from this folder.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
INSTALL_THIS := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.13 …")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/usable: .venv/python pyproject.toml requirements.lock
	$(INSTALL) -r requirements.lock
	$(INSTALL_THIS)
	@touch $@

.venv/installed: .venv/python pyproject.toml requirements-dev.lock
	$(INSTALL) -r requirements-dev.lock
	$(INSTALL_THIS)
	@touch $@ .venv/usable

# KEEP=1 leaves a live market and its page running.
demo: .venv/usable ## a real Kafka and PostgreSQL, a simulated day, metrics, risk and charts
	$(BIN)/cryptometrics demo $(if $(KEEP),--keep)

# Two processes, each with its own services: most of a test's time is waiting for Kafka's groups.
test: .venv/installed ## all tests, on a real Kafka and PostgreSQL of their own
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-fast: .venv/installed ## the tests that take under a minute: the pure parts, state and ownership
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m 'not slow' tests/unit \
		tests/integration/test_worker_past.py tests/integration/test_partition_claims.py

# FAULTS_RESULTS=file also writes each row of the table as one line of JSON; FAULTS_PAGE=docs/guarantees.md puts the
# table of a run that passed into that page, with date, machine and commit.
# Tests start one by one, the longest first. Most of the time is waiting, so two processes take half the time.
faults: .venv/installed ## every fault in full, about half an hour; prints the table of docs/guarantees.md
	FAULTS=full $(BIN)/python -m pytest --numprocesses 2 --dist load --maxschedchunk 1 tests/faults

# SEED=n repeats the faults of a run, which prints its seed. SOAK_PAGE=docs/guarantees.md puts the tables of a run that
# passed into that page.
soak: .venv/installed ## everything at once for MINUTES=30, with a fault a minute and flat memory
	SOAK_MINUTES=$(or $(MINUTES),30) SOAK_SEED=$(SEED) $(BIN)/python -m pytest -s tests/faults/soak

# ROOM=market, risk or alerts. SAMPLE=200 takes so many mutants at random, SEED=2 others; without it all of them.
# MODULE=text: only of modules whose path has this text. TIME=600: as many as begin in these seconds.
mutants: .venv/installed ## change a pure room in small ways, and see whether its unit tests notice
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.mutants.run $(or $(ROOM),market) \
		$(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(MODULE),--module $(MODULE)) \
		$(if $(TIME),--seconds $(TIME))

model: .venv/installed ## check the protocol's model in every interleaving, and that its guards are needed
	$(BIN)/python model/check.py

# FUZZ_SECONDS: how long the decoder is fuzzed; the other readers take a share. FUZZ_SEED: other inputs.
fuzz: .venv/installed ## a minute of hostile input for every reader of outside data
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) $(BIN)/python -m pytest tests/fuzz \
		tests/integration/test_web.py::test_no_request_is_a_bug_of_the_server

# This and bench-windows download Flink's jars (159 MiB, pinned). TICKS=100000 makes them shorter.
test-flink: .venv/installed ## the streaming job on its own Flink cluster: kills, a restart, six hours of state
	FLINK=full $(BIN)/python -m pytest -s tests/flink/test_killed.py tests/flink/test_restart.py \
		tests/flink/test_flat_state.py

bench-windows: .venv/installed ## speed of windows with process, FnApiRunner and Flink, each checked with SQL
	FLINK=full $(BIN)/python -m pytest -s tests/flink/test_bounded.py tests/flink/test_backlog.py

# ROWS: size of the table; twenty million rows take about a quarter of an hour and 8 GB.
bench-growth: .venv/installed ## speed and answers with ten days of history; needs running services
	$(BIN)/python -m cryptometrics.cli.bench_growth --rows $(or $(ROWS),5000000)

bench-web: .venv/installed ## the live page beside 1,000 ticks/s, with services and a browser of its own
	$(BIN)/python -m tests.browser.measure_page

# pip-audit is not a dependency: only this target needs it, always in its newest version.
audit: .venv/installed ## known vulnerabilities of the locked packages
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off --requirement requirements-dev.lock

# From the lock files and docs/licences.md: after `make lock`, `make docs` writes both anew.
sbom: .venv/installed ## list everything that an installation contains in sbom.cdx.json (CycloneDX)
	$(BIN)/python docs/sbom.py

lint: .venv/installed ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed ## regenerate every generated file: references, sample chart, licences, wire format, bill
	$(BIN)/python docs/cli_reference.py
	$(BIN)/python docs/sample_chart.py
	$(BIN)/python docs/licences.py
	$(BIN)/python docs/wire_format.py
	$(BIN)/python docs/sbom.py

dashboards: .venv/installed ## regenerate the Grafana dashboards in cryptometrics/dashboards/
	$(BIN)/python -m cryptometrics.dashboards.build

PIP_COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: .venv/installed ## update both lock files within the bounds of pyproject.toml
	$(PIP_COMPILE) --upgrade --all-extras --output-file requirements-dev.lock pyproject.toml
	$(PIP_COMPILE) --extra local --extra web --extra data --extra notify --build-deps-for editable \
		--constraint requirements-dev.lock --output-file requirements.lock pyproject.toml

clean: ## remove the environment, caches, builds and charts
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist charts
