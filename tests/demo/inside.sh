#!/bin/bash
# The part of the demo that runs inside the sandbox: inside.sh OLD NEW PACKAGES
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/demo/show.sh
. "$here/show.sh"
old=$1 new=$2 packages=$3
daemons=(nginx redis-server memcached cron)

pid_of() { pkgtool --json ps | tr '{' '\n' | sed -n "s/.*\"name\":\"$1\".*\"pid\":\([0-9]*\).*/\1/p"; }

# Which objects of libssl and libcrypto a process has mapped, as device:inode.
mapped() { awk '$6 ~ /lib(ssl|crypto)\.so/ { print $4 ":" $5 }' "/proc/$1/maps" | sort -u | tr '\n' ' '; }

# What the libcrypto that a process has mapped says of itself: "OpenSSL 3.0.20".
openssl() {
	local path inode file
	read -r inode path < <(awk '$6 ~ /libcrypto\.so/ { print $5, $6; exit }' "/proc/$1/maps") || return 0
	file=/proc/$1/root$path
	[ "$(stat -Lc %i "$file")" = "$inode" ] || fail "$path in the view of process $1 is not what it has mapped"
	grep -ao 'OpenSSL 3\.[0-9]*\.[0-9]*' "$file" | sort -u | head -n 1
}

serve() {
	curl -fsS --max-time 5 http://127.0.0.1/ | grep -qi '<title>' || fail "nginx does not answer"
	[ "$(ask 6379 'PING\r\n')" = "+PONG" ] || fail "redis does not answer"
	[[ $(ask 11211 'version\r\n') == VERSION* ]] || fail "memcached does not answer"
	good "nginx serves a page, redis says PONG, memcached tells its version"
}
ask() { # ask PORT REQUEST: the first line of the answer
	local line
	exec 3<>"/dev/tcp/127.0.0.1/$1"
	printf "%b" "$2" >&3
	IFS= read -r -t 5 line <&3
	exec 3>&-
	printf '%s' "${line%$'\r'}"
}

# Compares each daemon's pid and libraries with what they were; the plan's word is in $reached.
prove() {
	local name before after
	for name in "${daemons[@]}"; do
		before=${pids[$name]} after=$(pid_of "$name")
		if grep -qx "$name" <<<"$reached"; then
			[ "$before" != "$after" ] || fail "$name was named by the plan and did not restart"
			[ "$(mapped "$after")" != "${maps[$name]}" ] || fail "$name still maps the old libraries"
			good "$name restarted (pid $before → $after): ${texts[$name]} → $(openssl "$after")"
		else
			[ "$before" = "$after" ] || fail "$name was not named by the plan and restarted"
			[ "$(mapped "$after")" = "${maps[$name]}" ] || fail "$name's libraries changed under it"
			good "$name kept pid $after"
		fi
	done
}
remember() {
	local name
	for name in "${daemons[@]}"; do
		pids[$name]=$(pid_of "$name")
		maps[$name]=$(mapped "${pids[$name]}")
		texts[$name]=$(openssl "${pids[$name]}")
	done
}
# The processes that the plan names, one a line.
restarted_by() { pkgtool --json plan "$@" | tr '{' '\n' | sed -n 's/.*"name":"\([^"]*\)".*"verdict":"restart".*/\1/p'; }

declare -A pids maps texts
title "The store"
show "pkgtool add packages/*.pkg" pkgtool add "$packages"/*.pkg

title "The daemons, on libssl3 $old"
# The node's /etc begins as this machine's, which may have modules configured that the node does not get.
rm -rf --one-file-system "$CHANGEOVER_ROOT/etc/nginx"
run pkgtool activate --yes "${daemons[@]}" "libssl3=$old"
run pkgtool ps
serve

title "What would libssl3 $new reach, and why?"
run pkgtool plan activate "libssl3=$new"
reached=$(restarted_by activate "libssl3=$new")
[ -n "$reached" ] || fail "the plan names no process"
remember
declare -A first
for name in "${daemons[@]}"; do first[$name]=${maps[$name]}; done

title "Take it"
run_after_plan "the plan, as above" pkgtool activate --yes "libssl3=$new"
run pkgtool ps
say "What /proc/PID/maps says:"
prove
serve

title "And take it back"
reached=$(restarted_by deactivate "libssl3=$new")
remember
run_after_plan "the plan, the other way round" pkgtool deactivate --yes "libssl3=$new"
prove
for name in "${daemons[@]}"; do
	[ "$(mapped "$(pid_of "$name")")" = "${first[$name]}" ] || fail "$name does not map what it mapped at first"
done
good "all map the very files that they mapped at first"
serve
run pkgtool history
good "done: the node runs libssl3 $old again"
