# The developer's whole interface. Each target makes its own environment first; only Python 3.11 must be there.
PYTHON ?= python3
RUN := .venv/bin/python -m

.PHONY: demo up test check lint bench docs environment demo-environment clean

# From raw data to a served, monitored, retrained model under real permissions. DEMO_ARGS="--exit --report FILE" stops after it.
demo: demo-environment
	.venv/bin/lakewright demo $(DEMO_ARGS)

# The platform by itself, on http://127.0.0.1:8470.
up: demo-environment
	.venv/bin/lakewright up

# Everything: checks, SQLite and Postgres, real clients, real Chromium. What this machine lacks is left out by name.
test: environment
	$(PYTHON) scripts/run_tests.py $(TEST_ARGS)

# The fast half of the tests: style, types, layers, documents in step, and what must hold of every operation.
check: lint
	$(RUN) pytest -q tests/conformance

# Style, types, layers, and that generated documents are in step.
lint: environment
	.venv/bin/ruff check src tests benchmarks scripts examples
	.venv/bin/ruff format --check src tests benchmarks scripts examples
	.venv/bin/pyright
	.venv/bin/lint-imports
	$(RUN) scripts.documents --check

# One benchmark; its last line is one JSON object: make bench BENCH=writes
bench: environment
	$(RUN) benchmarks.$(BENCH) $(BENCH_ARGS)

# Write the generated documents anew: coverage of the SDK, kinds, open operations.
docs: environment
	$(RUN) scripts.documents

environment:
	@$(PYTHON) scripts/bootstrap.py --quiet --extra demo --extra postgres --all-groups

demo-environment:
	@$(PYTHON) scripts/bootstrap.py --quiet --extra demo --inexact

clean:
	rm -rf .venv .bootstrap .pytest_cache .ruff_cache .lakewright
