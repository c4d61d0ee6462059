#!/bin/bash
# Inside a sandbox: times `pkgtool add`; prints its seconds and the daemon's peak KiB. Usage: add.sh PACKAGE
set -euo pipefail
from=$(date +%s.%N)
pkgtool add "$1" >/dev/null
to=$(date +%s.%N)
daemon=$(pgrep -x installd | tail -n 1)
peak=$(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")
printf '%s %s\n' "$(awk -v a="$from" -v b="$to" 'BEGIN { printf "%.2f", b - a }')" "$peak"
