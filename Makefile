# Every target sets up what it needs; on a fresh machine `make demo` and `make test` are all there is to know.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_FLAGS ?= --quiet --disable-pip-version-check
EXTRA_TESTS := tests/readers/test_stores.py tests/guard/test_frameworks.py tests/experiments/test_ray_engine.py tests/recipes/test_kedro.py \
	tests/recipes/test_processes.py tests/recipes/test_quantized.py tests/accounting/test_deepspeed.py tests/guard/test_trl.py \
	tests/guard/test_deepspeed_guard.py tests/guard/test_engine_reads.py

.DEFAULT_GOAL := help
.PHONY: help demo demo-logs test test-slow test-extras check format docs bench clean test-versions

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/base.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(VENV)/train.stamp: $(VENV)/base.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[train]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/base.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[train,tensorboard,dev]'
	@touch $@

demo: $(VENV)/train.stamp ## train with a fault, name it, prove it, fix it, verify the fix: about a minute on a CPU
	$(BIN)/python -m holter demo

demo-logs: $(VENV)/base.stamp ## diagnose the sample runs; needs no torch
	$(BIN)/python scripts/demo.py

test: $(VENV)/test.stamp ## set up and run the fast tests
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not versions"

test-slow: $(VENV)/test.stamp ## the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not gpu and not versions"

check: $(VENV)/test.stamp ## lint, format check and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/test.stamp ## make the pages that come from the code
	$(BIN)/python scripts/make_samples.py
	$(BIN)/python scripts/make_docs.py

bench: $(VENV)/test.stamp ## run the benchmarks that need nothing outside the repository
	$(BIN)/python benchmarks/run_all.py

test-extras: ## the tests of optional libraries, in an environment of their own
	$(PYTHON) -m venv $(VENV)-extras
	$(VENV)-extras/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[train,dev,mlflow,wandb,kedro,lightning,ray,deepspeed,quantization,trl]'
	$(VENV)-extras/bin/python -m pytest -m "not gpu and not versions" $(EXTRA_TESTS)

test-versions: $(VENV)/test.stamp ## account for loss and gradient under other transformers versions
	$(BIN)/python scripts/version_envs.py > $(VENV)/interpreters.txt
	$(BIN)/python -m pytest -n 2 -m versions tests/accounting
	$(BIN)/python benchmarks/accounting_versions.py $$(cat $(VENV)/interpreters.txt)
	$(BIN)/python -m pytest -q tests/accounting/test_table.py

clean: ## remove everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
