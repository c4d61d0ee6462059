#!/bin/bash
# Builds packages into DIRECTORY: a C library of the machine's, a small library in two versions, and N
# Self-Managing processes that require its package and link nothing of it. Usage: voters.sh DIRECTORY N
set -euo pipefail
dir=$1 n=$2
"$(dirname "$0")/trivial.sh" "$dir" 1
cd "$dir"
rm trivial.pkg
multiarch=$(gcc -print-multiarch)

mkdir -p runtime voters
cp -L "/lib/$multiarch/libgcc_s.so.1" "/lib/$multiarch/libm.so.6" runtime/
cat >runtime/package.toml <<-TOML
	[package]
	name = "runtime"
	version = "1"
	requires = ["base"]
	[files]
	"*.so.*" = "/usr/lib/$multiarch/"
TOML
pkgtool build runtime/package.toml -o runtime.pkg >/dev/null

cp "$(command -v voter)" voters/
{
	printf '[package]\nname = "voters"\nversion = "1"\nrequires = ["libanswer", "runtime"]\n[files]\n"voter" = "/usr/bin/"\n'
	for ((i = 1; i <= n; i++)); do
		printf '[[process]]\nname = "voter%s"\nkind = "self-managing"\nexec = ["/usr/bin/voter", "%s/voter%s"]\n' "$i" "$dir" "$i"
	done
} >voters/package.toml
pkgtool build voters/package.toml -o voters.pkg >/dev/null
