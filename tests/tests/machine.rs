//! What is done to the machine's own files reaches no view.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::binaries;
use tests::builder::{Built, Workshop};
use tests::counts::Counts;
use tests::machine::{Machine, build_deb};
use tests::node::Node;

/// Compares without pause what the library says with what the file beside it says; both must be
/// what they were at first. `once`: prints both and ends.
const COMPARE: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int library(void);
static int file(void)
{
	int version = -1;
	FILE *file = fopen("/usr/share/pair/version", "r");
	if (file) { if (fscanf(file, "%d", &version) != 1) version = -2; fclose(file); }
	return version;
}
int main(int count, char **words)
{
	char new[256], wrong[100] = "";
	unsigned long reads = 0, mismatches = 0;
	int first = file();
	if (!strcmp(words[1], "once")) { printf("%d %d\n", library(), file()); return 0; }
	snprintf(new, sizeof new, "%s.new", words[1]);
	for (;;) {
		int from_library = library(), from_file = file();
		reads++;
		if (from_library != from_file || from_file != first) {
			mismatches++;
			snprintf(wrong, sizeof wrong, "library %d file %d first %d", from_library, from_file, first);
		}
		if (reads % 100 == 0) {
			FILE *counts = fopen(new, "w");
			fprintf(counts, "reads=%lu mismatches=%lu first=%d %s\n", reads, mismatches, first, wrong);
			fclose(counts);
			rename(new, words[1]);
		}
	}
}
"#;

/// It stays linked to the library.
const LINKED: &str = "int pair(void); int library(void) { return pair(); }\n";

/// It loads the library each time, as a program loads plugins.
const OPENS: &str = r#"
#include <dlfcn.h>
int library(void)
{
	void *handle = dlopen("libpair.so.1", RTLD_NOW | RTLD_LOCAL);
	int (*pair)(void) = handle ? (int (*)(void)) dlsym(handle, "pair") : 0;
	int version = pair ? pair() : -3;
	if (handle) dlclose(handle);
	return version;
}
"#;

const PROCESSES: [&str; 2] = ["linked", "opens"];

struct House {
    workshop: Workshop,
    dir: TempDir,
}

impl House {
    fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("pair-").tempdir()?;
        let workshop = Workshop::new()?;
        Ok(Self { workshop, dir })
    }

    /// A Debian package with a library and a file that both say their version.
    fn debian(&self, version: u8) -> Result<(PathBuf, PathBuf)> {
        let code = format!("int pair(void) {{ return {version}; }}\n");
        let text = version.to_string();
        let built = self
            .workshop
            .package("pair-parts", &text)?
            .library("libpair.so.1", &code, &[])?
            .text("version", &text, "/usr/share/pair/")?
            .build()?;
        let library = built.part("libpair.so.1");
        let arch = run(Command::new("dpkg").arg("--print-architecture"))?;
        let control = format!(
            "Package: libpair1\nVersion: {version}\nArchitecture: {}\n\
             Maintainer: Nobody <nobody@localhost>\nDescription: a pair that must match\n",
            arch.trim()
        );
        let path = format!("{}/libpair.so.1", self.workshop.library_dir());
        let files = [
            (path.as_str(), library.as_path()),
            ("/usr/share/pair/version", &built.part("version")),
        ];
        let to = self.dir.path().join(format!("libpair1_{version}.deb"));
        Ok((build_deb(&control, &files, &to)?, library))
    }

    fn programs(&self, library: &Path) -> Result<Built> {
        let linked = format!("{COMPARE}{LINKED}");
        let opens = format!("{COMPARE}{OPENS}");
        let process = |name: &str| {
            format!(
                "[[process]]\nname = \"{name}\"\n\
                 exec = [\"/usr/bin/{name}\", \"/var/lib/{name}.counts\"]\n"
            )
        };
        let opened = "[[dlopen]]\nfile = \"/usr/bin/opens\"\nlibraries = [\"libpair.so.1\"]\n";
        self.workshop
            .package("programs", "1")?
            .requires(&["libpair1", "base"])
            .program("linked", &linked, &[library.to_owned()])?
            .program("opens", &opens, &[])?
            .lines(opened)
            .lines(&process("linked"))
            .lines(&process("opens"))
            .build()
    }
}

