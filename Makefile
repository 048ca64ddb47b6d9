# The whole set-up: `make demo` shows the product, `make test` is what a change has to pass. `make help` lists the rest.
# Needs make and Python 3.11 or newer; README.md has the same in plain pip lines.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WHEEL := build/wheel
OLDEST := build/oldest
AUDIT := build/audit
SOURCE := build/source
FUZZ_SECONDS ?= 600
REQUIREMENTS := pyproject.toml constraints.txt

.PHONY: help demo test check pytest wheel-test faults fuzz soak oldest audit dist clean

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed  ## Train a Fader Network on drawn portraits and evaluate it, in runs/demo (about 7 minutes)
	$(BIN)/fader demo

test: check pytest wheel-test  ## Everything a change has to pass

check: $(VENV)/.installed-test  ## Lint, format, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

pytest: $(VENV)/.installed-test  ## The tests, one process a core
	$(BIN)/pytest -n auto

wheel-test: $(WHEEL)/.tested  ## Build the wheel, install it into an empty environment and run it there

fuzz: $(VENV)/.installed-test  ## Damaged files and requests into everything that reads them (FUZZ_SECONDS a target, 600)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

soak: $(VENV)/.installed-test  ## The studio with 20 visitors who slide for 10 minutes
	$(BIN)/python -m tests.soak

oldest: $(VENV)/.installed-test  ## The tests with the oldest versions that pyproject.toml allows (PyPI's torch: 3 GB)
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(BIN)/python scripts/oldest.py > $(OLDEST)/constraints.txt
	@# httpx is what the test client of the oldest starlette takes in place of httpx2.
	$(OLDEST)/bin/pip install --constraint $(OLDEST)/constraints.txt --editable '.[test]' httpx
	$(OLDEST)/bin/pytest -n auto -m 'not demo'

audit: $(REQUIREMENTS)  ## Compare the tested versions with the known vulnerabilities (asks PyPI)
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet pip-audit
	$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

dist: $(VENV)/.installed-test  ## Build wheel and sdist of the last commit into dist/, the same bytes wherever it is done
	rm -rf $(SOURCE) dist
	mkdir -p $(SOURCE)
	git archive HEAD | tar -x -C $(SOURCE)
	cd $(SOURCE) && SOURCE_DATE_EPOCH=$$(git -C $(CURDIR) log -1 --format=%ct) $(CURDIR)/$(BIN)/hatchling build -d $(CURDIR)/dist
	sha256sum dist/*

faults: $(VENV)/.installed-test  ## Kill every long command again and again; the result is runs/faults.json (some minutes)
	$(BIN)/python -m tests.faults

clean:  ## Delete the environment and everything built (not runs/)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# The stamps make a second call quick, and a change of the requirements installs again.
$(VENV)/.installed: $(REQUIREMENTS) | $(BIN)/pip
	$(BIN)/pip install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: $(REQUIREMENTS) | $(BIN)/pip
	$(BIN)/pip install --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fader needs Python 3.11 or newer, and '$(PYTHON)' is not; name one: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(WHEEL)/.tested: $(REQUIREMENTS) README.md LICENSE $(shell find src -type f -not -name '*.pyc') | $(VENV)/.installed-test
	rm -rf $(WHEEL)
	$(BIN)/pip wheel --no-deps --wheel-dir $(WHEEL) .
	$(PYTHON) -m venv $(WHEEL)/env
	$(WHEEL)/env/bin/pip install --no-compile --constraint constraints.txt $(WHEEL)/*.whl
	cd $(WHEEL) && env/bin/fader --help > /dev/null
	cd $(WHEEL) && env/bin/fader --version
	cd $(WHEEL) && env/bin/fader info portraits
	cd $(WHEEL) && env/bin/fader prepare portraits --count 24 --output portraits
	rm -rf $(WHEEL)/env
	@touch $@
