# Python 3.11 or newer with pip and venv is all this needs. `make PYTHON=python3.12 demo` picks another one.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test slow bench lint format clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.demo ## rehearse the demonstration's migration on an embedded Stage, and show the report
	$(BIN)/replay demo

test: $(VENV)/.dev ## run the tests, in two processes
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

# The demonstrations have the machine to themselves, two at a time, as their load would be late beside much else.
slow: $(VENV)/.dev ## run the tests that take long: kills, Spark, rehearsals, all demonstrations
	$(BIN)/python -m pytest -m slow --numprocesses 3 --dist loadfile --ignore tests/e2e/test_demo.py
	$(BIN)/python -m pytest -m slow --numprocesses 2 tests/e2e/test_demo.py

bench: $(VENV)/.dev ## measure speed and memory beside peers (about 25 minutes; needs goaccess, nginx and wrk)
	$(BIN)/python bench/import_combined.py
	$(BIN)/python bench/import_files.py
	$(BIN)/python bench/proxy.py
	$(BIN)/python bench/mirror.py
	$(BIN)/python bench/model.py
	$(BIN)/python bench/round_trip.py
	$(BIN)/python bench/model_quality.py
	$(BIN)/python bench/log_flood.py
	$(BIN)/python bench/probe_cost.py
	$(BIN)/python bench/judge_size.py
	$(BIN)/python bench/incident.py

lint: $(VENV)/.dev ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev ## bring the style in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@ $(VENV)/.demo
