#!/bin/bash
# Builds three packages into DIRECTORY: a C library of the machine's, a small library in two
# versions, and N processes that use it. Usage: trivial.sh DIRECTORY N
set -euo pipefail
dir=$1 n=$2
mkdir -p "$dir"
cd "$dir"
multiarch=$(gcc -print-multiarch)

for version in 1 2; do
	mkdir -p "lib$version"
	printf 'int answer(void) { return %s; }\n' "$version" >"lib$version/answer.c"
	gcc -O2 -shared -fPIC -Wl,-soname,libanswer.so.1 -o "lib$version/libanswer.so.1" "lib$version/answer.c"
	cat >"lib$version/package.toml" <<-TOML
		[package]
		name = "libanswer"
		version = "$version"
		requires = ["base"]
		[files]
		"libanswer.so.1" = "/usr/lib/$multiarch/"
	TOML
	pkgtool build "lib$version/package.toml" -o "libanswer_$version.pkg" >/dev/null
done

mkdir -p base
cp -L "/lib/$multiarch/libc.so.6" base/
cp -L /lib64/ld-linux-x86-64.so.2 base/
cat >base/package.toml <<-TOML
	[package]
	name = "base"
	version = "1"
	[files]
	"libc.so.6" = "/usr/lib/$multiarch/"
	"ld-linux-x86-64.so.2" = "/usr/lib64/"
TOML
pkgtool build base/package.toml -o base.pkg >/dev/null

mkdir -p app
printf '#include <unistd.h>\nint answer(void);\nint main(void) { if (answer()) for (;;) pause(); return 1; }\n' >app/trivial.c
gcc -O2 -o app/trivial app/trivial.c lib1/libanswer.so.1
{
	printf '[package]\nname = "trivial"\nversion = "1"\nrequires = ["libanswer"]\n[files]\n"trivial" = "/usr/bin/"\n'
	for ((i = 1; i <= n; i++)); do
		printf '[[process]]\nname = "trivial%s"\nexec = ["/usr/bin/trivial"]\n' "$i"
	done
} >app/package.toml
pkgtool build app/package.toml -o trivial.pkg >/dev/null
