# One command each, on a machine with Python 3.11 or later (with venv and pip), make and git.
#
#   make demo     compile an example, run it on the simulated accelerator, print what it does
#   make test     everything that must hold: linters, type checker, tests
#   make bench    measure: cycles of layers and networks, cost of quantization, speed of the simulator
#   make lint     the linters and the type checker alone
#   make format   let ruff mend what it can
#   make docs     write docs/isa.md and docs/rules.md again from the definitions in the code
#   make site     the documents as a site, in build/site
#   make clean    remove what the other commands left behind, except .venv
#
# Everything is installed into .venv, and again only after setup.py changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile
# Which pip would do on one core, and with the tests of all packages; like pip, it passes over templates.
compiled = $(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests?/' $(1) || true
EXAMPLE := examples/spoken_digits
# Of what these two ask for, the tests need torch and nir alone, of the versions that stand in setup.py.
APART := sinabs==3.1.3 pbr==7.1.3 rockpool==3.1.0

.PHONY: demo test pytest browser bench lint format docs site clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	@mkdir -p demo
	$(BIN)/dmpc compile $(EXAMPLE)/model.onnx --calibration $(EXAMPLE)/train.npz -o demo/spoken_digits.elf
	$(BIN)/dmpc inspect demo/spoken_digits.elf --schedule --input $(EXAMPLE)/test.npz
	$(BIN)/dmpc run demo/spoken_digits.elf --input $(EXAMPLE)/test.npz --json demo/run.json
	@echo "demo/ holds the image and the results of every sample; README.md says what else can be done"

test: lint pytest

pytest: $(VENV)/spikingjelly-2.0 browser
	@# Neighbours share fixtures: each worker takes half the files. Processes that tests start find
	@# what they import compiled, wherever this runs.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist worksteal

# Tests open reports in the system's Chromium, which is installed where that can be done.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  echo "installing Chromium for the tests of reports" && apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium >/dev/null; } || \
	  echo "no chromium here: the tests that open a report in a browser will say so"

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.layer_cycles
	$(BIN)/python -m benchmarks.network_cycles --slots
	$(BIN)/python -m benchmarks.quantization_accuracy
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.simulator_speed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.stream_speed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.compile_scale

lint: $(VENV)/installed-test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/installed
	$(BIN)/python -m isa.reference > docs/isa.md.new
	@mv docs/isa.md.new docs/isa.md
	$(BIN)/python -m dmpc.rulebook > docs/rules.md.new
	@mv docs/rules.md.new docs/rules.md

# Pages that are generated and no files of the repository are made in a copy.
site: $(VENV)/installed-docs
	@rm -rf build/pages build/site
	@mkdir -p build
	@cp -r docs build/pages
	$(BIN)/python -m dmpc.cli.reference > build/pages/commands.md
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees build/pages build/site
	@echo "build/site/index.html"

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11 or later, or say make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.py | $(BIN)/python
	@echo "installing dmpc into $(VENV)"
	@$(PIP) --editable .
	@$(call compiled,$(VENV)/lib)
	@touch $@

# The version before stands in the environment itself; the tests run this one in processes of its own.
$(VENV)/spikingjelly-2.0: | $(VENV)/installed-test
	@echo "installing SpikingJelly 2.0 for its tests into $@"
	@rm -rf $@.new
	@$(PIP) --no-deps --target $@.new spikingjelly==2.0.0 loguru==0.7.3
	@$(call compiled,$@.new)
	@mv $@.new $@

$(VENV)/installed-docs: setup.py | $(BIN)/python
	@echo "installing dmpc and what its site needs into $(VENV)"
	@$(PIP) --editable '.[docs]'
	@$(call compiled,$(VENV)/lib)
	@touch $@

$(VENV)/installed-test: setup.py | $(BIN)/python
	@echo "installing dmpc and what its tests need into $(VENV)"
	@$(PIP) --editable '.[test]'
	@$(PIP) --no-deps $(APART)
	@$(call compiled,$(VENV)/lib)
	@touch $(VENV)/installed $@
