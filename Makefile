# Two commands, from a bare machine with Python 3.11 and pip:
#   make demo   set everything up and make out/demo.mp4
#   make test   set everything up and run the checks and tests
# Knobs: PYTHON=python3.11  VENV=.venv  PYTEST_ARGS="-n 4"
#   PIP_ARGS="--extra-index-url URL"  (on Linux the package index serves torch's large CUDA
#   build; the URL of PyTorch's index of CPU builds avoids it)

VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS)

.PHONY: demo test check setup setup-dev clean help

help:
	@sed -n '1,7s/^# \{0,1\}//p' Makefile

demo: setup
	$(BIN)/omnitalk generate --ref examples/reference.mp4 --text examples/script.txt \
		-o out/demo.mp4 --seed 1 --overwrite

test: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -q $(PYTEST_ARGS)

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: none of python3.11, python3.12," \
		"python3 and python is one. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp keeps later runs quick: pip is asked again only when the locked versions change.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing omnitalk into $(VENV) (some minutes the first time)'
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing omnitalk and its development tools into $(VENV) (some minutes the first time)'
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache
