# Every recipe is one line: the work is in hack/*.sh, which print each step with its time and share one set of build flags.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help run build generate verify fmt lint test e2e soak bench clean tools envtest-tools testsite

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: build ## Build, then run recipes/quickstart.yaml on this machine
	@bin/assay run recipes/quickstart.yaml

build: ## Build bin/assay and bin/assay-node
	@hack/build.sh

generate: ## Write deepcopy, apply configurations, CRDs, RBAC and the reference pages
	@hack/generate.sh

verify: ## Check generated files, style, imports, lint and tidiness
	@hack/verify.sh

fmt: ## Format all Go files
	@gofmt -s -l -w .

lint: ## Run golangci-lint only
	@hack/verify.sh lint

test: ## Unit and seeded tests, then the same controllers on a real kube-apiserver
	@hack/test.sh unit envtest

e2e: build ## The built programs and real servers, as a user meets them, then the same on real Slurm
	@hack/test.sh e2e testsite

soak: build ## Hundreds of crash seeds, every recipe through every door of real Slurm; takes hours
	@hack/test.sh soak sitesoak

bench: build ## Measure what the project promises; writes bench.json
	@hack/test.sh bench

tools: ## Build the pinned tools into the user's cache
	@hack/tools.sh >/dev/null

envtest-tools: ## Fetch or build kube-apiserver, etcd and kubectl into the user's cache
	@hack/envtest.sh

testsite: ## Start a real Slurm site on this machine, as root (hack/testsite.sh: down, status, shell, ...)
	@hack/testsite.sh up

clean: ## Remove what make built in this checkout (never the user's caches)
	@rm -rf bin bench.json internal/app/nodebin/*.zst
