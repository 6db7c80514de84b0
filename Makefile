# closebell on a laptop. `make demo` needs Python 3.11 to 3.13, git, make and the package registries; nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash

BIN := .venv/bin
STAMP := .venv/installed
LOCKS := requirements/uv.txt requirements/dev.txt requirements/market_data.txt
SOURCES := layers functions infra tests
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
export UV_HTTP_TIMEOUT ?= 180

# What the commands import. Wheels come without bytecode: it is made once, also where Python is told to write none (as many containers
# do), or every command would compile for seconds before it began.
IMPORTED := closebell.cli, pandas, matplotlib.figure, matplotlib.backends.backend_agg, arch.bootstrap, ffn, optuna

# The first interpreter that closebell supports and that can make a virtual environment.
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,$(shell \
	$(python) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(python))))

-include infra/build.mk

.PHONY: help setup demo test check build profile simulate mutants mutmut bench conformance browser lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## (.*)/\1|\2/' | \
		while IFS='|' read -r target what; do printf '  make %-13s %s\n' "$$target" "$$what"; done

setup: $(STAMP)  ## make .venv from the locks (nothing to do when they have not changed)

$(STAMP): $(LOCKS) pyproject.toml
	@[[ -n "$(PYTHON)" ]] || { echo "closebell needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt-get install python3-venv);" \
		"found: $$(python3 --version 2>&1 || true). Name one with 'make setup PYTHON=python3.11'."; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/market_data.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import $(IMPORTED)'
	@touch $@

demo: setup  ## trade on the local stack: MARKET=real|synthetic, SESSIONS=10, RESET=1 begins again
	@$(BIN)/python -m infra.local.demo $(if $(MARKET),--market $(MARKET)) $(if $(SESSIONS),--sessions $(SESSIONS)) \
		$(if $(filter-out 0 no false,$(RESET)),--reset)

test: setup browser  ## the whole test suite, on up to four cores
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup template-lint  ## ruff, mypy, import contracts, style, template
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/style

simulate: setup  ## rehearse 50 000 plan-days with every fault: SEEDS=0:5000, SESSIONS=10, FAULTS=all, WORKERS=2
	@$(BIN)/closebell simulate --seeds $(or $(SEEDS),0:5000) --sessions $(or $(SESSIONS),10) --faults $(or $(FAULTS),all) --workers $(or $(WORKERS),2)

mutants: setup  ## plant each bug of tests/mutants into a copy of the core: the rehearsal has to catch it
	@$(BIN)/python -m infra.mutants $(BUGS)

mutmut: setup  ## mutation testing of risk checks, execution and books: each file's score and the survivors
	@$(BIN)/python -m infra.mutation_score $(PARTS)

bench: setup  ## what a backtest costs beside vectorbt, bt and backtesting.py; writes docs/speed.md: ROUNDS=3, QUICK=1
	@$(BIN)/python -m infra.bench --rounds $(or $(ROUNDS),3) $(if $(filter-out 0 no false,$(QUICK)),--quick)

conformance: setup  ## the exchange contract suite against Alpaca's paper API, keys from the environment
	$(BIN)/python -m infra.local.conformance

browser:  ## install Chromium for the browser tests, if there is none
	@[[ -n "$$CHROMIUM" ]] || command -v chromium chromium-browser google-chrome >/dev/null && exit 0; \
	asroot=; [[ $$(id -u) == 0 ]] || asroot='sudo -n'; \
	if command -v apt-get >/dev/null && $$asroot true 2>/dev/null; then \
		$$asroot apt-get update -qq; \
		$$asroot env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else \
		echo "The browser tests need Chromium and this user may not install it. Debian and Ubuntu: sudo apt-get install chromium."; exit 1; \
	fi

lock: setup  ## choose the newest versions that pyproject.toml allows and write every lock (no index URL, no host)
	$(COMPILE) --group bootstrap --output-file requirements/uv.txt
	$(COMPILE) --group market-data --no-deps --output-file requirements/market_data.txt
	$(COMPILE) pyproject.toml --group local --group research --group dev --output-file requirements/dev.txt
	$(COMPILE) requirements/bench.in --output-file requirements/bench.txt
	$(MAKE) --no-print-directory sam-lock

clean:  ## remove what make makes; the demo's state stays (make demo RESET=1 begins again)
	rm -rf .venv .venv-sam .aws-sam build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
