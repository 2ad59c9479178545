# Every target sets up what it needs: `make demo` and `make test` work on a fresh clone.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Without bytecode every later start would be slow.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test lint format clean

install: $(INSTALLED)

# The last line compiles the estimator of foreground colours, which takes half a minute, once.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	$(BIN)/python -c "import pymatting"
	touch $@

demo: install
	$(BIN)/shm-data demo demo

test: install
	$(BIN)/pytest

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo
