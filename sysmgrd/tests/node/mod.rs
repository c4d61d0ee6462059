//! A daemon of our own, with small trees, that leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests; not every file needs everything"
)]
#![allow(missing_docs, reason = "tests")]

mod store;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use model::bus::sysmgrd::ManagerProxy;
use model::change::{ProcessOutcome, ProcessStatus};
use model::process::Ready;
use model::transition::{Transition, TransitionReport, Tree, Wanted};
use model::{ChangeId, Generation, ProcessName, ProcessSpec, Span};

/// The static program of `tests/programs/daemon.c`, compiled once.
static DAEMON: LazyLock<PathBuf> = LazyLock::new(|| compile("daemon.c"));

fn compile(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name);
    let stem = source.file_stem().unwrap().to_owned();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let temporary = folder.join(format!("{}.{}", stem.display(), std::process::id()));
    let out = folder.join(stem);
    let status = Command::new("gcc")
        .args(["-static", "-O1", "-Wall", "-o"])
        .args([&temporary, &source])
        .status();
    assert!(status.expect("gcc runs").success());
    fs_err::rename(&temporary, &out).unwrap();
    out
}

pub struct Node {
    pub dir: tempfile::TempDir,
    pub config: String,
    /// Run before the daemon's own command line.
    pub wrapper: Vec<String>,
    daemon: Option<Child>,
    store: Option<Arc<store::Store>>,
    /// What the last daemon left with its supervisor.
    pub kept: BTreeMap<String, OwnedFd>,
    cgroup: Option<PathBuf>,
}

/// Which layout of control groups a node uses.
#[derive(Debug, Clone, Copy)]
pub enum Groups {
    Two,
    One,
    None,
}

impl Node {
    pub fn start() -> Self {
        Self::with(Groups::Two, "")
    }

