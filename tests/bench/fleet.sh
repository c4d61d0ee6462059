#!/bin/bash
# A fleet of thousands against one masterd, over real mutual TLS; prints figures, nothing here passes or fails.
# fleet.sh [NODES…] (1000 and 10000): `masterd`, `fleet-sim`, `pkgtool` and `nginx` are in PATH.
# Each number of nodes gets a fresh master; masterd and the nodes are two processes with NODES descriptors each.
set -euo pipefail
work=$(mktemp -d /tmp/changeover-fleet.XXXXXX)
master=
cleanup() {
	[ -z "$master" ] || kill "$master" 2>/dev/null || true
	[ ! -e "$work/nginx.pid" ] || kill "$(cat "$work/nginx.pid")" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap cleanup EXIT
ulimit -n "$(ulimit -Hn)"

package() {
	mkdir -p "$work/thing"
	echo "a file" >"$work/thing/file"
	cat >"$work/thing/package.toml" <<-TOML
		[package]
		name = "thing"
		version = "1"

		[files]
		"file" = "/usr/share/thing/"
	TOML
	pkgtool build "$work/thing" -o "$work/thing.pkg" >/dev/null
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_master() { # start_master DIR
	port=$(free_port)
	cat >"$1/masterd.toml" <<-TOML
		state-dir = "$1/state"
		listen = "127.0.0.1:$port"
		[limits]
		connections = 19000
		requests-per-second = 10000000
	TOML
	masterd init --config "$1/masterd.toml" --name localhost --profile "$1/operator.toml" >/dev/null
	masterd serve --config "$1/masterd.toml" >"$1/log" 2>&1 &
	master=$!
	export CHANGEOVER_FLEET=$1/operator.toml
	for _ in $(seq 100); do
		! pkgtool fleet status >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	cat "$1/log" >&2
	return 1
}

# A static answer of a check's size, with the master's own certificate, to nodes with theirs.
start_nginx() { # start_nginx DIR
	peer=$(free_port)
	cat >"$work/nginx.conf" <<-CONF
		daemon on; pid $work/nginx.pid; error_log $work/nginx.err; worker_processes 2;
		events { worker_connections 1024; }
		http {
		  access_log off; keepalive_requests 100000000; default_type application/json; server_tokens off;
		  client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
		  uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
		  server {
		    listen 127.0.0.1:$peer ssl; ssl_protocols TLSv1.3;
		    ssl_certificate $1/state/trust/server.pem; ssl_certificate_key $1/state/trust/server.key;
		    ssl_client_certificate $1/state/trust/ca.pem; ssl_verify_client on;
		    location / { return 200 '{"verdict":"go-on"}'; }
		  }
		}
	CONF
	nginx -c "$work/nginx.conf" -p "$work" 2>/dev/null
	for _ in $(seq 50); do [ ! -s "$work/nginx.pid" ] || break; sleep 0.1; done
}

measure() { # measure NODES
	local dir=$work/$1
	mkdir "$dir"
	start_master "$dir"
	start_nginx "$dir"
	pkgtool fleet import "$work/thing.pkg" >/dev/null
	local token
	token=$(pkgtool fleet --quiet tokens add --uses "$1" --within 1h)
	fleet-sim run --master "127.0.0.1:$port" --ca "$dir/state/trust/ca.pem" --pid "$master" --nodes "$1" \
		--identity "$dir/state/trust/server.pem" "$dir/state/trust/server.key" \
		--enrol-token "$token" --operator-token "$(sed -n 's/^token *= *"\(.*\)"/\1/p' "$dir/operator.toml")" \
		--package thing=1 --peer "127.0.0.1:$peer" --peer-pid "$(cat "$work/nginx.pid")" || {
		tail -n 5 "$dir/log" >&2
		return 1
	}
	kill "$master"
	wait "$master" || true
	master=
	kill "$(cat "$work/nginx.pid")"
	while [ -e "$work/nginx.pid" ]; do sleep 0.05; done
	rm -rf "$dir"
}

package
[ $# -gt 0 ] || set -- 1000 10000
for nodes in "$@"; do measure "$nodes"; done
