# Forewarn: `make demo` shows it, `make test` proves it. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

# the first of these that is Python 3.11; `make PYTHON=/path/to/python3.11 …` chooses another
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && command -v $$p && break; done)
BIN := .venv/bin
ARGS ?=
PYTEST_ARGS ?=
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# torch without CUDA: from where pip is told to look, else from PyTorch's own index
TORCH := $(if $(UV_FIND_LINKS),,--torch-backend cpu)
# of the lock only tests and those who choose it need Spark (336 MB, and Java): docs/scaling.md
SPARK := '^(pyspark|py4j)=='
ifneq ($(wildcard ../shared/data),)
export FOREWARN_DATA ?= $(abspath ../shared/data)
endif

.PHONY: help install demo up spark test check audit format lock protos env-example metrics-reference screenshots bench chaos clean

help: ## List the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## /  make \1\t/' | expand -t 24

install: ## Install the locked environment into .venv (skipped when nothing changed)
	@if cmp -s requirements.lock .venv/.installed.lock && cmp -s pyproject.toml .venv/.installed.toml; then exit 0; fi
	if [ -z "$(PYTHON)" ]; then
		echo "Forewarn needs Python 3.11; found: $$(python3 --version 2>&1 || echo none)." >&2
		echo "Install it (pyenv install 3.11, apt-get install python3.11-venv, uv python install 3.11)," >&2
		echo "then: make install PYTHON=/path/to/python3.11" >&2
		exit 1
	fi
	if ! [ -x $(BIN)/python ]; then
		echo "[1/4] a virtual environment in .venv, with $$($(PYTHON) --version)"
		if ! $(PYTHON) -m venv .venv; then
			rm -rf .venv
			echo "$(PYTHON) cannot make virtual environments (Debian: apt-get install python3.11-venv)." >&2
			exit 1
		fi
	fi
	echo "[2/4] uv, which installs the rest"
	[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	echo "[3/4] $$(grep -cE '^[a-zA-Z0-9]' requirements.lock) packages of requirements.lock (the large ones: torch, pyarrow, llvmlite)"
	$(BIN)/uv pip install --python $(BIN)/python --no-deps $(TORCH) -r <(grep -vE $(SPARK) requirements.lock)
	echo "[4/4] forewarn itself"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	cp requirements.lock .venv/.installed.lock
	cp pyproject.toml .venv/.installed.toml
	echo "Installed. Next: make demo"

demo: install ## Show the whole of it: start, feed, train, predict, resolve (ARGS=--once ends by itself)
	@$(BIN)/forewarn demo $(ARGS)

up: install ## Start the embedded stack (ARGS=--detach leaves it running)
	@$(BIN)/forewarn up $(ARGS)

spark: install ## Install Spark beside the rest, for FOREWARN_OFFLINE_STORE=spark and its test
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r <(grep -E $(SPARK) requirements.lock)

test: install check spark ## Check and run all tests (PYTEST_ARGS='-k gateway' runs some)
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: install ## Lint, format, types, layers
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: install ## Write an SBOM to build/ and ask OSV for known vulnerabilities (recorded as skipped where it is not reached)
	@mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json .venv
	echo "build/sbom.cdx.json: $$(grep -c '"purl"' build/sbom.cdx.json) components"
	ask='import urllib.request as r; r.urlopen(r.Request("https://api.osv.dev/v1/query", b"{\"package\": {\"name\": \"jinja2\", \"ecosystem\": \"PyPI\"}}"), timeout=15)'
	if why=$$($(BIN)/python -c "$$ask" 2>&1 | tail -n 1) && [ -z "$$why" ]; then
		$(BIN)/pip-audit -r requirements.lock --no-deps --disable-pip -s osv -f json -o build/audit.json
		echo "build/audit.json: nothing known"
	else
		printf '{"skipped": "api.osv.dev is not reached: %s"}\n' "$$(tr -d '"\\' <<< "$$why")" | tee build/audit.json
	fi

format: install ## Format the code and mend what can be mended
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: install ## Resolve requirements.lock anew from pyproject.toml
	@sed -i 's/^torch==[0-9.]*$$/&+cpu/' requirements.lock  # the build without CUDA is preferred, and its name left out
	$(BIN)/uv pip compile --quiet --no-emit-index-url --no-emit-find-links --python-version 3.11 --extra dev \
		--extra benchmarks --extra spark --override requirements.overrides pyproject.toml -o requirements.lock
	sed -i 's/^\(torch==.*\)+cpu/\1/' requirements.lock

protos: install ## Write the code of the .proto files anew
	@for file in forewarn/telemetry/proto/*.proto; do
		$(BIN)/python -m grpc_tools.protoc -I $$(dirname $$file) --python_out=$$(dirname $$file) $$(basename $$file)
	done
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. bentos/predictor/proto/*.proto

env-example: install ## Write .env.example and docs/configuration.md from the settings
	@$(BIN)/python -m forewarn.config.example > .env.example
	$(BIN)/python -m forewarn.config.reference > docs/configuration.md

metrics-reference: install ## Write docs/metrics.md from what the processes count
	@$(BIN)/python -m forewarn.services.metrics > docs/metrics.md

screenshots: install ## Take the pictures of the README from a real dashboard (needs Chromium)
	@$(BIN)/python -m panel_app.screenshots $(ARGS)

bench: install ## Run the benchmarks but for the longest; results in benchmarks/results
	@echo "left out: soak (make bench-soak, 2 h), chaos (make chaos), spark (make spark bench-spark, needs Java)"
	failed=
	for file in benchmarks/*.py; do
		name=$$(basename $$file .py)
		case $$name in __init__|data|report|parts|chaos|soak|spark) continue;; esac
		echo "== $$name"
		$(BIN)/python -m benchmarks.$$name $(ARGS) || failed+=" $$name"
	done
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

bench-%: install ## Run one benchmark: benchmarks/NAME.py
	@$(BIN)/python -m benchmarks.$* $(ARGS)

chaos: install ## Do faults to the whole stack under load and count what was lost or told twice (ARGS='kill broker' does some)
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m benchmarks.chaos $(ARGS)

clean: ## Remove caches and local state, not .venv (stop the stack first)
	@if [ -x $(BIN)/forewarn ] && [ -e .forewarn/stack.json ]; then $(BIN)/forewarn down || true; fi
	rm -rf .forewarn .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis lightning_logs build dist
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
