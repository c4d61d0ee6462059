#!/bin/sh
# Fetches the packages of the two trees: bytes-trees.sh DIRECTORY
# DIRECTORY/{base,a,b} get *.deb: the release as it was, with OpenSSL and Python of the security
# archive, with PostgreSQL, Node, OpenJDK and the kernel of it too. DIRECTORY/versions says which.
set -eu
out=$1
mkdir -p "$out/base" "$out/a" "$out/b"

small="openssl libssl3 libssl-dev python3.11 python3.11-minimal libpython3.11-minimal
libpython3.11-stdlib libpython3.11"
large="postgresql-15 postgresql-client-15 libpq5 nodejs libnode108 openjdk-17-jre-headless"
rest="perl-base perl-modules-5.36 libperl5.36 git vim-runtime libicu72 libllvm14 bash coreutils
libc6 libstdc++6 systemd python3-numpy firmware-linux-free gcc-12 cpp-12 g++-12"

# version PACKAGE SUITE: what the suite has of it, the newest where it has several
version() {
	apt-cache madison "$1" | awk -F' *[|] *' -v suite="$2/main" '$3 ~ suite " amd64" { print $2; exit }'
}

# take DIRECTORY SUITE PACKAGE…: one archive of each, of main where the suite has none
take() {
	into=$1 suite=$2
	shift 2
	for package; do
		found=$(version "$package" "$suite")
		[ -n "$found" ] || found=$(version "$package" bookworm)
		[ -n "$found" ] || { echo "no $package in bookworm" >&2; continue; }
		echo "$package $found" >>"$into.versions.new"
		name=$(echo "$found" | sed 's/:/%3a/g')
		set -- "$@"
		ls "$into/${package}_${name}"_*.deb >/dev/null 2>&1 ||
			(cd "$into" && apt-get download -qq "$package=$found")
	done
	mv "$into.versions.new" "$into.versions"
}

# The kernel's package has its ABI in its name.
kernel() {
	apt-cache show "linux-image-amd64=$(version linux-image-amd64 "$1")" |
		sed -n 's/^Depends: \(linux-image-[^ ]*\).*/\1/p' | head -1
}

rm -f "$out"/*.versions.new
# shellcheck disable=SC2086 # lists of words
{
	take "$out/base" bookworm $small $large $rest "$(kernel bookworm)"
	take "$out/a" bookworm-security $small
	take "$out/b" bookworm-security $large "$(kernel bookworm-security)"
}
