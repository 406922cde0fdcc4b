# make demo       environment, validator, the mini tasks through heareval, a table of scores
# make test       environment with what tests need, then the whole test suite
# make env        the environment of demo alone
# make lint       ruff and mypy
# make check      lint, then test: what continuous integration runs
# make docs       the documentation site under build/site; a warning is an error
# make bench      speed and memory against peers; table and JSON under build/bench
# make pythons    demo on every Python found here, and a table
# make platforms  does every pin have a wheel for every system and Python
# make clean      remove the environment and what was built
# make lock       pin anew what is installed (maintainers)

# The newest Python found for which all pins have wheels (`make platforms`); PYTHON=... takes any other.
VERSION := -c 'import sys; print(sys.version_info[:2])'
ifndef PYTHON
PYTHON := $(shell for version in 3.14 3.13 3.12 3.11; do \
	if python$$version -c '' 2>/dev/null; then command -v python$$version; break; fi; done)
endif
VENV   ?= .venv
OUT    ?= build/demo
BIN    := $(VENV)/bin
ifeq ($(origin PYTHON)$(filter clean pythons,$(MAKECMDGOALS)),command line)
ifneq ($(wildcard $(BIN)/python),)
ifneq ($(shell $(PYTHON) $(VERSION)),$(shell $(BIN)/python $(VERSION)))
$(error $(VENV) was made with another Python than $(PYTHON): `make clean` first, or give another VENV=...)
endif
endif
endif
TORCH  := torch==2.13.0
PIP    := $(BIN)/python -m pip --disable-pip-version-check
DEMO   := $(VENV)/.ready
TEST   := $(VENV)/.ready-for-tests

some_python = @test -n '$(PYTHON)' || { echo 'no Python 3.11 to 3.14 found: make PYTHON=/path/to/python3'; exit 1; }

# torch first: which packages it brings depends on the build that the index offers. Then exact versions of
# all else, and the harness on top of them.
define install
	$(some_python)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q --no-compile -c requirements.lock '$(TORCH)'
	$(PIP) install -q --no-compile --no-deps $(addprefix -r ,$(1))
	$(PIP) install -q --no-compile --no-deps --no-build-isolation -e .
	$(BIN)/python -m eval_tasks install --quiet --tool pip --constraint requirements.lock
endef

.PHONY: demo test env lint bench pythons platforms clean lock check docs
demo: $(DEMO)
	$(BIN)/python -m eval_tasks demo --out $(OUT)

test: $(TEST)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

env: $(DEMO)

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check:
	$(MAKE) lint
	$(MAKE) test

docs: $(TEST)
	$(PIP) install -q $(addprefix -c ,$(wildcard requirements*.lock)) 'mkdocs-material>=9.5' 'mkdocstrings[python]>=0.26'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(TEST)
	$(BIN)/python -m benchmarks --out build/bench

pythons:
	$(some_python)
	$(PYTHON) .ci/pythons.py

platforms: $(TEST)
	$(PIP) install -q uv
	$(BIN)/python .ci/platforms.py

$(DEMO): requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

$(TEST): requirements.lock requirements-dev.lock pyproject.toml
	$(call install,requirements.lock requirements-dev.lock)
	@touch $(DEMO) $@

# Of two environments: requirements-dev.lock holds what demo's does not.
lock: $(TEST)
	$(BIN)/python .ci/lock.py

clean:
	rm -rf $(VENV) build dist *.egg-info
