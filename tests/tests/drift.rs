//! `pkgtool drift` beside needrestart and checkrestart, on real processes whose files are replaced
//! in each way that there is. All of it happens in namespaces of its own: the machine's files and
//! processes stay as they are.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::binaries;

/// It says that it is up, has mapped what it is told to, and waits.
const DAEMON: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int value(void) __attribute__((weak));
int main(int count, char **words)
{
	if (value && !value()) return 1;
	if (count == 3) {
		int access = strcmp(words[1], "data") ? PROT_READ | PROT_EXEC : PROT_READ;
		int file = strcmp(words[1], "memory") ? open(words[2], O_RDONLY) : memfd_create("code", 0);
		if (!strcmp(words[1], "memory") && write(file, words, 1) != 1) return 2;
		if (mmap(0, 1, access, MAP_PRIVATE, file, 0) == MAP_FAILED) return 3;
		close(file);
	}
	puts("up");
	fflush(stdout);
	for (;;) pause();
}
"#;

/// Makes the processes, replaces their files, asks everyone. `$1`: what was compiled, `$2`: where
/// the answers go, `$3`: pkgtool.
const SCRIPT: &str = r#"
set -eu
built=$1 answers=$2
place=/usr/local/lib
mount -t tmpfs tmpfs $place
cp "$3" $place/pkgtool
cp -a "$built"/old/. $place/
mount -t tmpfs tmpfs /tmp
mkfifo $place/up
exec 3<>$place/up
start() { "$@" >&3 3>&- </dev/null & read -r up <&3; }
for name in changed rebuilt same deleted program renamed untouched; do start $place/$name; done
start setpriv --reuid=65534 --clear-groups $place/foreign
echo text >$place/data.txt
start $place/data data $place/data.txt
head -c 4096 /dev/zero >/tmp/orcexec.a1b2c3
start $place/jit code /tmp/orcexec.a1b2c3
start $place/memory memory -
box=$place/box
mkdir $box $box/usr $box/opt $box/proc
for link in bin lib lib64; do ln -s usr/$link $box/$link; done
start unshare --mount sh -ec "mount --bind /usr $box/usr; mount --bind /proc $box/proc; mount -t tmpfs tmpfs $box/opt
	cp -a '$built'/old/*boxed* $box/opt/; exec chroot $box /opt/boxed"
boxed=$!

# As dpkg does it: beside it, and then over it.
put() { cp "$1" "$2.dpkg-new"; mv "$2.dpkg-new" "$2"; }
for name in changed rebuilt same; do put "$built"/new/lib$name.so.1 $place/lib$name.so.1; done
put "$built"/new/libchanged.so.1 $place/libforeign.so.1
rm $place/libdeleted.so.1 $place/data.txt /tmp/orcexec.a1b2c3
put "$built"/new/program $place/program
cp "$built"/new/librenamed.so.1.0.2 $place/
ln -sfn librenamed.so.1.0.2 $place/librenamed.so.1
rm $place/librenamed.so.1.0.1
nsenter --mount=/proc/$boxed/ns/mnt sh -ec "
	cp '$built'/new/libboxed.so.1 $box/opt/new; mv $box/opt/new $box/opt/libboxed.so.1"

for p in /proc/[0-9]*; do echo "${p#/proc/} $(cat $p/comm)"; done >"$answers"/pids
code=0; $place/pkgtool --json drift --all >"$answers"/drift || code=$?; echo $code >"$answers"/code
$place/pkgtool drift --all >"$answers"/text || true
code=0; setpriv --reuid=65534 --clear-groups $place/pkgtool --json drift >"$answers"/user || code=$?
echo $code >"$answers"/user-code
needrestart -b -v -r l >"$answers"/needrestart 2>&1 || true
checkrestart -v >"$answers"/checkrestart 2>&1 || true
"#;

/// Who runs another program or library than the disk has.
const TRUTH: [&str; 6] = [
    "boxed", "changed", "deleted", "foreign", "program", "renamed",
];

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{command:?}: {}\n{said}", output.status)
}

fn library(dir: &Path, file: &str, soname: &str, value: u8, build_id: &str) -> Result<()> {
    let source = dir.join("library.c");
    fs_err::write(&source, format!("int value(void) {{ return {value}; }}\n"))?;
    run(Command::new("gcc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(dir.join(file))
        .arg(format!("-Wl,-soname,{soname},--build-id=0x{build_id}"))
        .arg(&source))?;
    Ok(fs_err::remove_file(source)?)
}

fn program(dir: &Path, name: &str, code: &str, library: Option<&str>) -> Result<()> {
    let source = dir.join("program.c");
    fs_err::write(&source, code)?;
    let mut gcc = Command::new("gcc");
    gcc.args([
        "-D_GNU_SOURCE",
        "-O2",
        "-Wl,--no-as-needed,-rpath,$ORIGIN",
        "-o",
    ]);
    gcc.arg(dir.join(name)).arg(&source);
    if let Some(library) = library {
        gcc.arg(dir.join(library));
    }
    run(&mut gcc)?;
    Ok(fs_err::remove_file(source)?)
}

/// The old files and the new ones.
fn build(dir: &Path) -> Result<()> {
    let (old, new) = (dir.join("old"), dir.join("new"));
    fs_err::create_dir_all(&old)?;
    fs_err::create_dir_all(&new)?;
    for name in [
        "changed",
        "rebuilt",
        "same",
        "deleted",
        "untouched",
        "foreign",
        "boxed",
    ] {
        let file = format!("lib{name}.so.1");
        library(&old, &file, &file, 1, "0101")?;
        let (value, build_id) = match name {
            "rebuilt" => (1, "0202"),
            "same" => (1, "0101"),
            _ => (2, "0202"),
        };
        library(&new, &file, &file, value, build_id)?;
        program(&old, name, DAEMON, Some(&file))?;
    }
    library(&old, "librenamed.so.1.0.1", "librenamed.so.1", 1, "0101")?;
    library(&new, "librenamed.so.1.0.2", "librenamed.so.1", 2, "0202")?;
    fs_err::os::unix::fs::symlink("librenamed.so.1.0.1", old.join("librenamed.so.1"))?;
    program(&old, "renamed", DAEMON, Some("librenamed.so.1"))?;
    for name in ["program", "data", "jit", "memory"] {
        program(&old, name, DAEMON, None)?;
    }
    let other = DAEMON.replace("return 1;", "return 9;");
    program(&new, "program", &other, None)
}

/// What everyone said.
struct Answers {
    dir: TempDir,
}

impl Answers {
    fn collect() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("drift-")
            .tempdir_in("/var/tmp")?;
        let (built, answers) = (dir.path().join("built"), dir.path().join("answers"));
        build(&built)?;
        fs_err::create_dir_all(&answers)?;
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120", "unshare"]);
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", SCRIPT, "sh"]);
        run(command.arg(built).arg(answers).arg(binaries::pkgtool()?))?;
        Ok(Self { dir })
    }

    fn text(&self, name: &str) -> Result<String> {
        Ok(fs_err::read_to_string(
            self.dir.path().join("answers").join(name),
        )?)
    }

    fn json(&self, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.text(name)?)?)
    }

    /// The names of the processes whose pids stand between these in an answer.
    fn named(&self, name: &str, before: &str, after: &str) -> Result<BTreeSet<String>> {
        let pids = self.text("pids")?;
        let of = |pid: &str| {
            let mut lines = pids.lines().filter_map(|line| line.split_once(' '));
            lines
                .find(|(one, _)| *one == pid)
                .map(|(_, name)| name.to_owned())
        };
        let text = self.text(name)?;
        let found = text.lines().filter_map(|line| {
            let rest = line.split_once(before)?.1;
            of(rest.split_once(after)?.0.trim())
        });
        Ok(found.collect())
    }
}

/// Every process in a report with what became of its files.
fn told(report: &Value) -> BTreeSet<(String, String)> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut told = BTreeSet::new();
    for group in list(report, "groups") {
        for file in list(&group, "files") {
            for process in list(&file, "processes") {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                told.insert((text(&process["name"]), text(&file["how"])));
            }
        }
    }
    told
}

fn drifted(told: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let drift = told
        .iter()
        .filter(|(_, how)| how == "changed" || how == "deleted");
    drift.map(|(name, _)| name.clone()).collect()
}

fn owned(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn all_that_the_peers_find_and_is_real_and_none_of_their_false_alarms() -> Result<()> {
    let answers = Answers::collect()?;
    let report = answers.json("drift")?;
    let told = told(&report);
    let ours = drifted(&told);
    ensure!(ours == owned(&TRUTH), "{}", answers.text("text")?);
    for (name, how) in [
        ("changed", "changed"),
        ("rebuilt", "rebuilt"),
        ("same", "same"),
        ("deleted", "deleted"),
        ("program", "changed"),
        ("renamed", "changed"),
        ("boxed", "changed"),
        ("foreign", "changed"),
    ] {
        let one = (name.to_owned(), how.to_owned());
        ensure!(told.contains(&one), "{one:?} in {}", answers.text("text")?);
    }
    ensure!(told.len() == 8, "nobody else: {told:?}");
    ensure!(answers.text("code")? == "10\n", "a script is told");
    ensure!(
        answers.text("text")?.contains("/opt/libboxed.so.1"),
        "in its own root"
    );

    let truth = owned(&TRUTH);
    for (peer, before, after) in [
        ("needrestart", "#", " uses "),
        ("checkrestart", "(PID: ", ")"),
    ] {
        let named = answers.named(peer, before, after)?;
        let said = answers.text(peer)?;
        let real: BTreeSet<_> = named.intersection(&truth).cloned().collect();
        ensure!(real.is_subset(&ours), "{peer} knows more: {real:?}");
        ensure!(real.len() >= 4, "{peer} was asked in vain: {said}");
        ensure!(
            named.contains("same"),
            "{peer} takes a copy for a change: {said}"
        );
    }
    Ok(())
}

#[test]
fn a_user_is_told_of_own_processes_and_what_cannot_be_told() -> Result<()> {
    let answers = Answers::collect()?;
    let report = answers.json("user")?;
    let told = told(&report);
    let foreign = ("foreign".to_owned(), "unknown".to_owned());
    ensure!(told == BTreeSet::from([foreign]), "{report}");
    ensure!(report["unread"].as_u64() > Some(8), "{report}");
    ensure!(answers.text("user-code")? == "11\n", "a script is told");
    Ok(())
}
