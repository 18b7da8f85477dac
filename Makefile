# Every target builds .venv first when it is missing or out of date; nothing is done twice.
PYTHON ?= python3
ARGS ?=
# A worker per core, and one thread each: threads that wait for one another are slower.
WORKERS ?= auto
# Each worker begins with a part of the files of its own, so that few share the fixtures of a file.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-sets test-oldest fuzz test-deepinv test-diffusers test-peers test-ray lint format docs bench bench-check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\n  PYTHON=...  the interpreter .venv is made from (3.11 or later; now: $(PYTHON))\n'
	@printf '  ARGS=...    passed on to pytest, the demo or the benchmarks: make test ARGS="-k lanes -x"\n'
	@printf '  WORKERS=... processes that run the tests (now: $(WORKERS)); 0 for none but the first\n'

install: $(STAMP) ## Make .venv with the project, editable, and all its tools

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"reddiff needs Python 3.11 or later; {sys.executable} is {v[0]}.{v[1]} (set PYTHON=...)")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing reddiff and its tools into $(VENV) (torch is large; this takes a minute or more) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(STAMP) ## Restore a photo and save before, after and truth under demo/
	$(BIN)/reddiff demo --output demo --force $(ARGS)

test: $(STAMP) ## Run the tests, except those marked slow
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(STAMP) ## Run the tests marked slow
	@$(PYTEST) -m slow $(ARGS) || { code=$$?; test $$code -eq 5 || exit $$code; }

fuzz: $(STAMP) ## Run all cases of the fuzzers in tests/fuzz
	REDDIFF_FUZZ=1 $(PYTEST) tests/fuzz $(ARGS)

test-sets: $(STAMP) ## Run the exact laws with the other instruction sets of this processor
	@OMP_NUM_THREADS=1 $(BIN)/python tests/instruction_sets.py -n $(WORKERS) $(ARGS)

test-oldest: $(STAMP) ## Use the command line with the oldest versions allowed, in .venv/oldest
	@$(BIN)/python tests/oldest/run.py

test-deepinv: $(STAMP) ## Run the tests against the real deepinv, in .venv/deepinv
	@$(BIN)/python tests/deepinv/run.py $(ARGS)

test-diffusers: $(STAMP) ## Run the tests against the real diffusers, in .venv/diffusers
	@$(BIN)/python tests/diffusers/run.py $(ARGS)

test-peers: $(STAMP) ## Run the solvers of deepinv and azula beside ours, in .venv/peers
	@$(BIN)/python tests/peers/run.py $(ARGS)

test-ray: $(STAMP) ## Run `reddiff run` on the real Ray, in .venv/ray
	@$(BIN)/python tests/ray/run.py $(ARGS)

lint: $(STAMP) ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Apply the format and the safe fixes
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: $(STAMP) ## Build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet

BENCHES = $(filter-out benchmarks/kills.py,$(shell grep -l __main__ benchmarks/*.py))

bench: $(STAMP) ## Run every benchmark, one after the other
	@set -e; for script in $(BENCHES); do echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

bench-check: $(STAMP) ## Run every benchmark at small sizes; fails where an expectation does
	@printf '%s\n' $(BENCHES) | OMP_NUM_THREADS=1 xargs -P 2 -I {} $(SHELL) -c \
		'out=$$($(BIN)/python {} --quick --threads 1 2>&1); code=$$?; \
		test $$code -eq 0 && echo "{}: ok" || { printf "== %s\n%s\n" {} "$$out"; exit $$code; }'
	@place=$$(mktemp -d) && OMP_NUM_THREADS=1 $(BIN)/reddiff bench quick --limit 1 -o $$place/quick.sqlite; \
		code=$$?; rm -rf "$$place"; exit $$code

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist site demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
