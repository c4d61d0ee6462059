"""What this project's plan says of each update, and what the loader says on the same node.

Runs inside a sandbox node: every daemon is active on the old packages of all updates; each update
is planned, and the truth is read from `/proc/PID/maps` of the daemons as they run.

Usage (by exactness.py): ours.py TASK.json RESULT.json
"""

import json
import subprocess
import sys
from pathlib import Path


def pkgtool(*words):
    done = subprocess.run(["pkgtool", "--json", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pkgtool {' '.join(words[:3])} … failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def children():
    """pid: the pids whose parent it is."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended
        found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def mapped(pid, tree):
    """The paths that a process and its children have mapped."""
    paths = set()
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/usr/"):
            paths.add(words[5])
    for child in tree.get(pid, []):
        paths |= mapped(child, tree)
    return paths


def main(task_file, result_file):
    task = json.loads(Path(task_file).read_text())
    pkgtool("add", *task["packages"])
    pkgtool("activate", "--yes", "--on-failure=keep", *task["activate"])
    status = pkgtool("ps")[-1]
    tree = children()
    running = {p["name"]: p["pid"] for p in status if p["state"] == "ready" and p["pid"]}
    maps = {name: mapped(pid, tree) for name, pid in running.items()}
    result = {"running": sorted(running), "idle": sorted(p["name"] for p in status if p["name"] not in running)}
    result["updates"] = []
    for update in task["updates"]:
        plan = pkgtool("plan", "activate", *update["activate"])[-1]
        restart = {p["name"]: p["because"][:1] for p in plan["processes"] if p["verdict"] in ("restart", "notify")}
        changed = set(update["changed"])
        truth = {name: sorted(paths & changed) for name, paths in maps.items() if paths & changed}
        result["updates"].append({
            "ours": {name: because for name, because in restart.items() if name in running},
            "truth": truth,
            "unmet": plan["unmet"],
        })
    Path(result_file).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
