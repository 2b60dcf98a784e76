# Entry point: `make` lists the targets. `make env` takes PYTHON=python3.12, GPU=1, CLOUD=aws (or gcp) and VENV=folder, and
# remembers them. Each target that needs the environment makes it first; that takes no time when it is ready.

VENV ?= .venv
export VENV
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest --durations=20

.DEFAULT_GOAL := help
.PHONY: help env demo check lint types imports test test-unit test-multiprocess test-cluster test-e2e test-e2e-a-to-k \
	test-e2e-l-to-z gpu-wheel clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*##/\1/p' $(MAKEFILE_LIST) | while read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done

env:  ## make the environment in .venv: locked packages, Horovod, the project
	@cluster/setup/environment.sh

demo: env  ## draw the demo pages, train the complete recipe on them, write the report
	$(BIN)/regionstack draw
	$(BIN)/regionstack train-all --config demo

SIDE_BY_SIDE = @$(MAKE) --no-print-directory --output-sync=target

check: env  ## lint, types, import rules, unit tests; under two minutes
	$(SIDE_BY_SIDE) --jobs=2 test-unit types imports lint

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

imports: env
	$(BIN)/lint-imports --config setup.cfg --no-logo

# Three lanes side by side, each of which prints its output when it ends: tests of processes that start, die and are
# found dead wait for half of their time. A failure stops nothing, so that one run shows all of them.
test: check  ## all checks and tests: the fast ones first, then the distributed ones
	$(SIDE_BY_SIDE) --jobs=3 --keep-going test-cluster test-e2e-a-to-k test-e2e-l-to-z test-multiprocess

test-unit: env  ## unit tests, without Horovod worlds or Ray
	$(PYTEST) -n logical --maxprocesses 8 --dist loadfile tests/unit

test-multiprocess: env  ## real Horovod worlds of several processes
	$(PYTEST) tests/multiprocess

test-cluster: env  ## real Ray: groups, waves, killed workers; three hosts in network namespaces (needs root)
	$(PYTEST) tests/cluster

test-e2e: env  ## complete commands, from pages to the report
	$(PYTEST) -n 2 --dist loadfile tests/e2e

test-e2e-a-to-k: env
	$(PYTEST) $(wildcard tests/e2e/test_[a-k]*.py)

test-e2e-l-to-z: env
	$(PYTEST) $(wildcard tests/e2e/test_[l-z]*.py)

gpu-wheel: env  ## build Horovod's GPU wheel (NCCL) into the cache; CUDA_HOME names the toolkit
	$(BIN)/python -m cluster.setup.horovod_wheel --gpu

clean:  ## remove the environment and the demo's output; keep the cache of built wheels
	rm -rf $(VENV) build demo .setup.lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
