"""What needrestart and checkrestart say of an update, in a root file system of their own.

Each update gets a fresh set of daemons that run on its old packages; then dpkg unpacks the new
ones, as an upgrade would, and both tools are asked.
"""

import os
import re
import subprocess
from pathlib import Path

TOOLS = ["needrestart", "debian-goodies", "lsof", "procps", "iproute2", "perl", "python3-minimal"]


def make_root(root, packages):
    """Installs the daemons and the two tools below `root`, once."""
    root = Path(root)
    if (root / "complete").exists():
        return
    remove(root)
    sources = debian_sources()
    include = ",".join([*packages, *TOOLS])
    # policy-rc.d: nothing starts by itself in there.
    policy = 'mkdir -p "$1/usr/sbin"; printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
    # Namespaces of its own: what a package starts or mounts while it is installed ends with it.
    subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", f"--extract-hook={policy}",
         "bookworm", root, "-"],
        input=sources, text=True, check=True)  # fmt: skip
    (root / "complete").touch()


def remove(directory):
    """Removes a tree, but nothing that is mounted in it."""
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)


def debian_sources():
    """The machine's own apt sources of Debian itself."""
    texts = [p.read_text() for p in sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))]
    stanzas = [s for text in texts for s in text.split("\n\n") if re.search(r"^Suites: *bookworm", s, re.M)]
    if stanzas:
        return "\n\n".join(stanzas) + "\n"
    lines = Path("/etc/apt/sources.list").read_text().splitlines()
    return "\n".join(line for line in lines if " bookworm" in line) + "\n"


INSIDE = r"""
set -u
mount -t proc proc /proc
ip link set lo up
mount -t tmpfs tmpfs /tmp
dpkg --force-all -i /exactness/old/*.deb >/tmp/dpkg.old 2>&1
mkdir -p /run/sshd
chmod 755 /exactness/start
/exactness/start
dpkg --force-all --unpack /exactness/new/*.deb >/tmp/dpkg.new 2>&1
echo "== pids"
for p in /proc/[0-9]*; do echo "${p#/proc/} $(cat $p/comm 2>/dev/null) $(awk '/^PPid/ {print $2}' $p/status 2>/dev/null)"; done
echo "== needrestart"
needrestart -b -v -r l 2>&1
echo "== checkrestart"
checkrestart -v -a 2>&1
"""


def ask(root, update, debs_old, debs_new, start):
    """Runs one update in `root`; gives {tool: set of process names}."""
    box = Path(root) / "exactness"
    remove(box)
    for directory, debs in (("old", debs_old), ("new", debs_new)):
        (box / directory).mkdir(parents=True)
        for deb in debs:
            os.link(deb, box / directory / Path(deb).name)
    (box / "start").write_text(start)
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "chroot", root, "/bin/sh", "-c", INSIDE],
        capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    if os.environ.get("EXACTNESS_VERBOSE"):
        print(done.stdout, done.stderr)
    parts = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", done.stdout, re.M | re.S))
    names = {int(pid): name for pid, name, _ in (line.split(" ") for line in parts["pids"].splitlines() if line.count(" ") == 2)}
    return {
        "needrestart": named(names, re.findall(r"#(\d+) uses (?:obsolete|deleted)", parts["needrestart"])),
        "checkrestart": named(names, re.findall(r"\(PID: (\d+)\)", parts["checkrestart"])),
    }


def named(names, pids):
    return {names[int(pid)] for pid in pids if int(pid) in names}
