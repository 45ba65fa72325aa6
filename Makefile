# make demo: install, build an archive from embedded samples, open its three doors
# make test: install, lint, check types, run the tests
# make test-tools: let serving tools read what is exported for them
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test test-tools faults lint docs site install clean

demo: $(VENV)/.installed
	$(BIN)/llm-traces demo

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest --numprocesses=auto $(PYTEST)

# Serving tools read what is exported for them; they are installed into TOOLS once, which takes minutes and 3 GB
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/llm-trace-archive-tools
test-tools: $(VENV)/.installed-dev
	LLM_TRACES_TOOLS=$(TOOLS) $(BIN)/python -m pytest --numprocesses=auto -m tools tests/consumers $(PYTEST)

# FAULTS times as many random faults as make test; SEED=N repeats a run
FAULTS ?= 30
faults: $(VENV)/.installed-dev
	FAULTS=$(FAULTS) $(BIN)/python -m pytest --numprocesses=auto -m faults $(PYTEST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	$(BIN)/python -m typer llm_trace_archive.cli.main utils docs --name llm-traces --output docs/cli.md
	$(BIN)/python -m llm_trace_archive.export.page docs/export.md

# the documentation in site/; REPORT="azure-2023 mooncake" adds the pages of these workloads in site/report
site: docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	$(if $(REPORT),$(BIN)/llm-traces report $(REPORT) -o site/report)

install: $(VENV)/.installed

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[build,datasets,lmsys,report]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
