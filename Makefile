# make         set up .venv and answer the main example: report.html, result.json
# make test    the tests, in parallel
# make check   ruff, mypy --strict, import-linter
# make bench   timed tests, and the table of what the network is meant to cost
# make calibrate  fit the constants that kernels cannot decide on published steps, and write them into the presets
# make record  run the examples and write down what they answer (after an intended change)
# make clean   remove .venv and everything generated

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE := examples/v4_pro_on_atlas_950.yaml
PACKAGES := simulator topologies workloads
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: run setup test check bench calibrate record clean

run: $(VENV)/installed
	$(BIN)/supernode run $(EXAMPLE) --report report.html --json result.json

setup: $(VENV)/installed-for-tests

# The stamps are written last, so that a set-up that was interrupted is done again.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml $(VENV)/created
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(PIP) --editable '.[test,dev,frames]'
	@touch $@

test: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -q -n auto

check: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -q -n 0 tests/bench --benchmark-enable --benchmark-only
	$(BIN)/python tests/bench/goals.py

calibrate: $(VENV)/installed
	$(BIN)/python -m simulator.questions.calibrate

record: $(VENV)/installed
	$(BIN)/python tests/examples/record.py

clean:
	rm -rf $(VENV) build dist report.html result.json .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
