#!/bin/bash
# The part of the demo that runs beside the fleet: fleet-inside.sh PACKAGES CALLS SSL NEW-SSL ZONES NEW-ZONES
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/demo/show.sh
. "$here/show.sh"
packages=$1 calls=$2
ssl=$3 new_ssl=$4 zones=$5 new_zones=$6

on() { pkgtool --quiet sandbox --root "$CHANGEOVER_NODES/$1" -- "${@:2}"; }
runs() { # runs SSL ZONES NODE…: what these nodes have in use
	local node set
	for node in "${@:3}"; do
		set=$(on "$node" pkgtool --json status)
		[[ $set == *"\"tzdata=$2\""* ]] || fail "$node does not run tzdata $2"
		[ "$node" = lab2 ] || [[ $set == *"\"libssl3=$1\""* ]] || fail "$node does not run libssl3 $1"
	done
}
# A new node's plan lists all that comes; the demo says only what changes.
packages_left_out() { "$@" 2>&1 | sed -u '/^  + /d'; }
ends_with() { # ends_with CODE COMMAND…
	local code=0
	show "${*:2}" packages_left_out "${@:2}" || code=$?
	[ "$code" = "$1" ] || fail "this was to end with exit code $1, not $code"
	say "(exit code $code)"
}
intend() { # intend SSL ZONES: nothing changes by it yet
	run pkgtool --quiet fleet assign fleet "tzdata=$2"
	run pkgtool --quiet fleet assign class/edge nginx calls "libssl3=$1"
	run pkgtool --quiet fleet assign node/lab1 redis-server "libssl3=$1"
}
kill_master() {
	pkill -KILL -f -- "masterd --config $CHANGEOVER_NODES/masterd.toml" || fail "no master to kill"
	say "(SIGKILL to masterd; its supervisor starts it again)"
}
await() { # await TEXT: until the update's document has it
	local _
	for _ in $(seq 300); do
		pkgtool --json fleet show "$update" 2>/dev/null | grep -q "$1" && return
		sleep 0.1
	done
	fail "update $update never said $1"
}

# A node's /etc begins as this machine's, which may have modules configured that the node does not get.
for node in edge1 edge2; do on "$node" rm -rf --one-file-system "$CHANGEOVER_NODES/$node/etc/nginx"; done
run pkgtool fleet nodes

title "Packages, and what is intended"
show "pkgtool fleet import packages/*.pkg calls.pkg" pkgtool fleet import "$packages"/*.pkg "$calls" | tail -n 1
intend "$ssl" "$zones"
ends_with 0 pkgtool fleet update --all --yes --wait
runs "$ssl" "$zones" edge1 edge2 lab1 lab2
good "all run libssl3 $ssl and tzdata $zones, asked and changed together"
run pkgtool fleet classes

title "The update; on edge2 somebody is on the telephone"
touch "$CHANGEOVER_NODES/edge2/var/lib/call"
intend "$new_ssl" "$new_zones"
ends_with 3 pkgtool fleet update --all --yes --wait
runs "$ssl" "$zones" edge1 edge2 lab1 lab2
good "one veto, and no node was touched"
update=$(pkgtool --json fleet status | grep -o '"rollouts":\[[0-9]*' | grep -o '[0-9]*$')

title "The operator decides: only those that accept. While they change, the master is killed"
(
	await '"changing"'
	kill_master
) &
ends_with 8 pkgtool fleet decide "$update" --accepting --reason "edge2 follows at night" --wait
wait $!
runs "$ssl" "$zones" edge2
runs "$new_ssl" "$new_zones" edge1 lab1 lab2
good "three nodes run libssl3 $new_ssl and tzdata $new_zones; edge2 was left alone"

title "And back"
run pkgtool fleet rollback "$update" --yes --wait
runs "$ssl" "$zones" edge1 edge2 lab1 lab2
show "pkgtool fleet audit | tail -n 8" pkgtool fleet audit | tail -n 8
good "done: all run libssl3 $ssl and tzdata $zones again"
