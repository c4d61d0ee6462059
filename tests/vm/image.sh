#!/bin/sh
# Makes the VM's root file system once: Debian 12 with its own kernel, systemd, D-Bus and AppArmor.
# Usage: image.sh DIRECTORY; leaves DIRECTORY/{root.ext4,vmlinuz,initrd.img}.
set -eu
out=$1
packages=systemd-sysv,dbus,udev,kmod,apparmor,libpam-systemd,iproute2,procps,linux-image-cloud-amd64,initramfs-tools

[ -e "$out/complete" ] && exit 0
mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# The machine's own apt sources of Debian itself: the same mirror, and no host name of ours.
sources=$(awk 'BEGIN { RS = ""; ORS = "\n\n" } /Suites: *bookworm/' \
	/etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$sources" ] || sources=$(grep -h ' bookworm' /etc/apt/sources.list)
printf '%s\n' "$sources" |
	mmdebstrap --quiet --variant=minbase --include="$packages" \
		--customize-hook='echo changeover-vm >"$1/etc/hostname"' \
		--customize-hook='chroot "$1" passwd -d root >/dev/null' \
		--customize-hook="upload $(dirname "$0")/payload.service /etc/systemd/system/payload.service" \
		--customize-hook='chroot "$1" systemctl --quiet enable payload.service' \
		bookworm "$work/root.tar" -

mkdir "$work/root"
tar -C "$work/root" -xf "$work/root.tar"
cp -L "$work/root/vmlinuz" "$out/vmlinuz"
cp -L "$work/root/initrd.img" "$out/initrd.img"
rm -f "$out/root.ext4"
mke2fs -q -t ext4 -d "$work/root" "$out/root.ext4" 3G
touch "$out/complete"
