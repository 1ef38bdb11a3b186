# One place for the commands; CONTRIBUTING.md explains them. Another interpreter: `make test PYTHON=python3.13`.

PYTHON ?= python3
# Another interpreter than the default one has an environment of its own, and no linters: some have no build for it.
OTHER := $(filter-out python3,$(PYTHON))
VENV ?= $(if $(OTHER),.venv-$(notdir $(PYTHON)),.venv)
GROUPS := $(if $(OTHER),--group build --group test,--group dev)
BIN := $(VENV)/bin
READY := $(VENV)/ready
PYTEST_ARGS ?=

.PHONY: build test unit faults lint format tsan asan dist clean
.DEFAULT_GOAL := build

# The environment: this package, editable and not yet compiled, and the development tools. Made anew when its inputs change.
$(READY): pyproject.toml setup.py
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "tenure needs Python 3.11 or later: make PYTHON=..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --prefer-binary $(GROUPS)
	TENURE_ONLY=nothing $(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	touch $@

# Compiles what changed since the last time, in place.
build: $(READY)
	$(BIN)/python setup.py --quiet build_ext --inplace

# By two workers, a file at a time; tests marked `alone` or `figures` wait until nothing else runs (tests/turns.py).
WORKERS ?= 2
test: $(if $(OTHER),build,lint)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

unit: build
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

faults: build
	$(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

# A cluster with members of this build and of another commit's, compiled below build/previous: upgraded and downgraded.
.PHONY: mixed
PREVIOUS ?= HEAD~1
mixed: build
	TENURE_FAULTS_PREVIOUS=$(PREVIOUS) $(BIN)/python -m pytest tests/faults/test_mixed_versions.py $(PYTEST_ARGS)

# Half an hour under load: flat memory and descriptors, or exit status 1.
.PHONY: soak
SOAK_ARGS ?= --minutes 30
soak: build
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

# The first look at the product: an environment with what it needs to run, the modules it runs, and a cluster at work.
# Nothing but Python with its headers and a C++ compiler is needed.
DEMO_ARGS ?= --seconds 20
.PHONY: demo
demo:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "tenure needs Python 3.11 or later: make PYTHON=..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/tenure -a -e $(VENV)/demo || { \
		$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && \
		$(BIN)/python -m pip install --quiet --prefer-binary --group build && \
		TENURE_ONLY=nothing $(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[cli]' && \
		touch $(VENV)/demo; }
	@echo 'compiling the core: a few minutes the first time'
	TENURE_ONLY=_core,_raft,_kv,_net,_storage,_host $(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/tenure demo $(DEMO_ARGS)

# Half a minute; what it finds also lands under build/bench.
.PHONY: bench
bench: build
	$(BIN)/python -m tenure.cli bench --json build/bench/findings.json --plot build/bench

lint: export PATH := $(abspath $(BIN)):$(PATH)
lint: build
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/cython-lint cython
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest $$($(BIN)/python tests/compiled_sources.py) \
		--allowlist tests/package/stubtest_allowlist.txt --ignore-unused-allowlist
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix --select I
	$(BIN)/ruff format

# Instrumented copies of the compiled modules under build/, and tests against them with the sanitizer's library loaded first.
SANITIZED_TESTS ?= $(wildcard tests/unit tests/integration)
SANITIZED_BUILD = $(BIN)/python setup.py --quiet build --build-base build/$@ --build-lib build/$@/lib
SANITIZED_RUN = $(BIN)/python -m tests.sanitized --pytest-args="$(PYTEST_ARGS)"

tsan: $(READY)
	TENURE_SANITIZE=thread $(SANITIZED_BUILD)
	$(SANITIZED_RUN) thread $(SANITIZED_TESTS)

asan: $(READY)
	TENURE_SANITIZE=address $(SANITIZED_BUILD)
	$(SANITIZED_RUN) address $(SANITIZED_TESTS)

# Coverage-guided fuzzing, a minute for each target; needs clang. `make fuzz FUZZ_SECONDS=600 TARGET=resp`, and for an input that
# was found, `make fuzz TARGET=resp FUZZ_INPUT=path`. See docs/fuzzing.md.
.PHONY: fuzz
FUZZ_SECONDS ?= 60
FUZZ_ARGS ?=
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(addprefix --target ,$(TARGET)) \
		$(addprefix --input ,$(FUZZ_INPUT)) $(FUZZ_ARGS)

# A source distribution, and a wheel built from it.
dist: $(READY)
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src -name '*.so' -delete
