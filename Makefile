# Every command sets up what it needs: `make run` and `make test` work in a fresh clone with Python 3.11 and make.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
FOR ?= 0s
SEEDS ?= 1000
WEATHER ?= calm
# The last resort against a hang; a single test has its own limit in pyproject.toml.
PYTEST := timeout --foreground --kill-after=30s 80m .venv/bin/python -m pytest
export REASON

.PHONY: help install run run-kube disable enable status test test-all envtest image crds kind kind-test kind-delete check lint format simulate faults bench databases lock clean

help: ## What there is to type
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: .venv/.installed ## Set up .venv with everything in it

.venv/bin/activate: # What venv writes last: without it the setting up was interrupted, and begins anew
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear .venv

.venv/.installed: requirements-dev.lock pyproject.toml | .venv/bin/activate
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install ## Three controllers and their master, on this machine (FOR=20s: end by itself)
	@$(BIN)/python -m examples.three_instances --for "$(FOR)"

disable: install ## Stop the job of `make run`: make disable REASON='trying it out'
	@$(BIN)/masterjob disable TICKER --reason "$${REASON:-trying it out}" --config examples/config.yaml

enable: install ## Let it run again
	@$(BIN)/masterjob enable TICKER --config examples/config.yaml

status: install ## Who is master of it, or why nobody is
	@$(BIN)/masterjob status TICKER --config examples/config.yaml

run-kube: install envtest ## The same with MasterJobs on a real Kubernetes API server, on this machine
	@$(BIN)/python -m tests.envtest.run --for "$(FOR)"

test: install databases ## All tests; PostgreSQL and MariaDB are started as needed, Kubernetes where `make envtest` got it
	$(PYTEST) -n 3 --dist loadfile

test-all: install databases envtest ## All tests, and none may be skipped for want of a server
	MASTERJOB_REQUIRE_DATABASES=1 MASTERJOB_REQUIRE_FAULTS=1 MASTERJOB_REQUIRE_KUBERNETES=1 \
		$(PYTEST) -n 3 --dist loadfile

envtest: install ## A real Kubernetes API server for the tests; built with Go where it cannot be downloaded (minutes, once)
	@$(BIN)/python -m tests.envtest.install kube-apiserver kubectl etcd helm

image: ## The image masterjob:kind; BASE=… is another base image
	docker build --tag masterjob:kind $(if $(BASE),--build-arg BASE=$(BASE)) .

crds: ## Copy the definition of MasterJob into the chart
	cp crds/masterjobs.yaml charts/masterjob/files/masterjobs.yaml

kind: install envtest ## A kind cluster with the chart on PostgreSQL, three pods, and what to try (needs Docker and kind)
	@$(BIN)/python -m tests.kind create

kind-test: install envtest ## The end-to-end tests on it
	@$(BIN)/python -m tests.kind test

kind-delete: install ## Remove it
	@$(BIN)/python -m tests.kind delete

databases: # On Debian as root, what the tests need is installed; elsewhere they say what they skip
	@sh tests/servers/install
	@sh tests/web/install

check: lint ## What every commit has to pass: lint, types, rooms, and the tests that need no server
	$(PYTEST) -q tests/election tests/jobs tests/controller tests/runtime tests/resources tests/concurrency tests/config tests/cli

lint: install ## Format, lint, types, and the doors between the rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

simulate: install ## Random faults on virtual time: SEEDS=100000, or SEED=17 WEATHER=wild to replay one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --weather $(WEATHER),--seeds $(SEEDS))

faults: install databases ## Random faults on real processes and a real PostgreSQL: FOR=2h SEED=7
	$(BIN)/python -m tests.faults --for $(if $(filter-out 0s,$(FOR)),$(FOR),2m) $(if $(SEED),--seed $(SEED))

bench: install databases envtest ## Measure everything again, and draw it under docs/benchmarks
	$(BIN)/python -m bench

lock: ## Pin the newest versions of all dependencies (needs uv)
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade --extra dev pyproject.toml -o requirements-dev.lock
	echo 'hatchling>=1.27' | uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --constraint requirements-dev.lock - -o requirements-build.lock

clean: ## Remove what was built
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
