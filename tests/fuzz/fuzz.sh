#!/bin/sh
# Runs each fuzz target, or those named, for FUZZ_SECONDS (default 60) over the corpus. New inputs
# go below .cache/fuzz; one that fails is named, and belongs into tests/fuzz/corpus with its repair.
# cargo-fuzz wants a nightly compiler, or RUSTC_BOOTSTRAP=1 with a stable one.
set -eu
cd "$(dirname "$0")/../.."
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
export RUSTC_BOOTSTRAP="${RUSTC_BOOTSTRAP:-1}"
for target in ${*:-envelope manifest elf deb notify bus}; do
	found=".cache/fuzz/$target"
	mkdir -p "$found"
	cargo fuzz run --fuzz-dir tests/fuzz --sanitizer "${FUZZ_SANITIZER:-address}" "$target" \
		"$found" "tests/fuzz/corpus/$target" -- \
		-max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
		-print_final_stats=1
done
