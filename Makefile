# Each target sets up .venv on its first run, with the versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS := 2
INSTALLED := $(VENV)/installed

.PHONY: help demo test slow quality format picture evidence

help:
	@echo 'make demo     dptr-en reads; then the whole method in miniature (3 to 8 minutes on two cores)'
	@echo 'make test     the tests, two files at once (JOBS=8: eight); more of them run with DPTR_DATA set (see CONTRIBUTING.md)'
	@echo 'make slow     the longer checks'
	@echo 'make quality  ruff, mypy, import-linter, the documentation site'
	@echo 'make format   let ruff put the code in shape'
	@echo 'make evidence the tables of docs/evidence (hours; resumable; needs DPTR_DATA)'
	@echo 'make picture  draw the README'\''s picture anew'

$(INSTALLED): pyproject.toml weights/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ./weights --editable '.[train,export,clip,dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python scripts/demo.py

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

quality: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict # into build/site

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

evidence: $(INSTALLED)
	bash research/evidence/run.sh

picture: $(INSTALLED)
	$(BIN)/python scripts/picture.py docs/assets/reading.png
