# Every target explains itself: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
TIER ?= node
export PYTHONPATH := $(CURDIR)/src:$(CURDIR)
PACKAGES := src/selfheal components pipelines serving controller bench
# The index of a CPU-only torch, where there is one: make install TORCH_BACKEND=cpu
TORCH_BACKEND ?=

.PHONY: help
help:  ## list every target with what it does
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# ---- the environment -------------------------------------------------------------------------------------------------
$(VENV)/.synced: requirements/dev.txt
	@command -v uv >/dev/null || { echo "make: uv is missing, installing it with pip"; $(PYTHON) -m pip install --quiet uv; }
	@echo "make: syncing $(VENV) from requirements/dev.txt (first time: 2-4 minutes, cached by uv afterwards)"
	@test -x $(PY) || uv venv --quiet --python 3.11 $(VENV)
	@uv pip sync --quiet --python $(PY) $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND)) requirements/dev.txt
	@touch $@

.PHONY: install
install: $(VENV)/.synced  ## make the Python environment (.venv) from the hashed requirements

.PHONY: lock
lock: ## compile requirements/*.txt anew from pyproject.toml (hashed, without index URLs)
	@bash requirements/lock.sh

# ---- checks ----------------------------------------------------------------------------------------------------------
.PHONY: lint
lint: install  ## ruff, mypy --strict and the layers (import-linter)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

.PHONY: format
format: install  ## format the code and apply safe fixes
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: test
test: test-unit test-api test-node  ## every tier: unit, integration (API server) and real cluster; make test-slow has more

.PHONY: test-unit
test-unit: install  ## tests of pure code, no server
	$(PY) -m pytest tests/unit tests/manifests tests/fields

.PHONY: test-api
test-api: install  ## integration tests: real API server, Prometheus, MLflow and KServe server, no root
	$(PY) -m bench build --tier api
	$(PY) -m bench.argocd build
	$(PY) -m pytest -m "not slow" tests/integration

.PHONY: test-node
test-node: install  ## real-cluster tests: kubelet, containers, metrics (needs root)
	$(PY) -m bench build --tier node
	$(PY) -m pytest -m "not slow" tests/e2e

.PHONY: test-slow
test-slow: install  ## what make test leaves out: KServe, the app-of-apps, Ansible, checkov, the rest of Argo CD and PostgreSQL (45 minutes)
	$(PY) -m bench build --tier api
	$(PY) -m bench build --tier node
	$(PY) -m bench.argocd build
	$(PY) -m bench.kserve build
	$(PY) -m pytest -m slow tests

# ---- the product -----------------------------------------------------------------------------------------------------
.PHONY: demo
demo: install  ## the main job: cluster, shop, training, endpoint, controller, three faults healed
	$(PY) -m bench.demo

.PHONY: bench-mttr
bench-mttr: install  ## the three faults RUNS times each (5): median and p95 of detected, recovered, verified
	$(PY) -m bench.demo --runs $(or $(RUNS),5)

-include bench/bench.mk

.PHONY: clean
clean:  ## remove what can be made again (not the build cache in the home folder)
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis local_outputs
