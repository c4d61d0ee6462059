"""What this project's plan says of each update, and what the loader says on the same node.

Runs inside a sandbox node: every daemon is active on the old packages of all updates; each update
is planned, the truth is read from `/proc/PID/maps` of the daemons as they run, and then the update
is carried out.

Usage (by exactness.py): ours.py TASK.json RESULT.json
"""

import json
import subprocess
import sys
from pathlib import Path

# Exit status of a change whose new set is kept though not all of it came up.
KEPT = 8


def pkgtool(*words, also=()):
    """What a command answers; `also` are exit statuses that are no reason to end."""
    done = subprocess.run(["pkgtool", "--json", *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, *also):
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


def running():
    """name: pid of the processes that came up, and name: why of those that did not."""
    shown = pkgtool("ps")[-1]
    up = {p["name"]: p["pid"] for p in shown if p["state"] == "ready" and p["pid"]}
    return up, {p["name"]: f"{p['state']} {p.get('status') or ''}".strip() for p in shown if p["name"] not in up}


def plan_of(update):
    """The plan of an update, and what else it would bring or raise: `name=version`."""
    plan = pkgtool("plan", "activate", *update["new"])[-1]
    return plan, sorted(set(plan["set"]["after"]) - set(plan["set"]["before"]) - set(update["new"]))


def judge(update, plan, idle):
    """What the plan names and why, what the maps name, and who restarts when it is carried out."""
    up, _ = running()
    tree = children()
    maps = {name: mapped(pid, tree) for name, pid in up.items()}
    restart = {p["name"]: p["because"] for p in plan["processes"] if p["verdict"] in ("restart", "notify")}
    changed = set(update["changed"])
    activate(*update["new"])
    then, _ = running()
    return {
        "ours": {name: because for name, because in restart.items() if name not in idle},
        "truth": {name: sorted(paths & changed) for name, paths in maps.items() if paths & changed},
        "restarted": sorted(name for name, pid in up.items() if then.get(name) != pid),
        "down": sorted(set(up) - set(then)),
        "unmet": plan["unmet"],
    }


def activate(*packages):
    pkgtool("activate", "--yes", "--on-failure=keep", *packages, also=[KEPT])


def main(task_file, result_file):
    task = json.loads(Path(task_file).read_text())
    for path, text in task["configuration"].items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    pkgtool("add", *task["packages"])
    activate(*task["activate"])
    up, idle = running()
    judged, later = {}, []
    for number, update in enumerate(task["updates"]):
        plan, others = plan_of(update)
        # Each row is to speak of its own update: one that needs another one waits for that.
        if others or not set(update["old"]) <= set(plan["set"]["before"]):
            later.append(number)
        else:
            judged[number] = judge(update, plan, idle)
    for number in later:
        update = task["updates"][number]
        _, others = plan_of(update)
        activate(*update["old"], *others)
        plan, _ = plan_of(update)
        judged[number] = judge(update, plan, idle)
    result = {"running": sorted(up), "idle": idle, "updates": [judged[number] for number in sorted(judged)]}
    Path(result_file).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
