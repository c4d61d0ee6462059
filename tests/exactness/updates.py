"""Which updates Debian offers for the daemons, and what in them really changed.

The judgement of "really changed" here is made without this project's signature: ELF files are
compared by binutils after `objcopy` has removed what a rebuild alone changes, all others by bytes.
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cmp_to_key
from pathlib import Path

# What a rebuild alone changes: the build's identity and the pointer to its debug file.
REBUILD_ONLY = [".note.gnu.build-id", ".gnu_debuglink", ".gnu_debugaltlink", ".comment", ".note.package"]


def out(*command, **options):
    """The standard output of a command that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


@dataclass
class Update:
    """One source package from one version to the next, with the binary packages it reaches."""

    source: str
    old: dict = field(default_factory=dict)  # binary package: version
    new: dict = field(default_factory=dict)

    def name(self):
        package = sorted(self.old)[0]
        return f"{self.source} {self.old[package]} → {self.new[package]}"


def version_order(a, b):
    if a == b:
        return 0
    newer = subprocess.run(["dpkg", "--compare-versions", a, "gt", b], check=False).returncode == 0
    return 1 if newer else -1


def closure(packages):
    """Every package that `packages` depend on, by apt's own data; virtual names left out."""
    listing = out(
        "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
        "--no-breaks", "--no-replaces", "--no-enhances", *packages)  # fmt: skip
    names = {line for line in listing.splitlines() if line and line[0].isalnum()}
    return sorted(name for name in names if ":" not in name)


def offered(packages):
    """package: what apt can download of it, the oldest first."""
    versions = {}
    for line in out("apt-cache", "madison", *packages).splitlines():
        package, version, place = (word.strip() for word in line.split("|"))
        if place.endswith("Packages"):
            versions.setdefault(package, set()).add(version)
    return {package: sorted(found, key=cmp_to_key(version_order)) for package, found in versions.items()}


def sources(packages):
    """package: its source package."""
    found = {}
    for paragraph in out("apt-cache", "show", "--no-all-versions", *packages).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if line.startswith(("Package: ", "Source: ")))
        if "Package" in fields:
            found[fields["Package"]] = fields.get("Source", fields["Package"]).split()[0]
    return found


def find(packages):
    """The updates between consecutive versions of everything in `packages`, older ones first."""
    updates = {}
    versions = offered(packages)
    source = sources(versions)
    for package, found in versions.items():
        for step, (old, new) in enumerate(zip(found, found[1:])):
            last = len(found) - 2 - step
            update = updates.setdefault((source[package], last), Update(source[package]))
            update.old[package] = old
            update.new[package] = new
    return [updates[key] for key in sorted(updates, key=lambda key: (key[0], -key[1]))]


def fetch(package, version, cache):
    """The path of a .deb, downloaded once by the machine's own apt."""
    directory = Path(cache) / "debs"
    directory.mkdir(parents=True, exist_ok=True)
    wanted = f"{package}_{version.replace(':', '%3a')}_*.deb"
    if not any(directory.glob(wanted)):
        subprocess.run(
            ["apt-get", "download", "-q", f"{package}={version}"], cwd=directory, check=True, capture_output=True)
    return next(directory.glob(wanted))


def oldest(found):
    """package: the oldest version that an update starts from."""
    versions = {}
    for update in found:
        for package, version in update.old.items():
            versions.setdefault(package, []).append(version)
    return {package: min(all, key=cmp_to_key(version_order)) for package, all in versions.items()}


def tree(deb, directory):
    """path below / → file, of a .deb's regular files and links; merged /usr."""
    subprocess.run(["dpkg-deb", "-x", deb, directory], check=True)
    found = {}
    for root, _, names in os.walk(directory):
        for name in names:
            file = Path(root) / name
            path = "/" + str(file.relative_to(directory))
            top = path.split("/")[1]
            found["/usr" + path if top in ("bin", "sbin", "lib", "lib32", "lib64") else path] = file
    return found


def is_elf(file):
    with open(file, "rb") as opened:
        return opened.read(4) == b"\x7fELF"


def without_rebuild(file, scratch):
    """The bytes of an ELF file less what a rebuild alone changes."""
    target = Path(scratch) / "stripped"
    removed = [word for section in REBUILD_ONLY for word in ("-R", section)]
    done = subprocess.run(["objcopy", *removed, file, target], capture_output=True, check=False)
    return target.read_bytes() if done.returncode == 0 else Path(file).read_bytes()


@dataclass
class Contents:
    """What an update does to the files of its packages."""

    files: int = 0
    identical: int = 0
    rebuilt: int = 0
    changed: set = field(default_factory=set)  # paths, of programs and libraries only


def contents(update, cache):
    """Compares an update's old and new packages file by file."""
    result = Contents()
    for package, old in update.old.items():
        with tempfile.TemporaryDirectory() as scratch:
            before = tree(fetch(package, old, cache), f"{scratch}/old")
            after = tree(fetch(package, update.new[package], cache), f"{scratch}/new")
            for path, file in before.items():
                if not file.is_symlink():
                    compare(path, file, after.get(path), scratch, result)
    return result


def compare(path, old, new, scratch, result):
    result.files += 1
    elf = is_elf(old)
    if new is None or new.is_symlink():
        if elf:
            result.changed.add(path)
        return
    if old.read_bytes() == new.read_bytes():
        result.identical += 1
        return
    if not elf:
        return
    if without_rebuild(old, scratch) == without_rebuild(new, scratch):
        result.rebuilt += 1
    else:
        result.changed.add(path)
