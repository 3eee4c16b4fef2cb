# Targets for users and developers of mggr-tf. `make` without a target lists all targets.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DISK := 3 GB
# If a test process crashes, the run ends and names the test. The process is not replaced, because a
# replacement can cause the mode `loadfile` to hang.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help demo test test-extended test-all test-slow test-edge test-newest test-arm64 check bench docs format weights clean

help: ## List the targets.
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(STAMP) ## Install if needed. Then train, export, redirect a clip and write a report, in a few minutes.
	$(BIN)/mggr-tf quickstart

test: $(STAMP) ## Run the default tests (about three minutes on two cores).
	$(PYTEST) -m "not slow and not extended"

# Many of these tests wait for other processes. Therefore three processes run them on two cores.
test-extended: $(STAMP) ## Run the tests of short trainings, exports, browsers and streams (about fifteen minutes).
	$(PYTEST) -n 3 -m "extended and not slow"

test-all: test test-extended ## Run the targets `test` and `test-extended`.

test-slow: $(STAMP) ## Run the longest tests: killed processes, all combinations of options, benchmarks (about half an hour).
	$(PYTEST) -m slow

test-edge: ## Run the device tests without TensorFlow, with each interpreter. Test the wheel outside the checkout.
	.ci/test-edge

test-newest: ## Run the default tests with Python 3.13 or 3.12 and TensorFlow 2.21, in .venv-newest.
	.ci/test-newest

test-arm64: $(STAMP) ## Run the device tests and the parity check with aarch64 wheels on an emulated processor (slow, needs Debian).
	.ci/test-arm64

check: $(STAMP) ## Check formatting, lint, types and import layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP) ## Measure the speed of the redirector and of its layers, compared with PRGAN's generator.
	$(BIN)/python -m mggr_export.tools.speed

weights: $(STAMP) ## Train the packaged weights from scratch (about three hours). A second start resumes the training.
	$(BIN)/python -m mggr_export.tools.weights

docs: $(STAMP) ## Build the documentation site in build/site, and check its links.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/mkdocs build

format: $(STAMP) ## Format the code, and fix lint errors that ruff can fix.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and the build outputs.
	rm -rf $(VENV) .venv-newest build dist

$(STAMP): pyproject.toml
	@.ci/make-venv $(VENV) "$(DISK)"
	@touch $@
