# People and CI use the same three words: demo, test, soak.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test soak lint types arrows clean

# The main job on real data: sets everything up, runs the blizzard week, says where the report is.
demo: $(VENV)/.examples
	$(BIN)/flowkit run examples/blizzard_week/flow.py
	@echo "the report: out/report/report.html   the disruption note: out/disruption_note/"

# Everything that must hold before a change lands.
test: lint types arrows
	$(BIN)/python -m pytest -n 2 -q

# The same random tests at the sizes that take an hour.
soak: $(VENV)/.dev
	FLOWKIT_SOAK=1 $(BIN)/python -m pytest -q

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

arrows: $(VENV)/.dev
	$(BIN)/lint-imports

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.examples: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[examples]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.examples

clean:
	rm -rf $(VENV) .flowkit out .pytest_cache .mypy_cache .ruff_cache
