#!/bin/bash
# Inside a sandbox: one library change that reaches N processes, against the bare loop.
# Usage: changeover.sh PACKAGES N FLOOR
set -euo pipefail
dir=$1 n=$2 floor=$3
export LD_LIBRARY_PATH=
pkgtool add "$dir"/*.pkg >/dev/null
pkgtool activate --yes base libanswer=1 trivial >/dev/null

# Without a process of its own: `date` takes as long as a step.
now() { echo "${EPOCHREALTIME/[.,]/}"; }
running() { pgrep -x trivial | sort; }
ours=() bare=()
for version in 2 1 2 1 2; do
	old=$(running)
	from=$(now)
	pkgtool activate --yes "libanswer=$version" >/dev/null
	ours+=($(($(now) - from)))
	new=$(running)
	if [ "$(wc -l <<<"$new")" != "$n" ] || [ -n "$(comm -12 <(echo "$old") <(echo "$new"))" ]; then
		echo "changeover.sh: libanswer=$version did not restart all $n processes" >&2
		exit 1
	fi
	bare+=("$(LD_LIBRARY_PATH="$dir/lib1" "$floor" "$n" "$dir/app/trivial")")
done
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
us=$(median "${ours[@]}") loop=$(median "${bare[@]}")
awk -v n="$n" -v us="$us" -v loop="$loop" 'BEGIN {
	printf "  %3d processes: activate %7.1f ms, bare loop %7.1f ms, ratio %.2f\n", n, us / 1000, loop, us / 1000 / loop }'
