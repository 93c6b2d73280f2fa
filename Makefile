# Each target sets up .venv on its first run, with the versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS := 2
INSTALLED := $(VENV)/installed

OLDEST := build/oldest
NEWEST := build/newest
SMOKE := $(addprefix tests/, test_packaging.py weights inference models text evaluation utils data export/test_export.py cli synth photo serve label batch)

MINUTES := 10

.PHONY: help demo test slow fuzz oldest quality format picture evidence constraints lock digests release

help:
	@echo 'make demo     dptr-en reads; then the whole method in miniature (3 to 8 minutes on two cores)'
	@echo 'make test     the tests, two files at once (JOBS=8: eight); more of them run with DPTR_DATA set (see CONTRIBUTING.md)'
	@echo 'make slow     the longer checks'
	@echo 'make fuzz     damaged and hostile inputs of all kinds, for MINUTES=10; what is found is in build/fuzz'
	@echo 'make oldest   part of the tests, with the lowest versions of the dependencies (constraints-oldest.txt)'
	@echo 'make quality  ruff, mypy, import-linter, known vulnerabilities, the documentation site'
	@echo 'make format   let ruff put the code in shape'
	@echo 'make constraints  renew constraints.txt: the newest versions that go together'
	@echo 'make lock     renew requirements.txt; make digests: digests.sha256'
	@echo 'make release  build and check what is released, into dist'
	@echo 'make evidence the tables of docs/evidence (hours; resumable; needs DPTR_DATA)'
	@echo 'make picture  draw the README'\''s picture anew'

$(INSTALLED): pyproject.toml weights/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ./weights --editable '.[train,export,clip,serve,ray,dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python scripts/demo.py

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

$(VENV)/fuzzer: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	touch $@

fuzz: $(VENV)/fuzzer
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz.run --minutes $(MINUTES)

$(OLDEST)/installed: pyproject.toml weights/pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --only-binary :all: --constraint constraints-oldest.txt --editable ./weights \
		--editable '.[train,export,import,serve,ray,test]'
	touch $@

oldest: $(OLDEST)/installed # without the tests that compare rendered pixels and count today's base install
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n $(JOBS) --dist loadfile --ignore tests/synth/test_presets.py \
		--deselect tests/test_packaging.py::test_the_base_install_is_eleven_packages $(SMOKE)

constraints: # torch stays as it is: which of its builds there are depends on the index
	$(PYTHON) -m venv --clear $(NEWEST)
	grep '^torch==' constraints.txt >$(NEWEST)/torch.txt
	$(NEWEST)/bin/pip install --quiet --constraint $(NEWEST)/torch.txt --editable ./weights \
		--editable '.[train,export,clip,import,serve,ray,dev,fuzz,release]'
	grep '^#' constraints.txt >$(NEWEST)/constraints.txt
	$(NEWEST)/bin/pip freeze --exclude-editable >$(NEWEST)/frozen.txt
	sed 's/+.*//' $(NEWEST)/frozen.txt | LC_ALL=C sort -f >>$(NEWEST)/constraints.txt
	cp $(NEWEST)/constraints.txt constraints.txt

lock: # requirements.txt: what 'pip install dptr' brings, with hashes; needs pip-tools
	$(BIN)/python scripts/lock.py

digests: # of weights and fonts, for 'sha256sum --check digests.sha256'
	git ls-files 'dptr/*.onnx' 'dptr/*.npz' 'dptr/*.ttf' 'weights/*.safetensors' 'recognizers/*.onnx' 'recognizers/*.npz' | LC_ALL=C sort | xargs sha256sum >digests.sha256

release:
	$(PYTHON) scripts/release.py

quality: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/audit.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict # into build/site

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

evidence: $(INSTALLED)
	bash research/evidence/run.sh

picture: $(INSTALLED)
	$(BIN)/python scripts/picture.py docs/assets/reading.png
