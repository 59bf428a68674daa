# Every target is a command that can as well be typed; see scripts/.

.DEFAULT_GOAL := help
# The backend that `make run` left behind.
PIDFILE = data/server.pid

.PHONY: setup run stop test test-unit check fmt lint db coverage bench generate sim torture soak fuzz clean-data help

SEEDS ?= 200
SECONDS ?= 60
FILTER ?=
ROUNDS ?= 30
SEED ?= 1
PLAYERS ?= 200
ENTRIES ?= 100000
MINUTES ?= 60

setup: ## Install what is missing (Debian), start Docker
	@scripts/setup.sh

run: setup ## Build, start the backend, and show the main job with four players, matched in a game
	cargo build --locked --release --bin omgservers --bin omgctl --bin omgservers-demo
	cargo run --locked --release --bin omgservers-demo

stop: ## Stop the backend that `make run` left behind
	@if [ -e $(PIDFILE) ]; then kill "$$(cat $(PIDFILE))" && rm -f $(PIDFILE) && echo "asked it to stop"; else echo "it doesn't run"; fi

test: setup ## All tests, on real PostgreSQL and real Docker; FILTER=name picks some
	@scripts/test.sh $(FILTER)

test-unit: ## Tests that need neither Docker nor a container: all crates but runtimes and the whole system
	cargo test --workspace --locked --no-fail-fast --tests --exclude omgservers-runtimes --exclude omgservers-tests --exclude omgservers-torture -- $(FILTER)

fmt: ## Format the code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

lint: ## Lints, words and prose, without the slower checks
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked --quiet --package omgservers-words --tests
	@PATH="$$(scripts/tools.sh path):$$PATH" typos
	@scripts/prose_test.py
	@scripts/prose.py

db: ## psql into the database of the server that runs on ./data
	@scripts/db.sh

coverage: setup ## Which lines tests reach; the report is in target/llvm-cov/html
	@scripts/coverage.sh $(FILTER)

check: ## Format, lints, documentation, rules between crates, generated files
	@scripts/check.sh

bench: setup ## Figures of whole flows against baselines; REPORT_ONLY=1 never fails, FLOWS=a,b picks some
	cargo build --locked --release --bin omgservers
	cargo bench --locked -p omgservers-matcher --bench pool -- $(if $(REPORT_ONLY),--report-only)
	cargo bench --locked -p omgservers-tests --bench flows -- $(if $(REPORT_ONLY),--report-only) $(if $(FLOWS),--only $(FLOWS))

generate: ## Write the files that are generated from the code
	UPDATE_GENERATED=1 cargo test --locked --quiet --workspace --tests checked_in

sim: ## The seeded simulation; SEEDS=n runs so many
	OMG_SIM_SEEDS=$(SEEDS) cargo test --locked --release -p omgservers-tests --test sim -- --nocapture

torture: ## Kill server, PostgreSQL and connections under load, and check that nothing acknowledged is lost; ROUNDS, SEED, PLAYERS, ENTRIES, EMBEDDED=1
	@SETUP_TORTURE=yes scripts/setup.sh
	cargo build --locked --release -p omgservers-server -p omgservers-torture --bin omgservers --bin omgservers-torture
	target/release/omgservers-torture --strict --rounds $(ROUNDS) --seed $(SEED) --players $(PLAYERS) --entries $(ENTRIES) $(if $(EMBEDDED),--embedded)

soak: setup ## An hour of ordinary load, and whether memory, descriptors and tables stay as they are; MINUTES=n
	cargo build --locked --release --bin omgservers
	cargo run --locked --release -p omgservers-tests --example soak -- --minutes $(MINUTES)

fuzz: ## The fuzz targets, SECONDS=60 for each; needs cargo-fuzz and a C++ compiler
	@scripts/fuzz.sh $(SECONDS)

clean-data: ## Delete ./data: the database, the images, the keys
	@if [ -e data/lock ] && ! flock -n data/lock true; then echo "a server uses ./data: stop it first" >&2; exit 1; fi
	rm -rf data

help: ## Show this
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || \
		sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)
