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
cd "$cache"
run pkgtool import-deb --closure --cache debs -o packages \
	nginx redis-server memcached cron "libssl3=$old"
run pkgtool import-deb --cache debs -o packages "libssl3=$new"

node=$(mktemp -d /tmp/changeover-demo.XXXXXX)
trap 'rm -rf "$node"' EXIT
title "A node of its own, in $node"
pkgtool sandbox --root "$node/root" -- "$here/inside.sh" "$old" "$new" "$cache/packages"
