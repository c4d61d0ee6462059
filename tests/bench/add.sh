#!/bin/bash
# Inside a sandbox: times `pkgtool add` and the daemon's peak memory. Usage: add.sh PACKAGE
set -euo pipefail
from=$(date +%s.%N)
pkgtool add "$1" >/dev/null
to=$(date +%s.%N)
daemon=$(pgrep -x installd)
peak=$(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")
printf '  %-44s %.2f %s\n' "pkgtool add" "$(awk -v a="$from" -v b="$to" 'BEGIN { print b - a }')" "$peak"
