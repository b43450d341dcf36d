# neuroglass. Each target works alone and in any order; all that a machine must have is make and Python 3.11.
# What the targets need (a venv, a Node, a Chromium) is put in place by tests/tools/prepare.py.

PYTHON ?= python3
VENV ?= .venv
export VENV

PY := $(VENV)/bin/python
PREPARE = $(PYTHON) tests/tools/prepare.py
LIMIT = $(PREPARE) run
DEMO := build/demo
NB := 00_quickstart

# Without bytecode every import of torch and transformers takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE
# Ours is the environment in $(VENV), not a mixture.
unexport PYTHONPATH
unexport PYTHONHOME

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-matrix bench families gallery lint clean distclean .python .demo-env .test-env .matrix-env .js

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .demo-env ## a real model in JupyterLab (HEADLESS=1: only the HTML page)
	@mkdir -p $(DEMO)/live
	@cp notebooks/$(NB).ipynb $(DEMO)/$(NB).ipynb
	@echo "== executing notebooks/$(NB).ipynb (the first time the model's weights are converted too)"
	@$(LIMIT) 900 $(PY) -m nbconvert --to notebook --execute --inplace --log-level WARN \
	  --ExecutePreprocessor.timeout=600 --ExecutePreprocessor.extra_arguments=--log-level=ERROR \
	  $(DEMO)/$(NB).ipynb
	@$(LIMIT) 300 $(PY) -m neuroglass.cli export $(DEMO)/$(NB).ipynb -o $(DEMO)/$(NB).html
	@echo "== a page that needs no network: $(CURDIR)/$(DEMO)/$(NB).html"
	@if [ "$(HEADLESS)" = 1 ] || ! [ -t 0 ] || ! [ -t 1 ]; then exit 0; fi; \
	  cp notebooks/$(NB).ipynb $(DEMO)/live/; \
	  $(PY) -m nbconvert --clear-output --inplace --log-level WARN $(DEMO)/live/$(NB).ipynb || exit 1; \
	  root=; [ "$$(id -u)" != 0 ] || root=--allow-root; \
	  echo "== JupyterLab opens on a copy: choose Run > Run All Cells, then type (Ctrl-C here ends it)"; \
	  $(PY) -m jupyter lab $$root --ip=127.0.0.1 --ServerApp.root_dir=$(CURDIR)/$(DEMO)/live \
	    --LabApp.news_url= --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	    $(DEMO)/live/$(NB).ipynb

test: lint ## everything: linters, types, vitest, pytest, a real browser
	@echo "== vitest"
	@$(LIMIT) 600 $(PY) hatch_build.py npm --silent test
	@$(PREPARE) bundle
	@$(PREPARE) chromium
	@echo "== pytest, two files at a time, one thread each (two workers of two threads wait for each other)"
	@OMP_NUM_THREADS=1 $(LIMIT) 4200 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15

test-matrix: .matrix-env ## the slow matrix: lower bounds, a wheel without Node, older kernels, other hosts
	@$(PREPARE) bundle
	@$(PREPARE) chromium
	@$(LIMIT) 5400 $(PY) -m pytest -m matrix

bench: .test-env ## every benchmark in tests/benchmarks
	@$(PREPARE) bundle
	@for file in tests/benchmarks/bench_*.py; do \
	  [ -e "$$file" ] || { echo "no benchmarks yet"; break; }; \
	  echo "== $$file"; $(LIMIT) 3600 $(PY) -m tests.benchmarks.$$(basename "$$file" .py) || exit 1; \
	done

families: .test-env ## every model family against everything the live model does
	@$(LIMIT) 1800 $(PY) -m tests.families

gallery: .test-env ## pictures of every view in every state, and the README's among them
	@$(PREPARE) bundle
	@$(PREPARE) chromium
	@$(LIMIT) 1800 $(PY) -m tests.gallery

lint: .test-env .js ## ruff, mypy, tsc, eslint
	@echo "== ruff"
	@$(LIMIT) 300 $(PY) -m ruff format --check
	@$(LIMIT) 300 $(PY) -m ruff check
	@echo "== mypy"
	@$(LIMIT) 600 $(PY) -m mypy
	@echo "== tsc"
	@$(LIMIT) 300 $(PY) hatch_build.py npm run --silent typecheck
	@echo "== eslint"
	@$(LIMIT) 300 $(PY) hatch_build.py npm run --silent lint

clean: ## remove what was built (not the environments)
	@rm -rf build dist widgets/neuroglass/static .pytest_cache .mypy_cache .ruff_cache js/coverage
	@find widgets tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environments too
	@rm -rf $(VENV) js/node_modules

.python:
	@command -v $(PYTHON) > /dev/null || \
	  { echo "neuroglass: no $(PYTHON) here: install the system packages python3 and python3-venv" >&2; exit 1; }

.demo-env: .python
	@$(PREPARE) environment demo
	@$(PREPARE) bundle

.test-env: .python
	@$(PREPARE) environment test

.matrix-env: .python
	@$(PREPARE) environment matrix

.js: .test-env
	@$(PREPARE) node
	@$(PREPARE) packages
