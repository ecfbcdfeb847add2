# Everything a newcomer needs: make demo, make test. Needs Python 3.11 or newer with pip, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# tflite-runtime wants a numpy that TensorFlow has left behind
TFLITE_VENV := .venv-tflite
TFLITE_PINS := tests/runtime/tflite-runtime.txt
# PyTorch exports the models that its tests read; nothing of edgex needs it. 1 GB where pip finds a build for CPUs; on
# Linux it may find the one with CUDA, of several GB. Without this folder those tests are skipped, and say so.
TORCH_VENV := .venv-torch
TORCH_PINS := tests/graph/torch.txt
PIP_AUDIT := pip-audit==2.10.1
# what to fuzz: see python -m fuzz --help
FUZZ ?=

.PHONY: help demo test check fuzz audit benchmarks clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        quantize, evaluate and time the model that ships with edgex (light install, seconds)"
	@echo "make test        lint, type-check and test everything (installs TensorFlow and PyTorch for the comparisons, minutes)"
	@echo "make check       lint and type-check only"
	@echo "make fuzz        100,000 damaged and hostile files, over all readers (FUZZ='--inputs 1000000 keras' for others)"
	@echo "make audit       known vulnerabilities of the pinned packages (asks a service on the network)"
	@echo "make benchmarks  the figures of the README, measured here"

demo: $(VENV)/.light
	@echo "== edgex demo"
	$(BIN)/edgex demo --output out/demo

test: check $(TFLITE_VENV)/.done $(TORCH_VENV)/.done
	@echo "== tests"
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/.test
	@echo "== ruff and mypy"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/.test
	@echo "== fuzzing"
	$(BIN)/python -m fuzz $(FUZZ)

audit: build/audit/.done
	@echo "== known vulnerabilities"
	build/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

benchmarks: $(VENV)/.test
	$(BIN)/python -m benchmarks

$(BIN)/python:
	@echo "== an environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.light: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing edgex"
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing edgex with TensorFlow, OpenVINO and the test tools (about 1 GB)"
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable '.[train,openvino,test]'
	touch $@ $(VENV)/.light

$(TFLITE_VENV)/.done: $(TFLITE_PINS)
	@if $(PYTHON) -c 'import sys; sys.exit(sys.platform != "linux" or sys.version_info >= (3, 12))'; then \
		echo "== an environment with tflite-runtime in $(TFLITE_VENV)" && \
		$(PYTHON) -m venv $(TFLITE_VENV) && \
		$(TFLITE_VENV)/bin/python -m pip install --progress-bar on --requirement $(TFLITE_PINS) && \
		touch $@; \
	else \
		echo "== no environment with tflite-runtime: its last release is for Linux, and for Python 3.11 and older"; \
	fi

$(TORCH_VENV)/.done: $(TORCH_PINS)
	@echo "== an environment with PyTorch in $(TORCH_VENV) (about 1 GB; with CUDA, several)"
	$(PYTHON) -m venv $(TORCH_VENV)
	$(TORCH_VENV)/bin/python -m pip install --progress-bar on --requirement $(TORCH_PINS)
	touch $@

build/audit/.done:
	@echo "== an environment with pip-audit in build/audit, as its packages are not for that of edgex"
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --progress-bar on '$(PIP_AUDIT)'
	touch $@

clean:
	rm -rf $(VENV) $(TFLITE_VENV) $(TORCH_VENV) build dist
