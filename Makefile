# Two commands do everything on a fresh machine: `make train` and `make test`.
# Needed beforehand: Python 3.11-3.13, a C++ compiler, a package index.

PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.13 python3,$(shell $(v) -c 'import sys; print(sys.executable) if (3, 11) <= sys.version_info[:2] <= (3, 13) else None' 2>/dev/null)))
BIN := .venv/bin
OUT ?= out/quick
CONFIG := configs/studio_quick.py
BENCHMARK ?= out/benchmark


.PHONY: help env train reproduce test test-node lint format peers sanitize cuda clean

help:
	@echo "make train     environment, built-in data, training, evaluation, export (into $(OUT))"
	@echo "make reproduce the experiments of docs/results.md, hours (into $(BENCHMARK))"
	@echo "make test      environment and the whole test suite"
	@echo "make test-node a Node.js client of an export; needs node, npm and a network"
	@echo "make lint      ruff check and format"
	@echo "make peers     environments for comparison with tensorflow-addons and PyTorch"
	@echo "make sanitize  C++ tests of the op under ASan, UBSan and TSan"
	@echo "make cuda      compiles the op's CUDA source, where there is an nvcc"
	@echo "make clean     removes $(OUT) and the environment"

env: .venv/installed

.venv/installed: setup.py
	@test -n "$(PYTHON)" || { echo "mcss_tf needs Python 3.11, 3.12 or 3.13; none was found. Give one: make env PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# Each file below is written only when whole, so an interrupted `make train` goes on where it stopped.
train: env $(OUT)/export/mcss/1/saved_model.pb
	@echo "report:  $(OUT)/mcss/report.html"
	@echo "model:   $(OUT)/export/mcss"

$(OUT)/data/dataset.json: | env
	$(BIN)/python -m mcss_tf.prepare --source=studio --config=$(CONFIG) --output=$(OUT)/data

$(OUT)/baseline/model.keras: $(OUT)/data/dataset.json
	$(BIN)/python -m mcss_tf.train --config=$(CONFIG) --config.loss.metric_weight=0 --data=$(OUT)/data --workdir=$(OUT)/baseline

$(OUT)/mcss/model.keras: $(OUT)/data/dataset.json
	$(BIN)/python -m mcss_tf.train --config=$(CONFIG) --data=$(OUT)/data --workdir=$(OUT)/mcss

$(OUT)/baseline/metrics.json: $(OUT)/baseline/model.keras
	$(BIN)/python -m mcss_tf.evaluate --workdir=$(OUT)/baseline --data=$(OUT)/data

$(OUT)/mcss/metrics.json: $(OUT)/mcss/model.keras $(OUT)/baseline/metrics.json
	$(BIN)/python -m mcss_tf.evaluate --workdir=$(OUT)/mcss --data=$(OUT)/data --baseline=$(OUT)/baseline

$(OUT)/export/mcss/1/saved_model.pb: $(OUT)/mcss/metrics.json
	$(BIN)/python -m mcss_tf.export --workdir=$(OUT)/mcss --output=$(OUT)/export/mcss

# The experiments of docs/results.md; hours. Stop it whenever you like: it goes on where it stopped.
reproduce: env
	$(BIN)/python -m mcss_tf.reproduce --output=$(BENCHMARK) $(REPRODUCE_ARGS)

test: env
	$(MAKE) -C kernels test
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

test-node: env
	MCSS_TF_NODE=1 $(BIN)/python -m pytest tests/serving/test_node.py

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

peers:
	benchmarks/peers/setup.sh

sanitize:
	$(MAKE) -C kernels sanitize

# Skipped, and says so, where there is no nvcc.
cuda:
	$(MAKE) -C kernels cuda

clean:
	rm -rf $(OUT) .venv build
