#!/bin/bash
# Bytes on the wire for two updates of one tree, beside rsync, ostree, casync and zchunk.
# bytes.sh WORK [METHOD…]: `bytes`, `pkgtool` and the peers are in PATH; WORK is kept between runs.
# Bytes are what the web server says that it sent, heads included; of rsync its own statistics.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
methods=("${@:-ours}")
[ $# -gt 0 ] || methods=(ours ostree casync zchunk rsync)
port=8471 rsync_port=8473
out=$work/out
mkdir -p "$out" "$work/www"

say() { printf '%s\t%s\t%s MB\t%s requests\t%s s\t%s\n' "$@"; }

prepare() {
	[ -e "$work/debs/b.versions" ] || "$here/bytes-trees.sh" "$work/debs"
	for tree in base a b; do
		[ -d "$work/pkg/$tree" ] || pkgtool import-deb -o "$work/pkg/$tree" "$work/debs/$tree"/*.deb >/dev/null
	done
	[ -s "$work/home/b" ] || "$here/bytes-store.sh" "$work/pkg" "$work/home" "${OFFER_SECONDS:-900}"
}

# The same files for the peers.
trees() {
	[ ! -e "$work/tree/b.done" ] || return 0
	for tree in base a b; do
		mkdir -p "$work/tree"
		while read -r package; do
			deb=$(basename "$package" .pkg)
			dpkg -x "$(ls "$work"/debs/*/"${deb}"_*.deb | head -1)" "$work/tree/$tree"
		done <"$work/home/$tree.packages"
		touch "$work/tree/$tree.done"
	done
}

serve() {
	cat >"$work/nginx.conf" <<EOF
daemon on; pid $work/nginx.pid; error_log $work/nginx.err; user root; worker_processes 1;
events { worker_connections 512; }
http {
  log_format count '\$status \$bytes_sent \$request_length \$uri';
  access_log $work/access.log count; max_ranges 10000; keepalive_requests 100000;
  client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
  uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
  server { listen 127.0.0.1:$port; root $work/www; location / { limit_rate ${LIMIT:-0}; } }
}
EOF
	ln -sfn "$work/home/public" "$work/www/ours"
	nginx -c "$work/nginx.conf" -p "$work" 2>/dev/null
	trap unserve EXIT
}

unserve() {
	[ ! -e "$work/nginx.pid" ] || kill "$(cat "$work/nginx.pid")"
	[ ! -e "$work/rsyncd.pid" ] || kill "$(cat "$work/rsyncd.pid")"
	trap - EXIT
}

# count NAME TREE COMMAND…: runs it, and says what the server sent meanwhile
count() {
	local name=$1 tree=$2 began ended
	shift 2
	: >"$work/access.log"
	began=$(date +%s.%N)
	"$@" >"$out/$name.$tree" 2>&1 || { echo "$name $tree failed: $(tail -3 "$out/$name.$tree")"; return 0; }
	ended=$(date +%s.%N)
	say "$name" "$tree" "$(awk '{ n += $2 } END { printf "%.2f", n / 1e6 }' "$work/access.log")" \
		"$(wc -l <"$work/access.log")" "$(echo "$ended $began" | awk '{ printf "%.1f", $1 - $2 }')" \
		"$(tail -1 "$out/$name.$tree" | grep -o 'rss-kib.*' || true)"
}

run=
fetch() { # fetch LIST FROM|- HAVE SPOOL; with run=exec the process that calls it becomes it
	$run bytes fetch "http://127.0.0.1:$port/ours" "$1" "$2" "$work/home/$1.wants" "$3" "$4"
}

# Killed ten times at random, then left to end; the journal's directory is all that stays.
killed() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		run=exec fetch "$@" &
		sleep "0.$((RANDOM % 9 + 1))"
		kill -KILL $! 2>/dev/null || true
		wait $! 2>/dev/null || true
	done
	fetch "$@"
}

