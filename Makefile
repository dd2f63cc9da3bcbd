# Everything happens in .venv; no step needs anything but Python 3.11+, make and a package registry.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/demo

.PHONY: setup demo gpu paper-shd paper-ssc paper-gsc test check types docs bench fuzz attack clean
setup: .venv/ready

# pip repeats safely after an interruption; the marker is written only when every step held.
.venv/ready: pyproject.toml requirements-lava.txt requirements-counters.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable ".[train,demo,dev,lava,tensorboard,delays,docs]"
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --requirement requirements-lava.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-counters.txt
	touch $@

demo: setup
	$(BIN)/python -m model.train configs/demo.toml --out $(RUN) --resume
	$(BIN)/python -m model.train configs/demo.toml --out $(RUN)/twin --resume --set model.twin=true
	$(BIN)/python -m conversion.to_nir $(RUN)/ckpt.pt
	$(BIN)/python -m conversion.quantize $(RUN)/ckpt.nir --calibrate synth
	$(BIN)/python -m hardware.report $(RUN)/ckpt.nir --input synth --checkpoint $(RUN)/ckpt.pt --twin $(RUN)/twin/ckpt.pt --out $(RUN)/report

# A network and its twin: trained on the processor, measured on the GPU where there is one.
gpu: setup
	CUDA_VISIBLE_DEVICES= $(BIN)/python -m model.train configs/demo.toml --out runs/gpu/spiking --resume
	CUDA_VISIBLE_DEVICES= $(BIN)/python -m model.train configs/demo.toml --set model.twin=true --out runs/gpu/twin --resume
	$(BIN)/python -m hardware.measure runs/gpu/spiking/ckpt.pt runs/gpu/twin/ckpt.pt --out docs/measured

# The paper's chains on its data: the folders are in NEUROTARGET_SHD, NEUROTARGET_SSC, NEUROTARGET_GSC. For a GPU.
paper-shd paper-ssc paper-gsc: paper-%: setup
	$(BIN)/python -m model.distill configs/ptcd_$*.toml --out runs/ptcd_$* --resume

# Several processes, each of one thread, take a file at a time in the order of tests/conftest.py.
test: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) types
	$(MAKE) docs
	$(MAKE) test

# mypy finds packages by folder: it sees the house as the wheel installs it.
types: setup
	mkdir -p build/typed/neurotarget
	for part in neurotarget/* model conversion sim hardware; do ln -sfn "$(CURDIR)/$$part" build/typed/neurotarget/; done
	$(BIN)/mypy

# The docs site in build/site; a broken link or anchor fails.
docs: setup
	$(BIN)/python -m docs.generate build/pages
	$(BIN)/zensical build --strict

# Lava and streams are measured on the networks of `make demo` and of configs/causal_synth.toml, where they are there.
bench: setup
	$(BIN)/python -m benchmarks.simulator
	$(call where-quantised,$(RUN),benchmarks.lava)
	$(call where-quantised,runs/causal,benchmarks.stream)

where-quantised = $(if $(wildcard $(1)/ckpt.q.nir),$(BIN)/python -m $(2) $(1)/ckpt.nir $(1)/ckpt.q.nir,\
	@echo "$(2) is left out: there is no $(1)/ckpt.q.nir")

# Random graphs against a plain interpreter; hostile files against every command.
N ?= 20000
fuzz: setup
	$(BIN)/python -m tests.fuzz.differential --graphs $(N)

attack: setup
	$(BIN)/python -m tests.fuzz.attack --cases $(N)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
