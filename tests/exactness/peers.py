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
    include = ",".join([*packages, *TOOLS])
    complete = root / "complete"
    if complete.exists() and complete.read_text() == include:
        return
    remove(root)
    sources = debian_sources()
    # policy-rc.d: nothing starts by itself in there.
    policy = 'mkdir -p "$1/usr/sbin"; printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
    # Namespaces of its own: what a package starts or mounts while it is installed ends with it.
    subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", f"--extract-hook={policy}",
         "bookworm", root, "-"],
        input=sources, text=True, check=True)  # fmt: skip
    complete.write_text(include)


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
echo "== pids"
for p in /proc/[0-9]*; do echo "${p#/proc/} $(cat $p/comm 2>/dev/null)"; done
echo "== maps"
for p in /proc/[0-9]*; do awk -v p="${p#/proc/}" '$6 ~ "^/usr/" && !seen[$6]++ {print p, $6}' $p/maps 2>/dev/null; done
dpkg --force-all --unpack /exactness/new/*.deb >/tmp/dpkg.new 2>&1
echo "== needrestart"
needrestart -b -v -r l 2>&1
echo "== checkrestart"
checkrestart -v 2>&1
"""


def ask(root, debs, start, changed):
    """Runs one update (its old and new .debs) in `root`.

    Gives sets of process names: those that ran, those that had one of the `changed` paths mapped
    before the update (the truth), and those that each tool names.
    """
    box = Path(root) / "exactness"
    remove(box)
    for directory, files in zip(("old", "new"), debs):
        (box / directory).mkdir(parents=True)
        for deb in files:
            os.link(deb, box / directory / Path(deb).name)
    (box / "start").write_text(start)
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "chroot", root, "/bin/sh", "-c", INSIDE],
        capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    if os.environ.get("EXACTNESS_VERBOSE"):
        print(done.stdout, done.stderr)
    parts = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", done.stdout, re.M | re.S))
    pairs = [line.split(" ", 1) for line in parts["pids"].splitlines()]
    names = {pid: name for pid, name in (pair for pair in pairs if len(pair) == 2)}
    maps = [line.split(" ", 1) for line in parts["maps"].splitlines()]

    def named(pids):
        return {names[pid] for pid in pids if pid in names}

    return {
        "running": set(names.values()),
        "truth": named(pid for pid, path in maps if path in changed),
        "needrestart": named(re.findall(r"#(\d+) uses (?:obsolete|deleted)", parts["needrestart"])),
        "checkrestart": named(re.findall(r"\(PID: (\d+)\)", parts["checkrestart"])),
    }