ours() {
	local base a
	base=$(cat "$work/home/base")
	rm -rf "$work/spool"
	[ -d "$work/had" ] || fetch "$base" - "$work/none" "$work/had" >"$out/ours.full"
	for tree in a b; do
		a=$(cat "$work/home/$tree")
		count ours "$tree" fetch "$a" "$base" "$work/had" "$work/spool/$tree"
		rm -rf "$work/spool"
	done
	unserve
	LIMIT=${KILL_LIMIT:-3m} serve
	for tree in a b; do
		a=$(cat "$work/home/$tree")
		count "ours, killed 10 times" "$tree" killed "$a" "$base" "$work/had" "$work/spool/$tree"
		rm -rf "$work/spool"
	done
	unserve
	serve
}

ostree() {
	local to
	if [ ! -e "$work/www/ostree/refs/heads/b" ]; then
		rm -rf "$work/www/ostree"
		command ostree init --repo="$work/www/ostree" --mode=archive
		for tree in base a b; do
			command ostree commit --repo="$work/www/ostree" -b "$tree" --canonical-permissions "$work/tree/$tree" >/dev/null
		done
	fi
	for to in a b; do
		rm -rf "$work/ostree-node"
		command ostree init --repo="$work/ostree-node" --mode=bare-user-only
		command ostree remote add --repo="$work/ostree-node" --no-gpg-verify o "http://127.0.0.1:$port/ostree"
		command ostree pull --repo="$work/ostree-node" o base >/dev/null
		count ostree "$to" command ostree pull --repo="$work/ostree-node" o "$to"
	done
	rm -rf "$work/ostree-node"
}

casync() {
	local to
	mkdir -p "$work/www/casync"
	for to in a b; do
		[ -e "$work/www/casync/$to.caidx" ] || command casync make --without=privileged \
			--store="$work/www/casync/default.castr" "$work/www/casync/$to.caidx" "$work/tree/$to" >/dev/null
		rm -rf "$work/casync-node"
		count casync "$to" command casync extract --without=privileged --seed="$work/tree/base" \
			"http://127.0.0.1:$port/casync/$to.caidx" "$work/casync-node"
	done
	rm -rf "$work/casync-node"
}

zchunk() {
	local to
	mkdir -p "$work/www/zchunk"
	for to in base a b; do
		[ -e "$work/www/zchunk/$to.tar.zck" ] && continue
		tar -C "$work/tree/$to" --sort=name --mtime=@0 -cf "$work/www/zchunk/$to.tar" .
		(cd "$work/www/zchunk" && zck "$to.tar" && rm "$to.tar")
	done
	for to in a b; do
		rm -rf "$work/zchunk-node"
		mkdir "$work/zchunk-node"
		count zchunk "$to" sh -c "cd '$work/zchunk-node' && zckdl -s '$work/www/zchunk/base.tar.zck' 'http://127.0.0.1:$port/zchunk/$to.tar.zck'"
	done
	rm -rf "$work/zchunk-node"
}

rsync() {
	local to began
	printf 'use chroot = no\npid file = %s\n[trees]\npath = %s\n' "$work/rsyncd.pid" "$work/tree" >"$work/rsyncd.conf"
	command rsync --daemon --port=$rsync_port --address=127.0.0.1 --config="$work/rsyncd.conf"
	for to in a b; do
		rm -rf "$work/rsync-node"
		cp -a "$work/tree/base" "$work/rsync-node"
		began=$(date +%s.%N)
		command rsync -az --delete --stats --port=$rsync_port "127.0.0.1::trees/$to/" "$work/rsync-node" >"$out/rsync.$to"
		say rsync "$to" "$(sed -n 's/^Total bytes received: //p' "$out/rsync.$to" | tr -d , | awk '{ printf "%.2f", $1 / 1e6 }')" - \
			"$(echo "$(date +%s.%N) $began" | awk '{ printf "%.1f", $1 - $2 }')" ""
	done
	rm -rf "$work/rsync-node"
}

prepare
[ "${methods[*]}" = ours ] || trees
serve
echo "tree: $(wc -l <"$work/home/$(cat "$work/home/base").wants") distinct contents, $(
	awk '{ n += $2 } END { printf "%d", n / 1e6 }' "$work/home/$(cat "$work/home/base").wants") MB"
for method in "${methods[@]}"; do
	"$method"
done
