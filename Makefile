PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET := var/dataset
export PORT ?= 8000
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test docs guard chaos soak bench scale check fmt lock

# Set up, make a network, train, serve on http://127.0.0.1:$(PORT).
run: var/trained
	@echo
	@echo "Serving on http://127.0.0.1:$(PORT) in a few seconds (Ctrl-C ends it): open it in a browser. Or paste these in another terminal, in this folder:"
	@echo
	@$(BIN)/python -m training demo $(DATASET) --url http://127.0.0.1:$(PORT)
	@echo
	@exec $(BIN)/python -m service

# Three processes, since tests wait a third of the time; a file of tests at a time, the long ones first, each with one thread.
test: $(VENV)/dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The generated pages (docs/generate), then all pages as a site: var/docs/index.html.
docs: $(VENV)/docs
	$(BIN)/python -m docs.generate
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env -d var/docs-cache docs var/docs

# Ratios of speed within wide bounds: has something become much slower?
guard: $(VENV)/dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.guard

# Kills, outages and full disks under load, on SQLite and PostgreSQL; some ten minutes.
chaos: $(VENV)/dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m tests.chaos --out docs/reliability

# Mixed load for 20 minutes: memory, descriptors and Redis are to be flat in the end.
soak: $(VENV)/dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m tests.soak --out docs/reliability

# What is fast, and beside what: writes docs/performance.md; leave the machine alone meanwhile. PEERS: docs/reproducing.md.
bench: $(VENV)/dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks $(if $(PEERS),--peers-python $(PEERS)/bin/python)

# Past one machine: the tests that need Ray and TorchRec, and what docs/scale.md says, with its figures.
scale: $(VENV)/scale
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest tests/scale
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.scale

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml deploy/cuda.yaml
	$(BIN)/pre-commit validate-config

fmt: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Write requirements.lock anew from pyproject.toml.
lock: $(VENV)/dev
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --no-annotate \
		--extra service --extra training --extra dev --extra docs --extra ray --extra sharded --extra sharded-cpu --output-file requirements.lock pyproject.toml

$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[service,training]'
	@touch $@

# What tests and checks need beside.
$(VENV)/dev: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[service,training,dev]'
	@touch $@

$(VENV)/scale: $(VENV)/dev
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[ray,sharded-cpu]'
	$(BIN)/pip install --quiet --constraint requirements.lock --no-deps torchrec
	@touch $@

$(VENV)/docs: $(VENV)/dev
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[docs]'
	@touch $@

$(DATASET)/tweets.jsonl: | $(VENV)/installed
	$(BIN)/python -m training synthesize $(DATASET)

var/trained: $(DATASET)/tweets.jsonl | $(VENV)/installed
	$(BIN)/alembic upgrade head
	$(BIN)/python -m training import $(DATASET)
	$(BIN)/python -m training retrain
	@touch $@