/// That Debian package as one of ours.
fn import(debian: &Path) -> Result<PathBuf> {
    let to = debian.with_extension("pkg");
    run(Command::new(binaries::pkgtool()?)
        .args(["--quiet", "import-deb", "--set"])
        .arg(&to)
        .arg(debian))?;
    Ok(to)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Everything below a directory of the node: names, inodes, sizes, times.
fn listing(node: &Node, dir: &str) -> Result<String> {
    let format = "%P %i %m %s %T@ %l\\n";
    let text = node.ok(&["find", dir, "-printf", format])?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

/// Device and inode of every object in the node's store.
fn stored(node: &Node) -> Result<BTreeSet<(u64, u64)>> {
    let mut found = BTreeSet::new();
    let mut left = vec![node.root().join("var/lib/changeover/store/objects")];
    while let Some(dir) = left.pop() {
        for entry in fs_err::read_dir(dir)? {
            let (entry, data) =
                entry.and_then(|entry| entry.metadata().map(|data| (entry, data)))?;
            if data.is_dir() {
                left.push(entry.path());
            } else {
                found.insert((data.dev(), data.ino()));
            }
        }
    }
    Ok(found)
}

/// Every file that a process has mapped is one of the store's.
fn maps_only(node: &Node, process: &str, stored: &BTreeSet<(u64, u64)>) -> Result<()> {
    let maps = node.maps(node.pid(process)?)?;
    let mut files = 0;
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, device, inode, path] = fields[..] else {
            continue;
        };
        // The loader looks at the machine's list of libraries, and passes over what it lacks.
        if !path.starts_with('/') || path == "/etc/ld.so.cache" {
            continue;
        }
        let (major, minor) = device.split_once(':').context("a device")?;
        let (major, minor) = (
            u64::from_str_radix(major, 16)?,
            u64::from_str_radix(minor, 16)?,
        );
        let file = (nix::sys::stat::makedev(major, minor), inode.parse()?);
        ensure!(
            stored.contains(&file),
            "{process} maps {line}: not of the store"
        );
        files += 1;
    }
    ensure!(files >= 3, "{process}: program, loader, C library: {maps}");
    Ok(())
}

/// Sets a flag when it goes.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A node on a machine whose apt knows versions 1 and 2 of a library; both have version 1.
struct Scene {
    house: House,
    machine: Machine,
    node: Node,
    /// The program that the processes run, for the machine itself.
    program: String,
}

impl Scene {
    fn set() -> Result<Self> {
        let house = House::new()?;
        let ((one, library), (two, _)) = (house.debian(1)?, house.debian(2)?);
        let (base, programs) = (house.workshop.base()?, house.programs(&library)?);
        let imported = import(&one)?;
        let mut files = vec![base.file, programs.file.clone(), imported];
        for version in ["1", "2"] {
            let recipe = house.workshop.package("note", version)?;
            let note = recipe.text("note", version, "/usr/share/")?.build()?;
            files.push(note.file);
        }
        let machine = Machine::with_repository(&[one, two])?;
        let node = Node::start_within(machine.wrapper(), &[])?;
        let program = programs.part("opens").display().to_string();
        let scene = Self {
            house,
            machine,
            node,
            program,
        };
        scene.apt_get(&["update"])?;
        scene.apt_get(&["install", "libpair1=1"])?;
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        scene.node.add(&files)?;
        let set = ["programs", "libpair1", "note=1"];
        let report = scene.node.activate(&set)?;
        ensure!(report["outcome"] == "done", "{report}");
        Ok(scene)
    }

