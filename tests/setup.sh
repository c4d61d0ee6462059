#!/bin/sh
# Installs what the build, the tests or the demo need and this machine lacks (Debian 12).
# Usage: setup.sh [build|test|demo|vm|bench|fleet|bytes]…; quick where everything is there.
set -eu

missing=
need() { # need COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need_file() { # need_file PATH PACKAGE
	[ -e "$1" ] || missing="$missing $2"
}

for purpose in "${@:-build}"; do
	case $purpose in
	build)
		need gcc gcc
		need_file /usr/include/stdio.h libc6-dev
		need make make
		need pkg-config pkg-config
		;;
	test)
		need dbus-daemon dbus-daemon
		need dbus-send dbus-bin
		need setpriv util-linux
		need ps procps
		need g++ g++
		need readelf binutils
		need patchelf patchelf
		need eu-strip elfutils
		need dpkg-deb dpkg
		need newuidmap uidmap
		need ip iproute2
		need xz xz-utils
		need zstd zstd
		need busybox busybox-static
		need mke2fs e2fsprogs
		need mount mount
		need perl perl
		need signify-openbsd signify-openbsd
		need needrestart needrestart
		need checkrestart debian-goodies
		need lsof lsof
		need python3 python3
		need nsenter util-linux
		need_file /usr/include/sqlite3.h libsqlite3-dev
		;;
	demo)
		need dbus-daemon dbus-daemon
		need curl curl
		need perl perl
		need ip iproute2
		;;
	vm)
		need qemu-system-x86_64 qemu-system-x86
		need mmdebstrap mmdebstrap
		need mke2fs e2fsprogs
		;;
	bench)
		need needrestart needrestart
		need checkrestart debian-goodies
		need ostree ostree
		need /usr/bin/time time
		need dbus-daemon dbus-daemon
		need pgrep procps
		need mmdebstrap mmdebstrap
		need python3 python3
		need objcopy binutils
		need /usr/bin/time time
		need perl perl
		;;
	fleet)
		need nginx nginx
		need python3 python3
		;;
	bytes)
		need nginx nginx
		need rsync rsync
		need ostree ostree
		need casync casync
		need zck zchunk
		need dpkg-deb dpkg
		;;
	*)
		echo "setup.sh: unknown purpose $purpose" >&2
		exit 2
		;;
	esac
done

command -v cargo >/dev/null 2>&1 || {
	echo "setup.sh: no cargo; install a Rust toolchain (1.95 or newer), for example with rustup" >&2
	exit 1
}

if [ -n "$missing" ]; then
	[ "$(id -u)" = 0 ] || {
		echo "setup.sh: these Debian packages are missing:$missing; install them, or run this as root" >&2
		exit 1
	}
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q -o DPkg::Lock::Timeout=300 update
	# shellcheck disable=SC2086
	apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing
fi

# The demo and the importer's tests read apt's own lists; without them apt knows no package.
case " $* " in
*" demo "* | *" test "* | *" bench "*)
	if [ -z "$(apt-cache madison libssl3 2>/dev/null)" ]; then
		apt-get -q -o DPkg::Lock::Timeout=300 update
	fi
	;;
esac
