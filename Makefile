# Each target does all of its own set-up on a Debian 12 machine with a Rust toolchain.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := target/debug

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: build
build: ## Build the daemons and the command
	@tests/setup.sh build
	cargo build --quiet --workspace --bins

.PHONY: demo
demo: ## Run it on real Debian software: one library update, taken, seen and taken back
	@tests/setup.sh build demo
	cargo build --quiet --workspace --bins
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/demo/demo.sh

.PHONY: demo-fleet
demo-fleet: ## The same on a fleet: a master and four nodes, a veto, a decision, a dead master, the way back
	@tests/setup.sh build demo
	cargo build --quiet --workspace --bins
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/demo/fleet.sh

.PHONY: test
test: ## Run every test
	@tests/setup.sh build test
	cargo build --quiet --workspace --bins --examples
	cargo test --workspace --all-features

.PHONY: fuzz
fuzz: ## Fuzz everything that reads bytes from outside, FUZZ_SECONDS (60) each
	@tests/setup.sh build
	tests/fuzz/fuzz.sh

.PHONY: faults
faults: ## Kill daemons at every fault point, cut the power, break the disk, send hostile input
	@tests/setup.sh build test
	cargo build --quiet --workspace --bins --examples
	CHANGEOVER_FAULT_POINTS=all CHANGEOVER_CRASH_ROUNDS=200 CHANGEOVER_POWER_ROUNDS=50 \
		cargo test -p tests --no-fail-fast --test faults --test crash --test power --test power_state --test storage \
		--test bus --test hostile -- --nocapture
	tests/fuzz/fuzz.sh

.PHONY: faults-fleet
faults-fleet: ## Kill masters and nodes during 100 updates, pull cables, fill the master's disk, send what was not signed
	@tests/setup.sh build test
	cargo build --quiet --workspace --bins --examples
	CHANGEOVER_FLEET_ROUNDS=100 cargo test -p tests --no-fail-fast --test fleet_faults --test fleet_contact \
		--test fleet_members --test fleet_claims --test fleet_together -- --nocapture
	cargo test -p masterd --no-fail-fast --test hostile --test telling

.PHONY: lint
lint: ## Check format, lints and documentation
	@tests/setup.sh build test
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items

.PHONY: exactness
exactness: ## Compare restarts with needrestart and checkrestart over real Debian updates
	@tests/setup.sh build demo bench
	cargo build --quiet --workspace --bins --examples
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/exactness/exactness.py

.PHONY: bench
bench: ## Measure speed and memory side by side with the named peers
	@tests/setup.sh build demo bench
	cargo build --quiet --release -p installd -p sysmgrd -p pkgtool -p model -p selfmanage --bins \
		--example plan_speed --example signature_speed --example voter
	@PATH="$(CURDIR)/target/release:$$PATH" tests/bench/bench.sh

.PHONY: bench-bytes
bench-bytes: ## Count bytes on the wire for two updates, beside rsync, ostree, casync and zchunk
	@tests/setup.sh build bytes
	cargo build --quiet --release -p pkgtool --bins
	cargo build --quiet --release -p transfer --example bytes
	@PATH="$(CURDIR)/target/release:$(CURDIR)/target/release/examples:$$PATH" \
		tests/bench/bytes.sh .cache/bytes

.PHONY: bench-fleet
bench-fleet: ## Connect 1,000 and 10,000 simulated nodes to one master, beside bare TLS and nginx
	@tests/setup.sh build fleet
	cargo build --quiet --release -p masterd -p fleet-sim -p pkgtool --bins
	@PATH="$(CURDIR)/target/release:$$PATH" tests/bench/fleet.sh $(NODES)

.PHONY: bench-vm
bench-vm: ## Measure a changeover against systemctl restart, on Debian 12's own kernel in QEMU
	@tests/setup.sh build bench vm
	cargo build --quiet --release -p installd -p sysmgrd -p pkgtool --bins
	@tests/vm/image.sh .cache/vm
	@PATH="$(CURDIR)/target/release:$$PATH" tests/bench/vm.sh .cache/vm

.PHONY: test-vm
test-vm: ## Run the view, control-group, boot and demo tests on Debian 12's own kernel in QEMU
	@tests/setup.sh build demo vm
	cargo build --quiet --workspace --bins --examples
	@tests/vm/image.sh .cache/vm
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/vm/test.sh .cache/vm
