#!/bin/bash
# Speed and memory side by side with the named peers, in one run; nothing here passes or fails.
# Usage: bench.sh [plan|signature|packages|changeover|votes]…; all of them without an argument.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# What measures alone is built beside the daemons, as examples.
PATH=$(dirname "$(command -v pkgtool)")/examples:$PATH
work=$(mktemp -d /tmp/changeover-bench.XXXXXX)
children=()
cleanup() {
	for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap cleanup EXIT

title() { printf '\n== %s\n' "$*"; }
row() { printf '  %-44s %s\n' "$1" "$2"; }
# timed COMMAND…: "SECONDS KIB" in $result, of the fastest of three runs; $before is run before each
timed() {
	local runs=()
	for _ in 1 2 3; do
		$before
		/usr/bin/time -o "$work/time" -f '%e %M' "$@" >"$work/out" 2>&1 || {
			tail -n 5 "$work/out" >&2
			printf 'bench.sh: this failed: %s\n' "$*" >&2
			return 1
		}
		runs+=("$(tail -n 1 "$work/time")")
	done
	result=$(printf '%s\n' "${runs[@]}" | sort -n | head -n 1)
}
before=true
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / (b > 0 ? b : 0.01) }'; }
measure() { printf '%6.2f s, peak %5.1f MiB' "${1% *}" "$(awk -v kib="${1#* }" 'BEGIN { print kib / 1024 }')"; }

bench_plan() {
	title "Plan: 10,000 processes, 5,000 libraries, 100,000 files; then ten times that"
	plan_speed
	local i
	for ((i = 0; i < 200; i++)); do
		sleep 1000 &
		children+=($!)
	done
	timed needrestart -b -r l || true
	row "needrestart -b, 200 more processes" "${result% *} s"
	# ldd fails for scripts; they are among the 200 as among a machine's services.
	timed sh -c 'find /usr/bin /usr/sbin -type f -perm -100 | sort | head -n 200 | xargs -n 1 ldd; true'
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
	title "build and add of a 1 GiB tree of 20,000 files; the fastest of three runs"
	tree
	timed dpkg-deb --root-owner-group --build -Zzstd "$work/tree" "$work/big.deb"
	local dpkg_build=$result
	row "dpkg-deb --build -Zzstd" "$(measure "$result")"
	before=new_repository
	timed ostree --repo="$work/repo" commit --branch=big "$work/tree"
	before=true
	local ostree_commit=$result
	row "ostree commit" "$(measure "$result")"
	timed pkgtool build "$work/package.toml" -o "$work/big.pkg"
	row "pkgtool build" "$(measure "$result")"
	row "  ratio to dpkg-deb, to ostree commit" \
		"$(ratio "${result% *}" "${dpkg_build% *}"), $(ratio "${result% *}" "${ostree_commit% *}")"

	before=new_admin
	timed dpkg --root="$work/admin" --force-not-root -i "$work/big.deb"
	local dpkg_install=$result
	row "dpkg -i" "$(measure "$result")"
	before=no_checkout
	timed sh -c "ostree --repo='$work/repo' checkout -U big '$work/checkout' && sync -f '$work/checkout'"
	before=no_checkout; $before
	before=true
	local ostree_checkout=$result
	row "ostree checkout" "$(measure "$result")"
	for _ in 1 2 3; do
		pkgtool --quiet sandbox -- "$here/add.sh" "$work/big.pkg" >>"$work/add.out"
	done
	result=$(sort -n "$work/add.out" | head -n 1)
	row "pkgtool add (memory: installd)" "$(measure "$result")"
	row "  ratio to dpkg -i, to ostree checkout" \
		"$(ratio "${result% *}" "${dpkg_install% *}"), $(ratio "${result% *}" "${ostree_checkout% *}")"
}
new_repository() { rm -rf "$work/repo" && ostree --repo="$work/repo" init --mode=bare; }
no_checkout() { rm -rf "$work/checkout"; }
new_admin() {
	rm -rf "$work/admin"
	mkdir -p "$work/admin/var/lib/dpkg/"{info,updates} && touch "$work/admin/var/lib/dpkg/"{status,available}
}

bench_changeover() {
	title "Changeover reaching N trivial processes, against a bare loop that stops and starts them"
	local n
	gcc -O2 -o "$work/floor" "$here/floor.c"
	for n in 1 10 100; do
		"$here/trivial.sh" "$work/trivial-$n" "$n"
		CHANGEOVER_SETTLING=0 pkgtool --quiet sandbox -- "$here/changeover.sh" "$work/trivial-$n" "$n" "$work/floor"
	done
	if [ -d /run/systemd/system ]; then
		beside_systemd
	else
		row "systemctl restart of as many units" "skipped: systemd does not run here; make bench-vm measures it"
	fi
}

bench_votes() {
	title "Asking N registered processes whether a change may happen; one objects"
	local n
	for n in 1 10 100; do
		"$here/voters.sh" "$work/voters-$n" "$n"
		pkgtool --quiet sandbox -- "$here/votes.sh" "$work/voters-$n" "$n"
	done
}

# As many trivial units, restarted by one command; they go again at the end.
beside_systemd() {
	local n i units
	for n in 1 10 100; do
		units=()
		for ((i = 1; i <= n; i++)); do
			units+=("changeover-bench-$i.service")
			systemd-run --quiet --unit="changeover-bench-$i" sleep infinity
		done
		timed systemctl restart "${units[@]}"
		row "systemctl restart, $n" "${result% *} s"
		systemctl stop "${units[@]}"
	done
}

for part in "${@:-plan signature packages changeover votes}"; do
	for one in $part; do "bench_$one"; done
done
