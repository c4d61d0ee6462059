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
from dataclasses import dataclass
from pathlib import Path

import peers
import updates
from daemons import BESIDES, CONFIGURATION, DAEMONS, start_script

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


def ours(found, contents, cache):
    """Imports everything and lets ours.py plan each update on one running node."""
    out = cache / "packages"
    bring = ["pkgtool", "import-deb", "--cache", cache / "debs", "--overrides", HERE / "overrides", "-o", out]
    start = updates.oldest(found)
    wanted = [p if p not in start else f"{p}={start[p]}" for p in sorted({*DAEMONS, *BESIDES, *start})]
    made = run(*bring, "--closure", *wanted)
    later = sorted({one for update in found for side in (update.old, update.new) for one in versions(side)})
    made += run(*bring, *later)
    task = {
        "packages": sorted({line["file"] for answer in made for line in answer["packages"]}),
        "configuration": CONFIGURATION,
        "activate": wanted,
        "updates": [
            {"old": versions(update.old), "new": versions(update.new), "changed": sorted(content.changed)}
            for update, content in zip(found, contents)
        ],
    }
    (cache / "task.json").write_text(json.dumps(task))
    node = cache / "node"
    peers.remove(node)
    run("pkgtool", "sandbox", "--root", node, "--", sys.executable, HERE / "ours.py", cache / "task.json", cache / "result.json")
    return json.loads((cache / "result.json").read_text())


def versions(packages):
    return [f"{package}={version}" for package, version in packages.items()]


def run(*command):
    """Runs a command that must succeed; gives what it answers in JSON, if that is asked for."""
    command = [str(word) for word in command]
    if command[1] == "import-deb":
        command.insert(1, "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def score(named, truth):
    """(misses, false alarms), by name."""
    return sorted(truth - named), sorted(named - truth)


def rows(found, contents, result, cache):
    """One row an update; the peers are asked as we go."""
    comm = {daemon.unit: daemon.comm for daemon in DAEMONS.values()}
    ours_run = {comm[name] for name in result["running"] if name in comm}
    for update, content, judged in zip(found, contents, result["updates"]):
        debs = [[updates.fetch(p, v, cache) for p, v in side.items()] for side in (update.old, update.new)]
        said = peers.ask(cache / "root", debs, start_script(), content.changed)
        # Only daemons that ran on both sides; each side is held to what it really had mapped.
        known = ours_run & said["running"]
        truth = {comm[name] for name in judged["truth"] if name in comm} & known
        scores = {"changeover": score({comm.get(name, name) for name in judged["ours"]} & known, truth)}
        for tool in TOOLS[1:]:
            scores[tool] = score(said[tool] & known, said["truth"] & known)
        yield Row(update, content, truth, known, scores)


@dataclass
class Row:
    """One update and how each tool did."""

    update: updates.Update
    content: updates.Contents
    truth: set
    known: set
    scores: dict

    def cells(self):
        counts = [f"{len(missed)}, {len(false)}" for missed, false in (self.scores[tool] for tool in TOOLS)]
        content = self.content
        reached = ", ".join(sorted(self.truth)) or "nobody"
        return [self.update.name(), content.files, content.identical, content.rebuilt, reached, *counts]


TOOLS = ("changeover", "needrestart", "checkrestart")


def complaints(found, result):
    """Where a plan could not be met, or was not what then happened."""
    for update, judged in zip(found, result["updates"]):
        for lack in judged["unmet"]:
            yield f"{update.name()}: unmet: {lack}"
        if judged["restarted"] != sorted(judged["ours"]):
            yield f"{update.name()}: planned {sorted(judged['ours'])}, restarted {judged['restarted']}"
        if judged["down"]:
            yield f"{update.name()}: did not come up again: {judged['down']}"


def table(rows_of, wrong):
    """The lines of the table, the sums last."""
    head = ["update", "files", "byte-identical", "only rebuilt", "really reached", *(f"{t}: missed, false" for t in TOOLS)]
    yield line(head)
    yield "|---|--:|--:|--:|---|" + "--:|" * len(TOOLS)
    totals = {tool: [0, 0] for tool in TOOLS}
    sums = [0, 0, 0, 0]
    for row in rows_of:
        for tool in TOOLS:
            for at, names in enumerate(row.scores[tool]):
                totals[tool][at] += len(names)
        for missed, false in [row.scores["changeover"]]:
            if missed or false:
                wrong.append(f"{row.update.name()}: missed {missed}, false {false}")
        content = row.content
        sums = [a + b for a, b in zip(sums, (content.files, content.identical, content.rebuilt, len(row.truth)))]
        yield line(row.cells())
    last = ["all", *sums, *("{}, {}".format(*totals[tool]) for tool in TOOLS)]
    yield line(f"**{cell}**" for cell in last)


def line(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


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
    for name, why in result["idle"].items():
        print(f"not running on our node, so not counted: {name} ({why})")
    wrong = list(complaints(found, result))
    lines = []
    for one in table(rows(found, contents, result, cache), wrong):
        print(one, flush=True)
        lines.append(one)
    if options.write:
        page = TOP / "docs/exactness.md"
        before, _, rest = page.read_text().partition("<!-- table -->\n")
        after = rest.partition("<!-- end -->\n")[2]
        page.write_text(f"{before}<!-- table -->\n" + "\n".join(lines) + f"\n<!-- end -->\n{after}")
    if wrong:
        sys.exit("not exact:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
