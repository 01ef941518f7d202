# Every target sets up what it needs: `make run` and `make test` work in a fresh clone with Python 3.11 and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
FOR ?= 0s
SEEDS ?= 1000
WEATHER ?= calm
# The last resort against a hang; a single test has its own limit in pyproject.toml.
PYTEST := timeout --foreground --kill-after=30s 80m .venv/bin/python -m pytest
export REASON

.PHONY: help install run run-kube disable enable status test test-all envtest image crds kind kind-test kind-delete check lint format simulate explore mutants mutmut faults bench databases lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: .venv/.installed ## Set up .venv with all dependencies

.venv/bin/activate: # venv writes this file last: if it is missing, the setup was interrupted and starts again
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear .venv

.venv/.installed: requirements-dev.lock pyproject.toml | .venv/bin/activate
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install ## Three controllers on this machine, one of them master (FOR=20s: stop after that time)
	@$(BIN)/python -m examples.three_instances --for "$(FOR)"

disable: install ## Stop the job of `make run`: make disable REASON='trying it out'
	@$(BIN)/masterjob disable TICKER --reason "$${REASON:-trying it out}" --config examples/config.yaml

enable: install ## Let the job of `make run` run again
	@$(BIN)/masterjob enable TICKER --config examples/config.yaml

status: install ## Show the master of `make run`, or why there is none
	@$(BIN)/masterjob status TICKER --config examples/config.yaml

run-kube: install envtest ## Three operators and a real Kubernetes API server on this machine
	@$(BIN)/python -m tests.envtest.run --for "$(FOR)"

test: install databases ## All tests; starts the databases, and Kubernetes if `make envtest` has installed it
	$(PYTEST) -n 3 --dist loadfile

test-all: install databases envtest ## All tests; fails if one is skipped because a server is missing
	MASTERJOB_REQUIRE_DATABASES=1 MASTERJOB_REQUIRE_FAULTS=1 MASTERJOB_REQUIRE_KUBERNETES=1 MASTERJOB_REQUIRE_ENVIRONMENTS=1 \
		$(PYTEST) -n 3 --dist loadfile

envtest: install ## Install a Kubernetes API server for the tests; built with Go if it cannot be downloaded (minutes, once)
	@$(BIN)/python -m tests.envtest.install kube-apiserver kubectl etcd helm

image: ## Build the image masterjob:kind; BASE=… sets another base image
	docker build --tag masterjob:kind $(if $(BASE),--build-arg BASE=$(BASE)) .

crds: ## Copy the definition of MasterJob into the chart
	cp crds/masterjobs.yaml charts/masterjob/files/masterjobs.yaml

kind: install envtest ## Create a kind cluster with the chart, PostgreSQL and three pods (needs Docker and kind)
	@$(BIN)/python -m tests.kind create

kind-test: install envtest ## Run the end-to-end tests on the kind cluster
	@$(BIN)/python -m tests.kind test

kind-delete: install ## Delete the kind cluster
	@$(BIN)/python -m tests.kind delete

databases: # On Debian as root, install what the tests need; elsewhere the tests report what they skip
	@sh tests/servers/install
	@sh tests/servers/unpack
	@sh tests/web/install

check: lint ## What every commit has to pass: lint, types, imports, and the tests that need no server
	$(PYTEST) -q tests/election tests/jobs tests/controller tests/runtime tests/resources tests/concurrency tests/config tests/cli

lint: install ## Check format, lint, types, and which package imports which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

simulate: install ## Random faults on virtual time: SEEDS=100000, or SEED=17 WEATHER=wild to replay one seed, SHRINK=1 to shrink its failure
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --weather $(WEATHER) $(if $(SHRINK),--shrink),--seeds $(SEEDS))

mutants: install ## Plant a hundred bugs, one at a time, and measure what finds each (an hour); ONLY=3.4 plants some
	$(BIN)/python -m tests.simulation.mutants $(if $(ONLY),--only '$(ONLY)')

mutmut: ## Change each expression of the core, one at a time; what finds it? (an hour); FILE=session: one file
	@sh tests/simulation/mutmut.sh $(FILE)

explore: install ## Everything that can happen in a small world: ARGS='--instances 3 --locks 2 --faults 1 --depth 12'
	$(BIN)/python -m tests.exploration $(ARGS)

faults: install databases ## Random faults on real processes and a real PostgreSQL: FOR=2h SEED=7
	$(BIN)/python -m tests.faults --for $(if $(filter-out 0s,$(FOR)),$(FOR),2m) $(if $(SEED),--seed $(SEED))

bench: install databases envtest ## Measure everything again, with plots in docs/benchmarks
	$(BIN)/python -m bench

lock: ## Pin the newest versions of all dependencies (needs uv)
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade --extra dev pyproject.toml -o requirements-dev.lock
	echo 'hatchling>=1.27' | uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --constraint requirements-dev.lock - -o requirements-build.lock

clean: ## Remove everything that was built
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
