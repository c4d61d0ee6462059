#!/bin/bash
# A real library update on a fleet: asked first, vetoed, decided, the master killed in the middle, taken back.
# Run by `make demo-fleet`, as root; everything happens in a temporary directory and networks of its own.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/demo/show.sh
. "$here/show.sh"
[ "$(id -u)" = 0 ] || fail "the nodes have networks of their own, which root alone can make: sudo make demo-fleet"

cache=${CHANGEOVER_DEMO_CACHE:-$here/../../.cache/demo}
mkdir -p "$cache"
cache=$(readlink -f "$cache")

# newest PACKAGE: its two newest versions, the newer first
newest() { apt-cache madison "$1" | awk '{ print $3 }' | sort -u | "$here/newest-first" | head -n 2; }

title "Which updates does Debian offer?"
mapfile -t ssl < <(newest libssl3)
mapfile -t zones < <(newest tzdata)
[ "${#ssl[@]}${#zones[@]}" = 22 ] || fail "apt offers only one version of libssl3 or tzdata; nothing to update to"
say "libssl3: the fleet will run ${ssl[1]}, the update is ${ssl[0]}"
say "tzdata:  the fleet will run ${zones[1]}, the update is ${zones[0]}"

title "Packages, from Debian's own, with all that they depend on"
cd "$cache"
run pkgtool import-deb --closure --cache debs -o packages-fleet \
	nginx redis-server "libssl3=${ssl[1]}" "tzdata=${zones[1]}"
run pkgtool import-deb --cache debs -o packages-fleet "libssl3=${ssl[0]}" "tzdata=${zones[0]}"

fleet=$(mktemp -d /tmp/changeover-fleet.XXXXXX)
trap 'rm -rf --one-file-system "$fleet"' EXIT
mkdir "$fleet/voter"
title "A voter: a process that objects when a file says so"
cat >"$fleet/voter/package.toml" <<TOML
[package]
name = "calls"
version = "1"
summary = "Somebody may be on the telephone"
requires = ["libssl3", "coreutils", "dash"]
[files]
"may-change" = { to = "/usr/libexec/calls/", mode = "0755" }
[[process]]
name = "calls"
exec = ["/usr/bin/sleep", "infinity"]
evaluate = ["/usr/libexec/calls/may-change"]
TOML
cat >"$fleet/voter/may-change" <<'SH'
#!/bin/sh
[ ! -e /var/lib/call ] || { echo "call in progress"; exit 1; }
SH
chmod 755 "$fleet/voter/may-change"
run pkgtool build -o "$fleet/calls.pkg" "$fleet/voter/package.toml"

title "A master and four nodes"
pkgtool sandbox --root "$fleet/f" --fleet "$here/fleet.toml" -- \
	"$here/fleet-inside.sh" "$cache/packages-fleet" "$fleet/calls.pkg" \
	"${ssl[1]}" "${ssl[0]}" "${zones[1]}" "${zones[0]}"
