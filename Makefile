# Each target sets itself up: a .venv, uv in it, the locked packages, the project. A second run does none of that again.
.PHONY: setup demo check test bench gpu-check proto lock image
PYTHON ?= python3
UV := .venv/bin/uv
STAMP := .venv/.ready

setup: $(STAMP)  ## the environment that everything else runs in

$(STAMP): pyproject.toml requirements.lock
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	test -x $(UV) || .venv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(UV) pip sync --quiet --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	touch $@

demo: setup  ## the whole circle on handwritten digits, about three minutes
	.venv/bin/pupil demo

check: setup  ## ruff and mypy --strict
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: setup  ## every test
	GOMP_SPINCOUNT=1000 .venv/bin/pytest --numprocesses logical --maxprocesses 4 --dist loadfile

BENCH ?=
bench: setup  ## what an image costs in each front, beside the barest code; BENCH="--server-core 1 --photos FOLDER"
	.venv/bin/python benchmarks/serving.py $(BENCH)

BUNDLES ?= $(wildcard repository/*/*)
gpu-check: setup  ## a GPU's answers, places and speed, for BUNDLES="repository/student/1 …"; skipped without one
	.venv/bin/python benchmarks/gpu_check.py $(BUNDLES)

proto: setup  ## regenerate the stubs beside their .proto
	PATH="$(CURDIR)/.venv/bin:$$PATH" python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto \
		--grpc_python_out=proto --mypy_grpc_out=proto proto/pupil_proto/v1/*.proto
	PATH="$(CURDIR)/.venv/bin:$$PATH" python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto \
		proto/pupil_proto/oip/v2/*.proto  # messages only: the service has another name on the wire

LOCK := $(UV) pip compile --quiet --upgrade pyproject.toml --python-version 3.11 --generate-hashes --no-annotate --no-header

lock: setup  ## resolve the newest versions that pyproject.toml allows: for working on it, and for the containers
	$(LOCK) --extra all --group dev --output-file requirements.lock
	$(LOCK) --extra server --extra otel --no-config --output-file requirements-server.lock
	$(LOCK) --extra cuda --extra otel --no-config --output-file requirements-cuda.lock

image: ## the server's container image
	docker build --tag pupil .
