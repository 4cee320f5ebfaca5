# make verify and make test do all set-up on a machine that has Python 3.11 or newer and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
# The repository root is the package: type checkers find it under its name through this link.
TYPING := $(VENV)/typing
DATA_DIR ?=
# Oracles of the curvature and parametrization tests. They declare torchvision, directly or by way of
# backpack-for-pytorch, which they do not need for what is compared; without it they have to be installed with
# what they do need.
ORACLES := 'curvlinops-for-pytorch<4' einconv einops linear-operator mup==1.0.0 opt-einsum
DATA := $(if $(DATA_DIR),--data-dir $(DATA_DIR),)

.PHONY: verify test install lint bench bench-curvature bench-sweeps bench-training stress coordinates finite-width ledger figures wheel clean

verify: $(READY)
	@$(BIN)/superconsistency verify $(DATA) --output results/ledger.json --report results/report.html

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python is " + sys.version.split()[0] + "; accepted: 3.11 or newer; remedy: make PYTHON=python3.11")'
	@echo "installing into $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps $(ORACLES)
	@mkdir -p $(TYPING) && ln -sfn ../.. $(TYPING)/superconsistency
	@touch $(READY)

$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $(BENCH_READY)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(TYPING) $(BIN)/mypy -p superconsistency
	$(BIN)/lint-imports

bench: $(BENCH_READY)
	$(BIN)/python tests/benchmarks/bench_ensemble.py
	$(BIN)/python tests/benchmarks/bench_planar.py
	$(BIN)/python tests/benchmarks/bench_sharpness.py
	$(BIN)/python tests/benchmarks/bench_trajectory_sharpness.py

ledger: $(READY)
	$(BIN)/superconsistency verify --output docs/ledger.md $(DATA)

bench-curvature: $(BENCH_READY)
	$(BIN)/python tests/benchmarks/bench_curvature.py
	$(BIN)/python tests/benchmarks/bench_edge.py
	for shape in layers tensor; do MALLOC_MMAP_THRESHOLD_=65536 $(BIN)/python tests/benchmarks/tracker_memory.py $$shape || exit 1; done

bench-training: $(BENCH_READY)
	$(BIN)/python tests/benchmarks/bench_training.py $(DATA)

bench-sweeps: $(READY)
	$(BIN)/python tests/benchmarks/bench_sweeps.py

stress: $(READY)
	$(BIN)/python tests/benchmarks/stress_tracker.py
	$(BIN)/python tests/neural/curvature/test_random_models.py --models 300
	for width in 500 512; do $(BIN)/python tests/benchmarks/stress_equivalence.py --width $$width || exit 1; done
	folder=$$(mktemp -d) && $(BIN)/python tests/neural/kill_and_resume.py $$folder 10 0

coordinates: $(READY)
	$(BIN)/python tests/benchmarks/coordinate_checks.py

finite-width: $(READY)
	$(BIN)/python tests/benchmarks/finite_width.py $(DATA)

figures: $(READY)
	$(BIN)/python tests/figures/chromium.py docs/figures/interactive.png
	$(BIN)/superconsistency curvature docs/examples/small_resnet.py:small_resnet --examples 128 --figure docs/figures/spectrum.png
	$(BIN)/superconsistency figure all --output docs/figures $(DATA)

wheel: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python tests/check_wheel.py dist
	$(BIN)/python tests/check_types.py dist

clean:
	rm -rf $(VENV) build dist *.egg-info
