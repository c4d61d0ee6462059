#!/bin/bash
# The part of the demo that runs beside the fleet: fleet-inside.sh OLD NEW PACKAGES CALLS
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/demo/show.sh
. "$here/show.sh"
old=$1 new=$2 packages=$3 calls=$4
nodes=(edge1 edge2 lab1 lab2)

on() { pkgtool --quiet sandbox --root "$CHANGEOVER_NODES/$1" -- "${@:2}"; }
libssl_of() { on "$1" pkgtool --json status | grep -o '"libssl3=[^"]*"' | tr -d '"'; }
expect() { # expect NODE VERSION
	[ "$(libssl_of "$1")" = "libssl3=$2" ] || fail "$1 runs $(libssl_of "$1"), not libssl3=$2"
}
ends_with() { # ends_with CODE COMMAND…
	local code=0
	run "${@:2}" || code=$?
	[ "$code" = "$1" ] || fail "this was to end with exit code $1, not $code"
}

run pkgtool fleet nodes

title "Packages, and what is intended"
show "pkgtool fleet import packages/*.pkg calls.pkg" pkgtool fleet import "$packages"/*.pkg "$calls" | tail -n 1
run pkgtool fleet assign fleet "libssl3=$old" calls
run pkgtool fleet assign class/edge nginx
run pkgtool fleet assign class/lab redis-server
run pkgtool fleet update --all --yes --wait
for node in "${nodes[@]}"; do expect "$node" "$old"; done
good "every node runs libssl3 $old"
run pkgtool fleet classes

title "The update; on edge2 somebody is on the telephone"
touch "$CHANGEOVER_NODES/edge2/var/lib/call"
run pkgtool fleet assign fleet "libssl3=$new"
ends_with 3 pkgtool fleet update --all --yes --wait
for node in "${nodes[@]}"; do expect "$node" "$old"; done
good "one veto, and no node was touched"

title "The master is killed; it comes back and knows where it was"
update=$(pkgtool --json fleet status | grep -o '"rollouts":\[[0-9]*' | grep -o '[0-9]*$')
pkill -KILL -f -- "--config $CHANGEOVER_NODES/masterd.toml" || fail "no master to kill"
say "(its supervisor starts it again)"
for _ in $(seq 100); do pkgtool fleet status >/dev/null 2>&1 && break; sleep 0.1; done
run pkgtool fleet updates

title "The operator decides: only those that accept"
ends_with 8 pkgtool fleet decide "$update" --accepting --reason "edge2 follows at night" --wait
expect edge2 "$old"
for node in edge1 lab1 lab2; do expect "$node" "$new"; done
good "three nodes run libssl3 $new; edge2 was left alone"

title "And back"
run pkgtool fleet assign fleet "libssl3=$old"
run pkgtool fleet rollback "$update" --yes --wait
for node in "${nodes[@]}"; do expect "$node" "$old"; done
run pkgtool fleet audit
good "done: every node runs libssl3 $old again"
