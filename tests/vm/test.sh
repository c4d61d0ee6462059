#!/bin/bash
# Boots Debian 12's own kernel with systemd, installs the daemons there as units, and runs the
# checks of guest.sh in it. Usage: test.sh IMAGE-DIRECTORY; the binaries are found in PATH.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
image=$1
cache=${CHANGEOVER_DEMO_CACHE:-$here/../../.cache/demo}
mkdir -p "$cache"

mapfile -t versions < <(apt-cache madison libssl3 | awk '{ print $3 }' | sort -u |
	"$here/../demo/newest-first" | head -n 2)
new=${versions[0]} old=${versions[1]}
pkgtool import-deb --closure --cache "$cache/debs" -o "$cache/packages" \
	nginx redis-server memcached "libssl3=$old" >/dev/null
pkgtool import-deb --cache "$cache/debs" -o "$cache/packages" "libssl3=$new" >/dev/null

payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
mkdir "$payload/packages" "$payload/bin"
cp "$cache"/packages/*.pkg "$payload/packages/"
for binary in pkgtool installd sysmgrd; do
	cp "$(command -v "$binary")" "$payload/bin/"
	strip "$payload/bin/$binary"
done
example=$here/../../libselfmanage/examples/plugin-host
for version in 1 2; do
	make --silent -C "$example" VERSION=$version OUT="$payload/example-$version" \
		PROGRAM="$(dirname "$(command -v pkgtool)")/examples/plugin-host"
	for part in host plugins libgreeting; do
		pkgtool --quiet build "$payload/example-$version/$part" -o "$payload/packages/example-$part-$version.pkg"
	done
	rm -r "$payload/example-$version"
done
pkgtool --quiet keygen "$payload/vm" --comment "the test in the VM"
pkgtool --quiet sign --key "$payload/vm.sec" "$payload"/packages/*.pkg
rm "$payload/vm.sec"
cp -r "$here/../../packaging" "$payload/packaging"
cp "$here/guest.sh" "$payload/run.sh"
printf '%s %s\n' "$old" "$new" >"$payload/versions"
"$here/run.sh" "$image" "$payload"
