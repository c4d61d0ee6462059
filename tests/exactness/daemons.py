"""The daemons that run while the updates come: real ones, of different make."""

from dataclasses import dataclass

@dataclass(frozen=True)
class Daemon:
    """How one daemon is known and run."""

    unit: str  # its process on our node: the name of its unit
    comm: str  # its name in /proc
    command: str  # what starts it in the peers' root, on a port that is free


# By Debian package.
DAEMONS = {
    "nginx": Daemon("nginx", "nginx", "nginx -g 'daemon off;'"),
    "redis-server": Daemon("redis-server", "redis-server", "redis-server --port 6400 --daemonize no"),
    "memcached": Daemon("memcached", "memcached", "memcached -u memcache -p 11400"),
    "haproxy": Daemon("haproxy", "haproxy", "haproxy -W -f /exactness/haproxy.cfg"),
    "unbound": Daemon("unbound", "unbound", "unbound -d -p -c /exactness/unbound.conf"),
    "rsyslog": Daemon("rsyslog", "rsyslogd", "rsyslogd -n -iNONE"),
    "cron": Daemon("cron", "cron", "cron -f"),
    "openssh-server": Daemon("ssh", "sshd", "/usr/sbin/sshd -D -p 2200"),
    "dnsmasq": Daemon("dnsmasq", "dnsmasq", "dnsmasq -k -u root -p 5300"),
    "mosquitto": Daemon("mosquitto", "mosquitto", "mosquitto -p 1880"),
    "rsync": Daemon("rsync", "rsync", "rsync --daemon --no-detach --port 8730 --config=/dev/null"),
    "vsftpd": Daemon(
        "vsftpd", "vsftpd", "vsftpd -obackground=NO -olisten=YES -olisten_ipv6=NO -olisten_port=2100"),
}

# What the daemons' scripts and configurations want and their packages only recommend or take for
# granted.
BESIDES = ["coreutils", "dash", "dns-root-data", "grep", "libc-bin", "procps", "sed", "util-linux"]

# Configuration on our node: two name servers cannot have one port.
CONFIGURATION = {
    "/etc/dnsmasq.d/exactness.conf": "port=5300\n",
    "/etc/unbound/unbound.conf.d/exactness.conf": "server:\n  port: 5301\n",
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
    for daemon in DAEMONS.values():
        lines.append(f"{daemon.command} >/dev/null 2>&1 </dev/null & pids=\"${{pids-}} $!\"")
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
