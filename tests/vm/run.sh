#!/bin/sh
# Boots the VM with a payload directory as its second disk and runs the payload's run.sh as root.
# Usage: run.sh IMAGE-DIRECTORY PAYLOAD-DIRECTORY; what run.sh prints goes to standard output, and
# its last line `exit: N` is this script's exit status.
set -eu
image=$1
payload=$2
limit=${VM_TIMEOUT:-900}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
size=$(($(du -sm "$payload" | cut -f1) * 5 / 4 + 16))
mke2fs -q -t ext4 -L payload -d "$payload" "$work/payload.ext4" "${size}M"

# Software emulation: it runs wherever the tests run, and boots in well under a minute.
timeout "$limit" qemu-system-x86_64 \
	-accel tcg,thread=multi -smp 2 -cpu max -m 2048 -nodefaults -display none -no-reboot \
	-kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
	-append 'root=/dev/vda rw console=ttyS0 systemd.show_status=false apparmor=1 security=apparmor quiet' \
	-drive "file=$image/root.ext4,if=virtio,format=raw,snapshot=on" \
	-drive "file=$work/payload.ext4,if=virtio,format=raw,snapshot=on" \
	-serial "file:$work/console" -serial "file:$work/output" || true

tr -d '\r' <"$work/output"
status=$(tr -d '\r' <"$work/output" | sed -n 's/^exit: \([0-9]*\)$/\1/p' | tail -n 1)
if [ -z "$status" ]; then
	echo "the machine gave no result within ${limit} s; the end of its console:" >&2
	tail -n 40 "$work/console" >&2
	exit 1
fi
exit "$status"
