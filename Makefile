# make help | venv | demo | test | test-faults | test-slurm | lint | bench | clean
PYTHON ?= $(firstword $(foreach p,python3.12 python3.11 python3,$(if $(shell $(p) -c 'import sys; print(1 if (3,11) <= sys.version_info[:2] <= (3,12) else "")' 2>/dev/null),$(p))))
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
APT    := sudo apt-get install -y python3 python3-venv make

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-faults test-slurm lint bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed. On Debian or Ubuntu: $(APT)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. On Debian or Ubuntu: $(APT)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev,dali,deepspeed,ray]'
	@$(BIN)/mrigan weights get face-mesh || echo "*** Landmarks cannot be used until that file is there (see above) ***"
	@touch $(STAMP)

venv: $(STAMP)  ## make .venv and install Mrigan in it, with the pinned packages

demo: venv  ## the whole job on the embedded sample, from videos to a verdict (about 6 minutes on 2 cores)
	$(BIN)/mrigan demo

test: venv  ## the tests (under 12 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not faults and not slurm'

test-faults: venv  ## the full counts of kills and broken files
	$(BIN)/python -m pytest -n 2 --dist loadfile -m faults --timeout 1200

test-slurm: venv  ## the batch scripts on a real Slurm of this machine (root; installs it by apt-get where it is missing)
	@slurm/local-cluster install || echo "*** Slurm was not installed (see above): its tests are skipped ***"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slurm --timeout 600

lint: venv  ## ruff, mypy on mrigan/, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv  ## the benchmarks behind the figures of the README and docs/results.md; some need your data, and say so
	@for b in benchmarks/*.py; do echo "== $$b"; $(BIN)/python $$b || [ $$? = 2 ] || exit 1; done

clean:  ## remove what the other targets made, .venv included
	rm -rf $(VENV) demo build *.egg-info
