# Every target does its own set-up. `make demo` and `make test` are all that a stranger needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-all lint fix bench web browser clean

help:  ## show this
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## make .venv with the pinned packages

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "peculiar needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d; say make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1,<26.2"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[sim,pretrained,samp,catalog,spectra]" --group dev
	@touch $(READY)

demo: $(READY)  ## simulate a small survey, find its oddities, say what was found (about twelve minutes)
	@rm -rf demo
	$(BIN)/peculiar simulate demo/sky --n-objects 2000
	$(BIN)/peculiar ingest demo/atlas --images demo/sky/cutouts --catalog demo/sky/objects.fits --bands HSC-I,HSC-R,HSC-G --pixel-scale 0.168
	$(BIN)/peculiar train-features demo/atlas --n-steps 150  # fewer than the presets', so that the demo is short
	$(BIN)/peculiar train-detector demo/atlas --n-steps 150
	$(BIN)/peculiar run demo/atlas
	$(BIN)/peculiar map demo/atlas --name self-supervised
	$(BIN)/peculiar bench demo/atlas --truth demo/sky/truth.csv
	@echo "Look at demo/atlas/release/main/report.html and demo/atlas/bench/main/bench.html, or open the atlas:"
	@echo "$(BIN)/peculiar explore demo/atlas"

test: $(READY)  ## the quick tests
	$(BIN)/python -m pytest -n 2

test-all: $(READY)  ## and the slow ones
	$(BIN)/python -m pytest -n 2 -m "slow or not slow"

lint: $(READY)  ## what CI checks besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

fix: $(READY)  ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## networks and stores on this machine; see benchmarks/README.md
	$(BIN)/python benchmarks/paper_preset.py
	$(BIN)/python benchmarks/throughput.py build/throughput

web/node_modules: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch web/node_modules

web: web/node_modules  ## check, test and build the explorer's page; needs node, which using the package does not
	cd web && npm run check && npm test && npm run build

browser: $(READY) web/node_modules  ## the page in chromium: every journey of a user; needs node and chromium
	cd web && PYTHON=$(abspath $(BIN)/python) npx vitest run --config vitest.browser.config.ts

clean:  ## remove what make made
	rm -rf $(VENV) demo
