#!/usr/bin/env python3
"""Counts misses and false alarms over real Debian updates: ours, needrestart's, checkrestart's.

For each update that apt offers for a set of real daemons: which running daemons use a file that
really changed (read from /proc/PID/maps), which of them this project's plan restarts, and which
the two peers name after dpkg unpacked the update below the same daemons. Prints a table and writes
it to docs/exactness.md with --write.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import peers
import updates
from daemons import DAEMONS, start_script

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


def process_names(package):
    """The names under which our node and the peers' root know a package's daemon."""
    return OURS.get(package, package), DAEMONS[package][0]


# Where the unit's name is not the package's.
OURS = {"openssh-server": "ssh", "dnsmasq-base": "dnsmasq"}


def ours(found, contents, cache):
    """Imports everything and lets ours.py plan each update on one running node."""
    out = cache / "packages"
    old = {package: version for update in reversed(found) for package, version in update.old.items()}
    oldest = {p: min_version(p, found) for p in old}
    wanted = [f"{p}={v}" for p, v in oldest.items()]
    run("pkgtool", "import-deb", "--closure", "--cache", cache / "debs", "-o", out, *DAEMONS, *wanted)
    later = sorted({f"{p}={v}" for update in found for versions in (update.old, update.new) for p, v in versions.items()})
    run("pkgtool", "import-deb", "--cache", cache / "debs", "-o", out, *later)
    task = {
        "packages": [str(path) for path in sorted(out.glob("*.pkg"))],
        "activate": [*(p for p in DAEMONS if p not in oldest), *wanted],
        "updates": [
            {"activate": [f"{p}={v}" for p, v in update.new.items()], "changed": sorted(content.changed)}
            for update, content in zip(found, contents)
        ],
    }
    (cache / "task.json").write_text(json.dumps(task))
    node = cache / "node"
    peers.remove(node)
    run("pkgtool", "sandbox", "--root", node, "--", sys.executable, HERE / "ours.py", cache / "task.json", cache / "result.json")
    return json.loads((cache / "result.json").read_text())


def min_version(package, found):
    versions = [update.old[package] for update in found if package in update.old]
    return sorted(versions, key=updates.cmp_to_key(updates.version_order))[0]


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} {command[1]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def score(named, truth, known):
    """(misses, false alarms) of a set of names, over the daemons that every side ran."""
    named, truth = named & known, truth & known
    return len(truth - named), len(named - truth)


def rows(found, contents, result, cache):
    """One row an update; the peers are asked as we go."""
    names = {process_names(package)[0]: process_names(package)[1] for package in DAEMONS}
    known = {names[name] for name in result["running"] if name in names}
    for update, content, planned in zip(found, contents, result["updates"]):
        debs = [[updates.fetch(p, v, cache) for p, v in side.items()] for side in (update.old, update.new)]
        said = peers.ask(cache / "root", update, *debs, start_script())
        truth = {names.get(name, name) for name in planned["truth"]}
        said["changeover"] = {names.get(name, name) for name in planned["ours"]}
        yield update, content, truth & known, {tool: score(named, truth, known) for tool, named in said.items()}


TOOLS = ("changeover", "needrestart", "checkrestart")


def table(lines):
    head = "| update | files | byte-identical | same signature | really reached | " + " | ".join(
        f"{tool}: missed, false" for tool in TOOLS) + " |"  # fmt: skip
    yield head
    yield "|---|--:|--:|--:|---|" + "--:|" * len(TOOLS)
    totals = {tool: [0, 0] for tool in TOOLS}
    for update, content, truth, scores in lines:
        for tool in TOOLS:
            totals[tool][0] += scores[tool][0]
            totals[tool][1] += scores[tool][1]
        cells = " | ".join("{}, {}".format(*scores[tool]) for tool in TOOLS)
        reached = ", ".join(sorted(truth)) or "nobody"
        yield f"| {update.name()} | {content.files} | {content.identical} | {content.rebuilt} | {reached} | {cells} |"
    yield "| **all** | | | | | " + " | ".join("**{}, {}**".format(*totals[tool]) for tool in TOOLS) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default=TOP / ".cache/exactness", type=Path)
    parser.add_argument("--write", action="store_true", help="replace the table in docs/exactness.md")
    options = parser.parse_args()
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)

    found = updates.find(updates.closure(DAEMONS))
    print(f"{len(found)} updates of {len(DAEMONS)} daemons and what they depend on", flush=True)
    contents = [updates.contents(update, cache) for update in found]
    peers.make_root(cache / "root", list(DAEMONS))
    result = ours(found, contents, cache)
    if result["idle"]:
        print("not running on our node, so not counted: " + ", ".join(result["idle"]))
    lines = []
    for line in table(rows(found, contents, result, cache)):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        page = TOP / "docs/exactness.md"
        before, _, rest = page.read_text().partition("<!-- table -->\n")
        after = rest.partition("<!-- end -->\n")[2]
        page.write_text(f"{before}<!-- table -->\n" + "\n".join(lines) + f"\n<!-- end -->\n{after}")


if __name__ == "__main__":
    main()
