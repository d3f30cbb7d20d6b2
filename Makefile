# Two commands matter: `make demo` and `make test`. Both set up .venv the first time and install nothing after that.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/demo
READY := $(VENV)/.ready-user
READY_DEV := $(VENV)/.ready-dev
# Small tests run faster on one thread each, two at a time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: demo test test-portable check format docs clean

demo: $(READY)
	$(BIN)/mixscope demo --out $(RUN)

test: $(READY_DEV)
	$(PYTEST) -n 2 --dist loadscope tests

# The numeric part once more with sums in another order, as other processors take them: no promise may hang on one.
test-portable: $(READY_DEV)
	ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE $(PYTEST) -n 2 --dist loadscope tests/metrics tests/theory tests/training

# Format, lint, types, doctests, import rules.
check: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q --doctest-modules src tests/test_import_rules.py

# docs/metrics.md from the metrics' catalogue; docs/papers/ and README's verdicts from the records in results/.
docs: $(READY_DEV)
	$(BIN)/python docs/build_metrics.py
	$(BIN)/python docs/build_papers.py

format: $(READY_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mixscope needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(READY): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
