# make demo   set up, then simulate, reconstruct and evaluate a small data set
# make test   set up, then everything that CI runs
# make docs   set up, then these documents as a site: build/site/index.html
#
# The first run makes .venv and installs into it; later runs install again only when
# pyproject.toml or constraints.txt changed.

.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: venv install test lint demo docs clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PYTHON = $(shell for p in python3.11 python3; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
  command -v $$p && break; done)
RUNTIME := $(VENV)/.installed
TESTING := $(VENV)/.installed-test

# A process for each core, each of one thread: two on one core slow each other down.
test: $(TESTING) lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(TESTING)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

demo: $(RUNTIME)
	$(BIN)/multicryogan demo

docs: $(TESTING)
	$(BIN)/sphinx-build -q -W --keep-going docs build/site
	@echo build/site/index.html

venv: $(BIN)/pip

install: $(RUNTIME)

# pip is the last thing that venv writes: without it the folder is half made.
$(BIN)/pip:
	@test -n "$(PYTHON)" || \
	  { echo "Python 3.11 or later is needed: install it, with its venv module"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

# torch first and pinned: what pip would pick by itself may be gigabytes larger.
$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e .
	@touch $@

$(TESTING): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e '.[test]'
	@touch $(RUNTIME) $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
