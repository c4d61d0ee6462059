"""The daemons that run while the updates come: real ones, of different make."""

# Debian package: (process name, command in the peers' root)
DAEMONS = {
    "nginx": ("nginx", "nginx -g 'daemon off;'"),
    "redis-server": ("redis-server", "redis-server --port 6400 --daemonize no"),
    "memcached": ("memcached", "memcached -u memcache -p 11400"),
    "haproxy": ("haproxy", "haproxy -W -f /exactness/haproxy.cfg"),
    "unbound": ("unbound", "unbound -d -p -c /exactness/unbound.conf"),
    "rsyslog": ("rsyslogd", "rsyslogd -n -iNONE"),
    "cron": ("cron", "cron -f"),
    "openssh-server": ("sshd", "/usr/sbin/sshd -D -p 2200"),
    "dnsmasq-base": ("dnsmasq", "dnsmasq -k -u root -p 5300"),
    "mosquitto": ("mosquitto", "mosquitto -p 1880"),
    "rsync": ("rsync", "rsync --daemon --no-detach --port 8730 --config=/dev/null"),
    "vsftpd": ("vsftpd", "vsftpd -obackground=NO -olisten=YES -olisten_ipv6=NO -olisten_port=2100"),
}

FILES = """
cat >/exactness/haproxy.cfg <<'END'
defaults
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
listen here
    bind 127.0.0.1:8880
END
printf 'server:\\n  port: 5301\\n  interface: 127.0.0.1\\n  chroot: ""\\n  username: ""\\n  auto-trust-anchor-file: ""\\n' \\
    >/exactness/unbound.conf
"""


def start_script():
    """A shell script that starts every daemon and waits until each has mapped its libraries."""
    lines = ["#!/bin/sh", FILES]
    for _, command in DAEMONS.values():
        lines.append(f"{command} >/dev/null 2>&1 </dev/null & pids=\"${{pids-}} $!\"")
    # A daemon has loaded its libraries when it waits for work: two looks, the same maps.
    lines.append("""
for p in $pids; do
    last=none
    while [ -e /proc/$p/maps ]; do
        now=$(cksum </proc/$p/maps)
        [ "$now" = "$last" ] && break
        last=$now
        sleep 0.3
    done
    [ -e /proc/$p/maps ] || echo "a daemon did not stay: $p" >&2
done
""")
    return "\n".join(lines)
