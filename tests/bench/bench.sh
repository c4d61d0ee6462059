#!/bin/bash
# Speed and memory side by side with the named peers, in one run; nothing here passes or fails.
# Usage: bench.sh [plan|signature|packages|changeover]…; all of them without an argument.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d /tmp/changeover-bench.XXXXXX)
children=()
cleanup() {
	for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap cleanup EXIT

title() { printf '\n== %s\n' "$*"; }
row() { printf '  %-44s %s\n' "$1" "$2"; }
# seconds COMMAND…: wall seconds and peak KiB, as "SECONDS KIB" in $result
timed() { result=$({ /usr/bin/time -f '%e %M' "$@" >"$work/out" 2>&1; } 2>&1; tail -n 1 "$work/out"); }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

bench_plan() {
	title "Plan: 10,000 processes, 5,000 libraries, 100,000 files; then ten times that"
	plan_speed
	local i
	for ((i = 0; i < 200; i++)); do
		sleep 1000 &
		children+=($!)
	done
	timed needrestart -b -r l
	row "needrestart -b, 200 more processes" "${result% *} s"
	timed sh -c 'find /usr/bin /usr/sbin -type f -perm -100 | head -n 200 | xargs -n 1 ldd'
	row "ldd over 200 programs" "${result% *} s"
}

bench_signature() {
	title "Signature, one core, files in the page cache"
	signature_speed
}

# A tree of 1 GiB in 20,000 files: half text-like, half already packed.
tree() {
	mkdir -p "$work/tree/usr/share/big"
	perl -e '
		srand(1); my $dir = shift; my $text = join "", map { "line $_ of a file that packs well\n" } 1 .. 1500;
		open my $random, "<", "/dev/urandom";
		for my $i (0 .. 19999) {
			my $sub = sprintf "%s/%02d", $dir, $i % 100; mkdir $sub;
			open my $file, ">", "$sub/$i" or die; my $bytes;
			if ($i % 2) { read $random, $bytes, 53687 } else { $bytes = substr("$i\n$text", 0, 53687) }
			print $file $bytes; close $file;
		}' "$work/tree/usr/share/big"
	mkdir -p "$work/tree/DEBIAN"
	printf 'Package: big\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a tree\n' \
		>"$work/tree/DEBIAN/control"
	printf '[package]\nname = "big"\nversion = "1"\nsummary = "a tree"\n\n[files]\n"tree/usr/share/big" = "/usr/share/big/"\n' \
		>"$work/package.toml"
}

bench_packages() {
	title "build and add of a 1 GiB tree of 20,000 files (seconds, peak KiB)"
	tree
	timed dpkg-deb --root-owner-group --build -Zzstd "$work/tree" "$work/big.deb"
	local dpkg_build=$result
	row "dpkg-deb --build -Zzstd" "$dpkg_build"
	timed ostree --repo="$work/repo" init --mode=bare
	timed ostree --repo="$work/repo" commit --branch=big "$work/tree"
	local ostree_commit=$result
	row "ostree commit" "$ostree_commit"
	timed pkgtool build "$work/package.toml" -o "$work/big.pkg"
	local ours=$result
	row "pkgtool build" "$ours"
	row "  ratio to dpkg-deb, to ostree" "$(ratio "${ours% *}" "${dpkg_build% *}") $(ratio "${ours% *}" "${ostree_commit% *}")"

	mkdir -p "$work/admin/var/lib/dpkg/"{info,updates} && touch "$work/admin/var/lib/dpkg/"{status,available}
	timed dpkg --root="$work/admin" --force-not-root -i "$work/big.deb"
	local dpkg_install=$result
	row "dpkg -i" "$dpkg_install"
	timed sh -c "ostree --repo='$work/repo' checkout -U big '$work/checkout' && sync -f '$work/checkout'"
	local ostree_checkout=$result
	row "ostree checkout" "$ostree_checkout"
	pkgtool sandbox --root "$work/add" -- "$here/add.sh" "$work/big.pkg" >"$work/add.out"
	cat "$work/add.out"
	ours=$(sed -n 's/.*pkgtool add *//p' "$work/add.out")
	row "  ratio to dpkg -i, to ostree checkout" "$(ratio "${ours% *}" "${dpkg_install% *}") $(ratio "${ours% *}" "${ostree_checkout% *}")"
}

bench_changeover() {
	title "Changeover reaching N trivial processes, against a bare loop that stops and starts them"
	local n
	gcc -O2 -o "$work/floor" "$here/floor.c"
	for n in 1 10 100; do
		"$here/trivial.sh" "$work/trivial-$n" "$n"
		pkgtool sandbox --root "$work/node-$n" -- \
			"$here/changeover.sh" "$work/trivial-$n" "$n" "$work/floor"
	done
}

for part in "${@:-plan signature packages changeover}"; do
	for one in $part; do "bench_$one"; done
done
