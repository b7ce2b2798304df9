# The commands of this repository. `make help` lists them.
PYTHON ?= python3
MODEL ?= starter
PORT ?= 30000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SERVING := $(VENV)/.serving
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install clients serve test test-full test-wheel lint check format docs wheels clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Make .venv with the farthing command and everything the tests need

# What serving on a CPU needs, and kernels for this CPU alone, which take a fifth of the time of all. They are compiled
# while pip loads; where there is no compiler (status 3), pip brings one. Python compiles its modules when they are first
# imported (--no-compile), since most never are. Those who run the tests later add to the same .venv.
$(SERVING): pyproject.toml constraints.txt tools/make_venv.sh hatch_build.py $(wildcard native/*/*)
	FARTHING_NATIVE=here $(PYTHON) native/build_native.py & compiling=$$!; \
	sh tools/make_venv.sh $(PYTHON) $(VENV) && \
	FARTHING_NATIVE=apart $(PIP) install --no-compile --constraint constraints.txt --editable '.[server]' && \
	{ wait $$compiling || { [ $$? = 3 ] && FARTHING_NATIVE=here $(PIP) install --no-deps --editable .; }; }
	@touch $@

# Tests try the kernels of every CPU. torch first and alone: on a machine without an NVIDIA GPU its CPU build is taken,
# which needs no CUDA packages.
$(INSTALLED): $(SERVING) tools/torch_index.py
	$(BIN)/python native/build_native.py || { [ $$? = 3 ] && $(PIP) install --no-deps --editable .; }
	$(PIP) install --constraint constraints.txt $$($(BIN)/python tools/torch_index.py) torch
	$(PIP) install --constraint constraints.txt 'farthing[dev]'
	@touch $@

# Beside .venv, since they need other versions of what is in it. npm is not needed: without it one test is skipped.
clients: ## Make .clients with the client libraries that tests/http/test_client_libraries.py calls (1 GB)
	sh tools/make_venv.sh $(PYTHON) .clients
	.clients/bin/python -m pip --disable-pip-version-check install --quiet --requirement tests/clients/requirements.txt
	if command -v npm >/dev/null; then npm install --silent --no-fund --no-audit --prefix .clients/node openai@6; fi

serve: $(SERVING) ## Serve MODEL (default: the starter model) on PORT (default: 30000)
	$(BIN)/farthing serve $(MODEL) --port $(PORT)

# Three tests at a time, on two processors: half of the tests wait for processes that they have started. Each of the three
# begins with a part of all tests, and who is done takes over what another has left.
test: $(INSTALLED) ## Run the test suite
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal --durations 40 $(PYTEST_ARGS)

test-full: $(INSTALLED) ## Run the slow tests too, and all examples of the others
	$(MAKE) test PYTEST_ARGS="--slow $(PYTEST_ARGS)"

# What comes from the wheel's own environment are the processes that tests/http/test_without_torch.py starts.
test-wheel: $(INSTALLED) ## Install the wheel where there is no torch, and try everything that a CPU does there
	rm -rf .wheel && sh tools/make_venv.sh $(PYTHON) .wheel
	$(PIP) wheel --quiet --no-deps --wheel-dir .wheel/dist .
	.wheel/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
		"$$(ls .wheel/dist/farthing-*.whl)[server,search,cluster,eval]"
	FARTHING_TEST_PYTHON=$(CURDIR)/.wheel/bin/python $(BIN)/python -m pytest tests/http/test_without_torch.py $(PYTEST_ARGS)

lint: $(INSTALLED) ## Check style, types, the import rule and the generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/generate_docs.py --check

check: lint test ## Everything that CI checks

format: $(INSTALLED) ## Put the code in its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## Write the generated parts of the docs anew
	$(BIN)/python tools/generate_docs.py

# All platforms from one machine; WHEELS="x86_64-linux-gnu.2.17", for example, makes only that platform's.
wheels: ## Make the wheels of all platforms and the sdist in dist (no C++ compiler needed)
	sh tools/make_venv.sh $(PYTHON) .wheels
	.wheels/bin/python -m pip --disable-pip-version-check install --quiet --requirement tools/requirements-wheels.txt
	.wheels/bin/python tools/make_wheels.py dist $(WHEELS)

clean: ## Remove .venv, .clients, .wheel, .wheels and caches
	rm -rf native/.objects $(VENV) .clients .wheel .wheels .pytest_cache .mypy_cache .ruff_cache .hypothesis