    fn apt_get(&self, words: &[&str]) -> Result<()> {
        let pid = self.node.sandbox_pid();
        self.machine.apt_get(pid, words).map(drop)
    }

    /// What the program says that runs on the machine, not in a view.
    fn on_the_machine(&self) -> Result<String> {
        Machine::run(self.node.sandbox_pid(), &[&self.program, "once"])
    }

    fn counts(&self, process: &str) -> Counts {
        let file = format!("var/lib/{process}.counts");
        Counts::at(&self.node.root().join(file))
    }

    /// apt goes up and down and up while changes of another package go on.
    fn upgrade_the_machine(&self) -> Result<()> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let apt = scope.spawn(|| {
                let _sets = Sets(&done);
                self.apt_get(&["upgrade"])?;
                self.apt_get(&["install", "--allow-downgrades", "libpair1=1"])?;
                self.apt_get(&["upgrade"])
            });
            for note in ["note=2", "note=1"].iter().cycle() {
                if done.load(Ordering::Acquire) {
                    break;
                }
                let report = self.node.activate(&[note])?;
                ensure!(report["outcome"] == "done", "{report}");
            }
            apt.join().ok().context("apt's thread")?
        })
    }

    /// Nothing of it has reached the real machine.
    fn leaves_the_real_machine_alone(&self) -> Result<()> {
        let path = format!("{}/libpair.so.1", self.house.workshop.library_dir());
        ensure!(!Path::new(&path).exists(), "{path}");
        let known = Command::new("dpkg-query")
            .args(["-W", "libpair1"])
            .output()?;
        ensure!(!known.status.success(), "dpkg knows libpair1");
        Ok(())
    }
}

#[test]
fn apt_upgrading_the_same_library_on_the_machine_changes_nothing_in_any_view() -> Result<()> {
    let scene = Scene::set()?;
    let node = &scene.node;
    assert_eq!(scene.on_the_machine()?, "1 1\n");
    for name in PROCESSES {
        let seen = scene.counts(name).reach("reads", 1)?;
        assert_eq!(seen.get("first")?, 1, "{}", seen.text);
    }
    let pids = [node.pid("linked")?, node.pid("opens")?];
    let view = format!("/proc/{}/root/usr/", pids[0]);
    let before = listing(node, &view)?;
    assert!(before.contains("share/pair/version"), "{before}");

    scene.upgrade_the_machine()?;
    // The same program sees it, where it is not in a view.
    assert_eq!(scene.on_the_machine()?, "2 2\n");

    assert_eq!([node.pid("linked")?, node.pid("opens")?], pids);
    assert_eq!(listing(node, &view)?, before);
    let stored = stored(node)?;
    for name in PROCESSES {
        let seen = scene.counts(name).go_on("reads", 1000)?;
        assert_eq!(seen.get("mismatches")?, 0, "{}", seen.text);
        maps_only(node, name, &stored)?;
    }
    scene.leaves_the_real_machine_alone()
}

#[test]
fn a_process_started_after_an_upgrade_of_the_machine_runs_on_the_nodes_own_files() -> Result<()> {
    let scene = Scene::set()?;
    let before = scene.node.pid("linked")?;
    scene.apt_get(&["upgrade"])?;
    assert_eq!(scene.on_the_machine()?, "2 2\n");
    scene.node.json(&["restart", "linked", "opens"])?;
    assert_ne!(scene.node.pid("linked")?, before);
    for name in PROCESSES {
        // What the one before has counted.
        scene.counts(name).forget()?;
    }
    let stored = stored(&scene.node)?;
    for name in PROCESSES {
        let seen = scene.counts(name).go_on("reads", 1000)?;
        assert_eq!(seen.get("first")?, 1, "{}", seen.text);
        assert_eq!(seen.get("mismatches")?, 0, "{}", seen.text);
        maps_only(&scene.node, name, &stored)?;
    }
    Ok(())
}
