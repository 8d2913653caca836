# SPDX-License-Identifier: Apache-2.0
# The only entrance: every target sets up what it needs first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test lint types contracts bench clean
unexport PYTHONDONTWRITEBYTECODE

HOSTS ?=
REAL ?=
IS_REAL = $(filter-out 0,$(REAL))
SETUP = @flock Makefile scripts/setup

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 18

setup: ## install what the tests need
	$(SETUP) test

demo: ## rotate a small mixed fleet on this machine (HOSTS=5; REAL=1: with sshd, nginx, BIND and Pebble)
	$(SETUP) $(if $(IS_REAL),demo,bare)
	@.venv/bin/ottr demo $(if $(HOSTS),--hosts $(HOSTS)) $(if $(IS_REAL),--real)

test: ## run every check and every test
	$(SETUP) test
	@scripts/test

lint: ## check style
	$(SETUP) test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types: ## check types
	$(SETUP) test
	@.venv/bin/mypy

contracts: ## check who may import whom
	$(SETUP) test
	@.venv/bin/lint-imports

bench: ## compare Ottr with other tools on one lab (HOSTS=100 RUNS=3 PEERS=floor,ottr,lego,certbot,ansible SLEEPS=1)
	$(SETUP) bench
	@flock Makefile bench/setup $(BENCH_PEERS)
	@.venv/bin/python -m bench --hosts $(or $(HOSTS),100) --runs $(or $(RUNS),3) --peers $(BENCH_PEERS) \
		$(if $(filter-out 0,$(SLEEPS)),--sleeps) --output $(or $(OUTPUT),text)
BENCH_PEERS = $(or $(PEERS),floor,ottr,lego,certbot,ansible)

.PHONY: bench-plan
bench-plan: ## compare `ottr plan` with ansible-inventory (HOSTS=10000 RUNS=3)
	$(SETUP) bench
	@.venv/bin/python -m bench.plan --hosts $(or $(HOSTS),10000) --runs $(or $(RUNS),3) --output $(or $(OUTPUT),text)

.PHONY: bench-firewalls
bench-firewalls: ## rotate simulated firewalls with long commits, and one of them alone (DEVICES=100 COMMIT=30)
	$(SETUP) bench
	@.venv/bin/python -m bench.firewalls --devices $(or $(DEVICES),100) --commit-s $(or $(COMMIT),30) --output $(or $(OUTPUT),text)

.PHONY: bench-ca
bench-ca: ## compare the private CA with Pebble, openssl ocsp and nginx (ORDERS=200 RUNS=3 ROWS=1000000)
	$(SETUP) bench
	@.venv/bin/python -m bench.ca --orders $(or $(ORDERS),200) --runs $(or $(RUNS),3) --rows $(or $(ROWS),1000000) \
		--output $(or $(OUTPUT),text)
	@.venv/bin/python -m bench.ca_status --runs $(or $(RUNS),3) --rows $(or $(ROWS),1000000) --output $(or $(OUTPUT),text)

.PHONY: sweep
sweep: ## kill Ottr at every act of a rotation of a BIG-IP and of a firewall, not only at those `make test` chooses
	$(SETUP) test
	@OTTR_SWEEP=all .venv/bin/pytest -n $(or $(WORKERS),3) tests/acceptance/test_f5_kill_sweep.py \
		tests/acceptance/test_panos_kill_sweep.py

.PHONY: mutation
mutation: ## change the private CA in one place at a time and see that a test notices (MOST=40 of each part; all unless said)
	$(SETUP) test
	@nice .venv/bin/python scripts/mutation.py --most $(or $(MOST),0)

.PHONY: bench-ansible
bench-ansible: ## compare the playbook and the step modules with `ottr rotate` (HOSTS=100 RUNS=3)
	@$(MAKE) --no-print-directory bench PEERS=ottr,play,steps

.PHONY: collection
collection: ## check the Ansible collection: lint, ansible-test sanity, build, Molecule
	$(SETUP) test
	@scripts/collection

.PHONY: matrix
matrix: ## run the collection's tests on other versions of ansible-core and Python (PAIRS=python3.11:2.18)
	$(SETUP) test
	@scripts/matrix $(PAIRS)

clean: ## remove what the other targets left in this folder
	@rm -rf .venv build dist htmlcov *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
