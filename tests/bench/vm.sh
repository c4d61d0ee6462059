#!/bin/bash
# Boots Debian 12's own kernel with systemd and measures there: `activate` of a change that reaches N
# trivial processes, and `systemctl restart` of as many units. Usage: vm.sh IMAGE-DIRECTORY; the
# binaries are found in PATH.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
image=$1
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT

mkdir "$payload/bin"
for binary in pkgtool installd sysmgrd; do
	cp "$(command -v "$binary")" "$payload/bin/"
	strip "$payload/bin/$binary"
done
gcc -O2 -o "$payload/floor" "$here/floor.c"
for n in 1 10 100; do
	"$here/trivial.sh" "$payload/trivial-$n" "$n"
done
cp "$here/changeover.sh" "$payload/"
cp "$here/vm-guest.sh" "$payload/run.sh"
"$here/../vm/run.sh" "$image" "$payload"
