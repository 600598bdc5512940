# make demo            an unmodified application, observed: against a provider on this machine
# make demo LIVE=1     the same against the real ones, with OPENAI_API_KEY or ANTHROPIC_API_KEY set
# make test            what runs in three minutes, in two processes; make test FULL=1 runs everything, in one
# make lint types      ruff and the import contracts; mypy
# make bench           what we cost, beside others; make bench QUICK=1 for a first look
# make clean           removes what tools leave behind, but not the virtual environment

VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

ifdef UV
MAKE_VENV := uv venv --python '>=3.11' $(VENV)
INSTALL := uv pip install --python $(BIN)/python
HAVE_PIP := :
else
MAKE_VENV := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
# A virtual environment that uv made has no pip.
HAVE_PIP := $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
endif

.PHONY: demo test lint types bench clean

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo/run.py $(if $(LIVE),--live)

test: $(VENV)/.dev
	$(BIN)/pytest $(if $(FULL),,-n 2 --dist loadfile -m "not slow and not server")

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/startup.py $(if $(QUICK),--quick)
	$(BIN)/python benchmarks/sinks.py $(if $(QUICK),--quick)
	$(BIN)/python benchmarks/overhead.py $(if $(QUICK),--quick)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo 'Installing otel-llm and two provider SDKs into $(VENV), once ...'
	@$(HAVE_PIP)
	$(INSTALL) -e '.[all]' 'anthropic>=2' 'openai>=3'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo 'Installing otel-llm and its tools into $(VENV), once ...'
	@$(HAVE_PIP)
	$(if $(UV),,$(INSTALL) --upgrade 'pip>=25.1')
	$(INSTALL) -e '.[all]' --group dev
	@touch $@

$(BIN)/python:
	@test -n '$(UV)$(PYTHON)' || { echo 'otel-llm needs Python 3.11 or newer, or uv.' >&2; exit 1; }
	@echo 'Making $(VENV) ...'
	@$(MAKE_VENV) || { rm -rf $(VENV); echo 'On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
