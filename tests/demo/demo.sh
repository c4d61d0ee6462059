#!/bin/bash
# A real library update on real daemons: told beforehand, taken, proved, taken back.
# Run by `make demo`; everything happens in a sandbox node under a temporary directory.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/demo/show.sh
. "$here/show.sh"

cache=${CHANGEOVER_DEMO_CACHE:-$here/../../.cache/demo}
mkdir -p "$cache"
cache=$(readlink -f "$cache")

title "Which updates does Debian offer?"
mapfile -t versions < <(apt-cache madison libssl3 | awk '{ print $3 }' | sort -u | "$here/newest-first" | head -n 2)
[ "${#versions[@]}" = 2 ] || fail "apt offers only one version of libssl3; nothing to update to"
new=${versions[0]} old=${versions[1]}
say "libssl3 $old is what this node will run, libssl3 $new is the update."

title "Packages, from Debian's own, with all that they depend on"
options=(--cache "$cache/debs" -o "$cache/packages")
show "pkgtool import-deb --closure nginx redis-server memcached cron libssl3=$old" \
	pkgtool import-deb --closure "${options[@]}" nginx redis-server memcached cron "libssl3=$old"
show "pkgtool import-deb libssl3=$new" pkgtool import-deb "${options[@]}" "libssl3=$new"

node=$(mktemp -d /tmp/changeover-demo.XXXXXX)
trap 'rm -rf "$node"' EXIT
title "A node of its own, in $node"
pkgtool sandbox --root "$node/root" -- "$here/inside.sh" "$old" "$new" "$cache/packages"