    pub fn with(groups: Groups, extra: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sysmgrd-")
            .tempdir_in("/tmp")
            .unwrap();
        let unique = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let cgroup = match groups {
            Groups::Two => Some(mount("cgroup2", "").join(&unique)),
            Groups::One => Some(mount("cgroup", "pids").join(&unique)),
            Groups::None => Some(dir.path().join("not-a-cgroup")),
        };
        let run = dir.path().join("run/changeover");
        let root = dir.path().join("root");
        for sub in ["root/etc", "root/var/lib", "run", "generations"] {
            fs_err::create_dir_all(dir.path().join(sub)).unwrap();
        }
        fs_err::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nribd:x:61234:61235::/home/ribd:\n",
        )
        .unwrap();
        fs_err::write(
            root.join("etc/group"),
            "root:x:0:\nribd:x:61235:\nnet:x:61236:ribd\n",
        )
        .unwrap();
        let bind = |from: &str, to: &str| {
            format!(
                "[[bind]]\nfrom = '{}'\nto = '{to}'\n",
                dir.path().join(from).display()
            )
        };
        let config = format!(
            "run-dir = '{}'\nbus = 'none'\nmachine-root = '{}'\ncgroup = '{}'\n{extra}\n{}{}{}",
            run.display(),
            root.display(),
            cgroup.as_ref().unwrap().display(),
            bind("run", "/run"),
            bind("root/etc", "/etc"),
            bind("root/var", "/var"),
        );
        let mut node = Self {
            dir,
            config,
            wrapper: Vec::new(),
            daemon: None,
            store: None,
            kept: BTreeMap::new(),
            cgroup,
        };
        node.start_daemon();
        node
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run/changeover")
    }

    pub fn cgroup(&self) -> PathBuf {
        self.cgroup.clone().unwrap()
    }

    /// Starts the daemon; returns when it answers.
    pub fn start_daemon(&mut self) {
        let file = self.dir.path().join("sysmgrd.toml");
        fs_err::write(&file, &self.config).unwrap();
        let notify = self.dir.path().join("notify");
        let store = store::Store::open(&notify, std::mem::take(&mut self.kept));
        let words = [
            self.wrapper.clone(),
            vec![env!("CARGO_BIN_EXE_sysmgrd").to_owned()],
        ]
        .concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
            .arg("--config")
            .arg(&file)
            .env("NOTIFY_SOCKET", &notify);
        command
            .env(
                "SYSMGRD_LOG",
                std::env::var("SYSMGRD_LOG").unwrap_or_else(|_| "debug".into()),
            )
            .env_remove("JOURNAL_STREAM")
            .stderr(Stdio::piped());
        let mut child = store.spawn(&mut command);
        // Read on, or the daemon would block; shown where a test fails.
        let errors = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                #[expect(clippy::print_stderr, reason = "shown where a test fails")]
                {
                    eprintln!("{line}");
                }
            }
        });
        self.daemon = Some(child);
        store.await_ready();
        self.store = Some(store);
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Ends the daemon without a word.
    pub fn kill_daemon(&mut self) {
        let mut child = self.daemon.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.kept = self.store.take().unwrap().close();
    }

    /// Sends a signal and waits for the daemon's end.
    pub fn end_daemon(&mut self, signal: nix::sys::signal::Signal) {
        let mut child = self.daemon.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        assert!(child.wait().unwrap().success());
        self.kept = self.store.take().unwrap().close();
    }

    /// A tree with the test program as `/usr/bin/daemon` and `text` in `/usr/share/text`.
    pub fn tree(&self, generation: u64, text: &str) -> Tree {
        let root = self
            .dir
            .path()
            .join(format!("generations/{generation}/root"));
        fs_err::create_dir_all(root.join("usr/bin")).unwrap();
        fs_err::create_dir_all(root.join("usr/share")).unwrap();
        fs_err::copy(&*DAEMON, root.join("usr/bin/daemon")).unwrap();
        fs_err::write(root.join("usr/share/text"), text).unwrap();
        Tree {
            generation: Generation(generation),
            root,
        }
    }

    /// The same with the program of this test as `/usr/bin/told`, and the libraries that it needs.
    pub fn own_tree(&self, generation: u64, text: &str) -> Tree {
        let tree = self.tree(generation, text);
        let own = std::env::current_exe().unwrap();
        let to = tree.root.join("usr/bin/told");
        if fs_err::hard_link(&own, &to).is_err() {
            fs_err::copy(&own, &to).unwrap();
        }
        let output = Command::new("ldd").arg(&own).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
        for library in libraries {
            let library = Path::new(library);
            let folder = library.parent().unwrap().strip_prefix("/").unwrap();
            let folder = tree.root.join("usr").join(folder);
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::copy(library, folder.join(library.file_name().unwrap())).unwrap();
        }
        tree
    }

    pub async fn manager(&self) -> ManagerProxy<'static> {
        let stream =
            std::os::unix::net::UnixStream::connect(self.run_dir().join("sysmgrd.sock")).unwrap();
        let connection = zbus::connection::Builder::unix_stream(stream)
            .p2p()
            .build()
            .await
            .unwrap();
        ManagerProxy::new(&connection).await.unwrap()
    }

    pub async fn transition(&self, transition: &Transition) -> TransitionReport {
        let document = serde_json::to_string(transition).unwrap();
        let report = self.manager().await.transition(&document).await.unwrap();
        serde_json::from_str(&report).unwrap()
    }

    pub async fn status(&self, name: &str) -> ProcessStatus {
        let list = self.manager().await.processes().await.unwrap();
        let list: Vec<ProcessStatus> = serde_json::from_str(&list).unwrap();
        list.into_iter()
            .find(|one| one.name.as_str() == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// The status of `name` once it is in `state`.
    pub async fn wait_for(&self, name: &str, state: &str) -> ProcessStatus {
        let begin = Instant::now();
        loop {
            let status = self.status(name).await;
            if status.state == state {
                return status;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "still {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `name` is known and in `state`.
    pub async fn wait_for_any(&self, name: &str, state: &str) {
        let wanted = format!("\"name\":\"{name}\"");
        while !self
            .manager()
            .await
            .processes()
            .await
            .unwrap()
            .contains(&wanted)
        {
            tokio::task::yield_now().await;
        }
        self.wait_for(name, state).await;
    }

    pub async fn logs(&self, name: &str) -> Vec<String> {
        self.manager().await.logs(name, 100).await.unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.daemon {
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(store) = self.store.take() {
            drop(store.close());
        }
        // Whatever the daemon had started.
        let groups = self
            .cgroup
            .clone()
            .filter(|path| path.join("cgroup.procs").exists());
        for group in groups
            .iter()
            .flat_map(|base| folders(base))
            .chain(groups.clone())
        {
            end_members(&group);
        }
        end_by_mark(self.dir.path());
    }
}

fn folders(base: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(base).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Ends all members and removes the group; the kernel may need a moment for the last one.
fn end_members(group: &Path) {
    for _ in 0..500 {
        let text = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        if fs_err::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Ends processes whose output goes into a FIFO of this node: those without a control group.
fn end_by_mark(dir: &Path) {
    for entry in fs_err::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let output = fs_err::read_link(entry.path().join("fd/1")).unwrap_or_default();
        if output.starts_with(dir.join("run")) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

fn mount(kind: &str, option: &str) -> PathBuf {
    let text = fs_err::read_to_string("/proc/self/mounts").unwrap();
    let found = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let has = option.is_empty() || fields[3].split(',').any(|one| one == option);
        (fields[2] == kind && has).then(|| PathBuf::from(fields[1]))
    });
    found.unwrap_or_else(|| panic!("no {kind} mount with {option:?}"))
}

/// A process that runs the test program with these words.
pub fn spec(name: &str, words: &str) -> ProcessSpec {
    let mut command = vec!["/usr/bin/daemon".to_owned()];
    command.extend(words.split_whitespace().map(str::to_owned));
    let mut spec = ProcessSpec::new(name.parse().unwrap(), command);
    spec.start_timeout = Span::seconds(20);
    spec.stop_timeout = Span::seconds(20);
    spec
}

pub fn notify(name: &str) -> ProcessSpec {
    let mut spec = spec(name, "notify READY=1 sleep");
    spec.ready = Ready::Notify;
    spec
}

pub fn wanted(spec: ProcessSpec) -> Wanted {
    Wanted {
        spec,
        package: "test".parse().unwrap(),
    }
}

pub fn name(text: &str) -> ProcessName {
    text.parse().unwrap()
}

/// A transition to `tree` that only starts.
pub fn starting(tree: Tree, specs: impl IntoIterator<Item = ProcessSpec>) -> Transition {
    Transition {
        change: ChangeId(tree.generation.0),
        tree,
        new: specs.into_iter().map(wanted).collect(),
        obsolete: Vec::new(),
        changed: Vec::new(),
        dependent: Vec::new(),
        told: Vec::new(),
        state: BTreeMap::new(),
        settling_ms: 0,
        stale: Vec::new(),
    }
}

/// The outcome of `name`.
pub fn outcome<'a>(report: &'a TransitionReport, name: &str) -> &'a ProcessOutcome {
    report
        .processes
        .iter()
        .find(|outcome| outcome.name.as_str() == name)
        .unwrap()
}

pub fn is_alive(pid: u32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
