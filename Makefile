# make demo    environment, validator, the mini tasks through heareval, a table of scores
# make test    environment, then the whole test suite
# make lint    ruff and mypy
# make bench   speed and memory against peers; table and JSON under build/bench
# make clean   remove the environment and what was built
# make lock    pin anew what is installed (maintainers)

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH  := torch==2.13.0
PIP    := $(BIN)/python -m pip --disable-pip-version-check
READY  := $(VENV)/.ready

.PHONY: demo test lint bench clean lock env
demo: $(READY)
	$(BIN)/python -m eval_tasks demo --out build/demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks --out build/bench

env: $(READY)

# torch first and with its dependencies: which ones those are depends on the build that the index offers.
# The rest is pinned whole, so that heareval's and hearvalidator's own pins of 2021 do not matter.
$(READY): requirements.lock setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else "Python 3.11 is needed, $(PYTHON) is %d.%d: make PYTHON=/path/to/python3.11" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c requirements.lock '$(TORCH)'
	$(PIP) install -q --no-deps --ignore-requires-python -r requirements.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@# torchaudio's extensions are built for CUDA torch; beside a CPU-only torch it imports without them.
	@$(BIN)/python -c 'import torchaudio' 2>/dev/null || rm -rf "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torchaudio/lib"
	@$(BIN)/python -c 'import torchaudio' || { echo 'torchaudio does not import beside this torch: see the error above'; exit 1; }
	@# heareval's checkpoints hold classes, which torch >= 2.6 loads only if told so, and its predictors ask
	@# for deterministic algorithms, which CUDA grants only with this workspace setting.
	@$(BIN)/python -c 'import sysconfig, pathlib; pathlib.Path(sysconfig.get_path("purelib"), "heareval_environment.pth").write_text("import os; os.environ.setdefault(\"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD\", \"1\"); os.environ.setdefault(\"CUBLAS_WORKSPACE_CONFIG\", \":4096:8\")\n")'
	@touch $@

lock:
	@echo "# Everything that \`make\` installs beside torch, pinned for Python 3.11 (\`make lock\`); reasons in requirements.in" > requirements.lock.part
	$(PIP) freeze --all --exclude-editable --exclude torch --exclude pip --exclude hear_msss >> requirements.lock.part
	mv requirements.lock.part requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
