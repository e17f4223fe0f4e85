# Every target may run twice at the same time, and in a folder whose name has spaces.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
# One process per core; tests that measure time wait until they are alone.
PYTEST := $(PYTHON) -m pytest -n auto --dist worksteal


.PHONY: help setup demo tour test quick chaos drill hostile mutants lint format texts release-check bench trace sbom audit lock site clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## create or renew .venv with everything that tests need
	@scripts/setup dev

demo: ## run the product with a sandbox portal and a sandbox gateway on this machine
	@scripts/setup production
	@exec $(PYTHON) scripts/demo.py

tour: ## take pictures of every page of the admin's app in its states; TOUR="--variants light,german" or --store
	@scripts/setup dev
	@scripts/prerequisites
	@exec $(PYTHON) scripts/tour.py $(TOUR)

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

drill: ## deploy with nginx and TLS, restart everything under load, restore a backup; DRILL="--seconds 300"
	@scripts/setup dev
	@scripts/prerequisites
	@exec $(PYTHON) scripts/drill.py $(DRILL)

hostile: ## make ten thousand hostile calls over every route; HOSTILE="--seed 2 --calls 50000"
	@scripts/setup dev
	@exec $(PYTHON) scripts/hostile.py $(HOSTILE)

mutants: ## take guards away one at a time, and see whether a test misses each; MUTANTS="--only bitrix"
	@scripts/setup dev
	@exec $(PYTHON) scripts/mutants.py $(MUTANTS)

lint: ## check format, style and types
	@scripts/setup dev
	@$(PYTHON) -m ruff format --check --quiet
	@$(PYTHON) -m ruff check --quiet
	@$(PYTHON) -m mypy --no-error-summary

format: ## put the code into its format, mend what can be mended
	@scripts/setup dev
	@$(PYTHON) -m ruff format
	@$(PYTHON) -m ruff check --fix

texts: ## count and list what the languages lack; TEXTS=update adds it to the catalogues
	@scripts/setup dev
	@$(PYTHON) scripts/texts.py $(TEXTS)

release-check: ## what must hold before a release beyond the tests: every text in every language
	@scripts/setup dev
	@$(PYTHON) scripts/texts.py check

bench: ## measure what the product costs, beside others; BENCH=push runs one, BENCH=--write puts the page in order
	@scripts/setup dev
	@scripts/prerequisites
	@exec $(PYTHON) -m bench $(BENCH)

trace: ## show one message's walk: functions, files, statements; TRACE="--list submit"
	@scripts/setup dev
	@exec $(PYTHON) -m bench.trace $(TRACE)

sbom: ## print what the product is made of (CycloneDX JSON): pinned packages and vendored scripts
	@scripts/setup dev >&2
	@exec $(PYTHON) scripts/sbom.py

audit: ## compare every pin with known advisories; AUDIT="all.zip" takes a list in the OSV format
	@scripts/setup dev
	@exec $(PYTHON) scripts/audit.py $(AUDIT)

lock: ## write the lock files anew, after a pin was changed
	@scripts/lock

site: ## build docs/ into site/: pages to read and search in a browser
	@scripts/setup dev
	@$(PYTHON) -m mkdocs build --strict --quiet
	@echo "open site/index.html"

clean: ## remove what the checks and tests left behind (not .venv, not instance/)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
