# mggr-tf: `make demo` shows what it does, `make test` that it works, `make check` that it is clean.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DISK := 3 GB
# A lost worker ends the run and names its test. A replaced one can hang the run in `loadfile` mode.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help demo test test-extended test-all test-slow test-edge test-arm64 check bench format weights clean

help: ## Show these targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(STAMP) ## Install if needed, then the whole way in a few minutes: train, export, redirect, report.
	$(BIN)/mggr-tf quickstart

test: $(STAMP) ## The default tests (about three minutes on two cores).
	$(PYTEST) -m "not slow and not extended"

test-extended: $(STAMP) ## Short trainings, exports, browsers, streams: about ten minutes more.
	$(PYTEST) -m "extended and not slow"

test-all: test test-extended ## Both.

test-slow: $(STAMP) ## What takes longest: kills, whole products of options, benchmarks (about half an hour).
	$(PYTEST) -m slow

test-edge: ## The device tests where TensorFlow is not installed, with each interpreter, and a wheel outside the checkout.
	.ci/test-edge

test-arm64: $(STAMP) ## The device tests and a bundle's parity on aarch64 wheels, emulated (slow; Debian).
	.ci/test-arm64

check: $(STAMP) ## Formatting, lint, types and the import rule.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP) ## How fast the redirector is: beside PRGAN's generator, beside this core, by layer.
	$(BIN)/python -m mggr_export.tools.speed

weights: $(STAMP) ## Train the package's default weights from nothing, resumably (about three hours).
	$(BIN)/python -m mggr_export.tools.weights

format: $(STAMP) ## Format, and correct what ruff can correct.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and what builds leave.
	rm -rf $(VENV) build dist

$(STAMP): pyproject.toml
	@.ci/make-venv $(VENV) "$(DISK)"
	@touch $@
