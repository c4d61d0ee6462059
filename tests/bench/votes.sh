#!/bin/bash
# Inside a sandbox: a change that N registered processes are asked about, and one of them objects to.
# Usage: votes.sh PACKAGES N
set -euo pipefail
dir=$1 n=$2
pkgtool add "$dir"/*.pkg >/dev/null
pkgtool activate --yes --json base runtime libanswer=1 voters >/dev/null
registered() { pkgtool --json ps | grep -o '"registered":true' | wc -l; }
for ((i = 0; i < 300; i++)); do
	[ "$(registered)" != "$n" ] || break
	sleep 0.1
done
[ "$(registered)" = "$n" ] || {
	echo "votes.sh: not all $n processes have registered" >&2
	exit 1
}
echo "veto measuring" >"$dir/voter1"
now() { date +%s%N; }
# From the first question to the last answer, of all processes.
between() {
	perl -MJSON::PP -e '
		my @all = map { @{ $_->{moments} // [] } } @{ decode_json($ARGV[1])->{processes} };
		die "not all were asked\n" unless $ARGV[0] == grep { $_->{what} eq "asked" } @all;
		my @at = sort { $a <=> $b } map { $_->{"at-ms"} } @all;
		print $at[-1] - $at[0], "\n"' "$n" "$1"
}
whole=() asked=()
for _ in 1 2 3 4 5 6 7; do
	from=$(now)
	report=$(pkgtool --json activate --yes libanswer=2 | tail -n 1) && exit 1
	whole+=($((($(now) - from) / 1000)))
	asked+=("$(between "$report")")
done
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
awk -v n="$n" -v whole="$(median "${whole[@]}")" -v asked="$(median "${asked[@]}")" 'BEGIN {
	printf "  %3d processes: first question to last answer %d ms; the whole command, plan to veto, %.1f ms\n", n, asked, whole / 1000 }'
