#!/bin/bash
# Runs inside the VM as root, see vm.sh. Its last line is `exit: N`.
set -uo pipefail
export PATH=/mnt/bin:$PATH LC_ALL=C.UTF-8
now() { echo "${EPOCHREALTIME/[.,]/}"; }

# As `ready` of the packages' processes is: a unit counts as started when its program runs.
cat >/run/systemd/system/trivial@.service <<-UNIT
	[Unit]
	StartLimitIntervalSec=0
	[Service]
	Type=exec
	Environment=LD_LIBRARY_PATH=/mnt/trivial-1/lib1
	ExecStart=/mnt/trivial-1/app/trivial
UNIT
systemctl daemon-reload

# restarts N: the median of five, in milliseconds
restarts() {
	local units=() times=() from i
	for ((i = 1; i <= $1; i++)); do units+=("trivial@$i.service"); done
	systemctl start "${units[@]}" || return 1
	for _ in 1 2 3 4 5; do
		from=$(now)
		systemctl restart "${units[@]}" || return 1
		times+=($(($(now) - from)))
	done
	systemctl stop "${units[@]}"
	printf '%s\n' "${times[@]}" | sort -n | awk 'NR == 3 { printf "%.1f", $1 / 1000 }'
}

status=0
for n in 1 10 100; do
	line=$(CHANGEOVER_SETTLING=0 pkgtool --quiet sandbox -- \
		/mnt/changeover.sh "/mnt/trivial-$n" "$n" /mnt/floor 2>/run/said) ||
		{ status=1; tail -n 5 /run/said; }
	echo "$line"
	ours=$(sed -n 's/.*activate *\([0-9.]*\) ms.*/\1/p' <<<"$line")
	theirs=$(restarts "$n") || status=1
	awk -v n="$n" -v ours="$ours" -v theirs="$theirs" 'BEGIN {
		printf "  %3d units: systemctl restart %7.1f ms; activate takes %.2f times as long\n", n, theirs,
			ours / (theirs > 0 ? theirs : 0.01) }'
done
echo "exit: $status"
