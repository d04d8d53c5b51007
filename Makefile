# Each target is one command; what it does is told by the command's own --help.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: quickstart kernel test lint setup clean

quickstart: setup ## from nothing to a comparison of stacks on an emulated rack
	$(SUDO) .venv/bin/nohype quickstart

kernel: setup ## the NoHype kernel, built or found in the cache (kernel/README.md)
	$(SUDO) .venv/bin/nohype kernel build

test: setup ## lint, types, unit, integration and rack tests
	$(SUDO) tests/run

lint: setup ## lint and types alone
	tests/lint

setup: ## packages and the locked Python environment
	@./bootstrap

clean: ## rack down, Python environments away; caches and results stay (docs/how-to/clear-caches.md)
	$(SUDO) tests/clean
