# Every target may run twice at the same time, and in a folder whose name has spaces.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
# One process per core; tests that measure time wait until they are alone.
PYTEST := $(PYTHON) -m pytest -n auto --dist worksteal

.PHONY: help setup demo test quick chaos lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## create or renew .venv with everything that tests need
	@scripts/setup dev

demo: ## run the product with a sandbox portal and a sandbox gateway on this machine
	@scripts/setup production
	@exec $(PYTHON) scripts/demo.py

test: ## run all checks and tests, exactly as CI does
	@scripts/setup dev
	@scripts/prerequisites
	@$(MAKE) lint
	@$(PYTEST)

quick: ## run the checks and the tests that take less than a few seconds
	@scripts/setup dev
	@$(MAKE) lint
	@$(PYTEST) -m "not slow"

chaos: ## kill, pause and wipe everything under load, then compare; CHAOS="--seed 2 --messages 10000 --kills 60"
	@scripts/setup dev
	@scripts/prerequisites
	@exec $(PYTHON) scripts/chaos.py $(CHAOS)

lint: ## check format, style and types
	@scripts/setup dev
	@$(PYTHON) -m ruff format --check --quiet
	@$(PYTHON) -m ruff check --quiet
	@$(PYTHON) -m mypy --no-error-summary

format: ## put the code into its format, mend what can be mended
	@scripts/setup dev
	@$(PYTHON) -m ruff format
	@$(PYTHON) -m ruff check --fix

clean: ## remove what the checks and tests left behind (not .venv, not instance/)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
