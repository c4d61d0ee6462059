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

title "Which updates does Debian offer?"
mapfile -t versions < <(apt-cache madison libssl3 | awk '{ print $3 }' | sort -u | "$here/newest-first" | head -n 2)
[ "${#versions[@]}" = 2 ] || fail "apt offers only one version of libssl3; nothing to update to"
new=${versions[0]} old=${versions[1]}
say "libssl3 $old is what the fleet will run, libssl3 $new is the update."

title "Packages, from Debian's own, with all that they depend on"
cd "$cache"
run pkgtool import-deb --closure --cache debs -o packages-fleet nginx redis-server "libssl3=$old"
run pkgtool import-deb --cache debs -o packages-fleet "libssl3=$new"

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
	"$here/fleet-inside.sh" "$old" "$new" "$cache/packages-fleet" "$fleet/calls.pkg"
