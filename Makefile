# Two environments. `.venv` holds the core alone, so that the demo proves what a plain `pip install` gives: no torch,
# no test tools. `.venv-dev` adds the extras. Each is rebuilt when pyproject.toml or constraints.txt changes.
# --no-compile halves the install of the core (29 s to 15 s): Python compiles what is imported, when it is imported.
# It must be allowed to keep that, or every start pays 2 s again; many containers forbid it by this variable.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
# Test processes; the suite is CPU-bound, so one a core.
WORKERS ?= 2

PIP_INSTALL := -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
PACKAGES := workloads hwmodels dse
DEV := .venv-dev/bin

# No plot opens a window.
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check format-check lint types doctest notebooks format bench fuzz clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# --clear: what a dependency left behind must not hide that it is gone.
.venv/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP_INSTALL) --editable .
	touch $@

# No --clear here: most edits of pyproject.toml are settings, and a second install of torch costs a minute.
.venv-dev/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(DEV)/python $(PIP_INSTALL) --editable '.[torch,test]'
	touch $@

demo: .venv/.stamp ## Optimize the embedded model end to end, from a core-only environment
	.venv/bin/dse optimize vit-mnist --task mnist --batch 64 \
		--device local --device h100-sxm --device t4 --max-drop 0.01 --out reports/demo

test: .venv-dev/.stamp ## Run the tests: no GPU, no network, warnings are errors
	$(DEV)/python -m pytest -n $(WORKERS)

check: format-check lint types doctest notebooks demo ## Everything else that must hold: format, lint, types, doctests, notebooks, demo

format-check: .venv-dev/.stamp
	$(DEV)/ruff format --check .

lint: .venv-dev/.stamp
	$(DEV)/ruff check .

types: .venv-dev/.stamp
	$(DEV)/mypy

doctest: .venv-dev/.stamp
	$(DEV)/python -m pytest --doctest-modules $(PACKAGES)

notebooks: .venv-dev/.stamp ## Run the notebooks of reports/ and compare what they print with the committed ones
	$(DEV)/python -m pytest -m notebook tests/test_notebooks.py

format: .venv-dev/.stamp ## Format the code and sort the imports
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

bench: .venv-dev/.stamp ## Time our own code, one process
	$(DEV)/python -m pytest tests/bench -m bench --benchmark-enable

fuzz: .venv-dev/.stamp ## Load ten thousand mutated ONNX files (FUZZ_SEED, FUZZ_FILES)
	$(DEV)/python -m pytest tests/fuzz -m fuzz -s

clean: ## Remove environments, caches and what the demo wrote
	rm -rf .venv .venv-dev build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks reports/demo
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
