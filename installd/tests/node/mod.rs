//! A node in temporary directories, packages for it, and a sysmgrd that can be steered.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "the interface has these shapes"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use installd::config::Config;
use installd::engine::{self, Handle};
use model::bus::Error;
use model::change::{Action, ProcessOutcome, ProcessStatus, Request, Verdict, Veto};
use model::envelope::{Compressor, WritePackage, Writer};
use model::manifest::{FileEntry, FileType, Node as Entry, RegularFile};
use model::mappings::Mappings;
use model::transition::{
    Ask, Ended, Prepare, Prepared, StillMapped, Transition, TransitionReport, Votes, Wanted,
};
use model::{Digest, Generation, Manifest, ProcessName, ProcessSpec};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zbus::connection::Builder;
use zbus::{Guid, OwnedFd, interface};

/// A package with its contents.
#[derive(Debug, Clone)]
pub struct Package {
    pub manifest: Manifest,
    contents: Vec<Vec<u8>>,
}

/// An empty package.
pub fn package(name: &str, version: &str) -> Package {
    let manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
    Package {
        manifest,
        contents: Vec::new(),
    }
}

impl Package {
    pub fn file(self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        self.typed(path, mode, bytes, FileType::Data)
    }

    pub fn config(self, path: &str, bytes: &[u8]) -> Self {
        self.typed(path, 0o644, bytes, FileType::Config)
    }

    fn typed(mut self, path: &str, mode: u32, bytes: &[u8], file_type: FileType) -> Self {
        let digest = Digest::of(bytes);
        let examined = model::elf::examine(bytes, digest);
        let elf = examined.facts.unwrap();
        let architecture = elf.as_ref().map(|facts| facts.machine.clone());
        let node = Entry::File(Box::new(RegularFile {
            digest,
            size: bytes.len() as u64,
            signature: examined.signature,
            file_type,
            function: None,
            architecture,
            capabilities: None,
            provides_apis: vec![],
            consumes_apis: vec![],
            elf: elf.map(Box::new),
            uses: None,
            interpreter: None,
        }));
        self.entry(path, mode, node);
        self.contents.push(bytes.to_vec());
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.entry(
            path,
            0,
            Entry::Link {
                target: target.to_owned(),
            },
        );
        self
    }

    fn entry(&mut self, path: &str, mode: u32, node: Entry) {
        let path = path.parse().unwrap();
        self.manifest.files.push(FileEntry {
            path,
            mode,
            owner: None,
            group: None,
            node,
        });
        self.manifest
            .files
            .sort_by(|one, two| one.path.cmp(&two.path));
    }

    /// A program of this text, run as a process of this name.
    pub fn process(self, name: &str, program: &str) -> Self {
        let path = format!("/usr/sbin/{name}");
        let mut with = self.typed(&path, 0o755, program.as_bytes(), FileType::Executable);
        let spec = ProcessSpec::new(name.parse().unwrap(), vec![path]);
        with.manifest.processes.push(spec);
        with
    }

    pub fn spec(mut self, change: impl FnOnce(&mut ProcessSpec)) -> Self {
        change(self.manifest.processes.last_mut().unwrap());
        self
    }

    /// The bytes of its files.
    pub fn contents(&self) -> &[Vec<u8>] {
        &self.contents
    }

    pub fn name_version(&self) -> String {
        format!("{}={}", self.manifest.name, self.manifest.version)
    }
}

/// The envelope of these packages, as bytes.
pub fn envelope(packages: &[Package]) -> Vec<u8> {
    let writes: Vec<_> = packages
        .iter()
        .map(|one| WritePackage::new(one.manifest.clone()).unwrap())
        .collect();
    let mut writer = Writer::new(Vec::new(), &writes).unwrap();
    let mut compressor = Compressor::new().unwrap();
    while let Some((digest, _)) = writer.wanted() {
        let mut all = packages.iter().flat_map(|one| &one.contents);
        let plain = all.find(|bytes| Digest::of(bytes) == digest).unwrap();
        writer.object(&mut compressor, plain).unwrap();
    }
    writer.finish().unwrap()
}

/// Bytes as a file to be read.
pub fn as_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A node without a bus, its engine in this process.
pub struct Node {
    dir: Option<tempfile::TempDir>,
    pub config: Config,
    pub engine: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if self.dir.is_some() {
            unmount_trials(&self.config);
        }
    }
}

/// What is in memory goes, as with the machine's power.
pub fn unmount_trials(config: &Config) {
    let trials = installd::sys::trial::Trials::new(&config.run_dir);
    for trial in trials.all() {
        trials.remove(trial).unwrap();
    }
}

/// The configuration of a node below `dir`.
pub fn config(dir: &Path) -> Config {
    for part in ["root/etc", "root/var", "root/run"] {
        fs_err::create_dir_all(dir.join(part)).unwrap();
    }
    fs_err::write(dir.join("root/etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    fs_err::write(dir.join("root/etc/group"), "root:x:0:\n").unwrap();
    let boot = dir.join("boot_id");
    if !boot.exists() {
        fs_err::write(&boot, "boot-1\n").unwrap();
    }
    let mut config = Config {
        state_dir: dir.join("state"),
        run_dir: dir.join("run"),
        machine_root: dir.join("root"),
        boot_id_file: boot,
        ..Config::default()
    };
    config.timeouts.sysmgrd = "2s".parse().unwrap();
    config.timeouts.settling = "0".parse().unwrap();
    config.trust.unsigned = installd::config::Unsigned::Accept;
    config.trust.directory = dir.join("trust.d");
    config.fleet.operators = dir.join("operators.d");
    fs_err::create_dir_all(&config.run_dir).unwrap();
    config
}

/// How long a sysmgrd that listens may take to be seen; one that does not is not waited for longer.
const SYSMGRD_COMES: std::time::Duration = std::time::Duration::from_secs(2);

impl Node {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Self::over(dir, config)
    }

    pub fn over(dir: tempfile::TempDir, config: Config) -> Self {
        let runtime = Runtime::new().unwrap();
        let engine = {
            let _inside = runtime.enter();
            engine::start(config.clone()).expect("the engine starts").0
        };
        Self {
            dir: Some(dir),
            config,
            engine,
            runtime: Some(runtime),
        }
    }

    /// Starts the follower of a fleet, which ends with the engine.
    pub fn follow(&self) -> installd::follow::Handle {
        let runtime = self.runtime.as_ref().unwrap();
        let _inside = runtime.enter();
        installd::follow::start(&self.config, self.engine.clone()).unwrap()
    }

    /// Ends the engine as a kill would: nothing of it runs on.
    pub fn kill(mut self) -> (tempfile::TempDir, Config) {
        let runtime = self.runtime.take().unwrap();
        let end = move || runtime.shutdown_timeout(std::time::Duration::from_secs(10));
        std::thread::spawn(end).join().unwrap();
        (self.dir.take().unwrap(), self.config.clone())
    }

    pub async fn add(&self, packages: &[Package]) -> Vec<model::change::AddedPackage> {
        self.engine
            .add(as_file(&envelope(packages)))
            .await
            .expect("the envelope is taken")
    }

    pub async fn apply(
        &self,
        request: Request,
    ) -> Result<model::change::ChangeReport, engine::Error> {
        self.engine.apply(request, "the test".to_owned()).await
    }

    /// Activates, which must succeed. The engine's own start is over then, so that what a test
    /// counts afterwards is of its own changes.
    pub async fn activate(&self, packages: &[&str]) -> model::change::ChangeReport {
        self.engine.settled(SYSMGRD_COMES).await;
        let report = self
            .apply(activate(packages))
            .await
            .expect("the change is made");
        assert_eq!(report.outcome, model::change::Outcome::Done, "{report:?}");
        report
    }

    pub fn tree(&self, generation: Generation) -> PathBuf {
        self.config
            .state_dir
            .join(format!("generations/{generation}/root"))
    }

    /// Every file of the store's `objects`, and of its `tmp`.
    pub fn objects(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for part in ["objects", "tmp", "packages"] {
            walk(&self.config.state_dir.join("store").join(part), &mut all);
        }
        all.sort();
        all
    }

    pub fn etc(&self, name: &str) -> PathBuf {
        self.config.machine_root.join("etc").join(name)
    }
}

fn walk(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), all);
        } else {
            all.push(entry.path());
        }
    }
}

pub fn activate(packages: &[&str]) -> Request {
    let actions = packages
        .iter()
        .map(|one| Action::Activate(one.parse().unwrap()));
    Request {
        actions: actions.collect(),
        ..Request::default()
    }
}

pub fn deactivate(packages: &[&str]) -> Request {
    let actions = packages
        .iter()
        .map(|one| Action::Deactivate(one.parse().unwrap()));
    Request {
        actions: actions.collect(),
        ..Request::default()
    }
}

/// What the steered sysmgrd does, and what it has been told.
#[derive(Debug, Default)]
pub struct Script {
    /// Processes that run, with their generation.
    pub running: BTreeMap<ProcessName, Generation>,
    /// Of these, those that have registered.
    pub registered: Vec<ProcessName>,
    pub vetoes: Vec<Veto>,
    /// Those of them who only ask for so many milliseconds.
    pub later: Vec<(ProcessName, u64)>,
    pub not_ready: Vec<Veto>,
    /// Processes that fail in the generation given.
    pub failing: Vec<(ProcessName, Generation)>,
    /// When whoever is asked was asked.
    pub asked_at: Option<i64>,
    /// The next transition says that it has begun, and ends only when it is let.
    pub hold: bool,
    /// What is said of the files that processes have mapped.
    pub mapped: Mappings,
    /// What the next transitions say that they have found mapped.
    pub still_mapped: Option<Vec<StillMapped>>,
    /// How often it was asked what is mapped.
    pub looks: usize,
    pub asks: Vec<Ask>,
    pub prepares: Vec<Prepare>,
    pub transitions: Vec<Transition>,
    pub ended: Vec<Ended>,
}

/// A sysmgrd that starts nothing and does as it is told.
#[derive(Debug, Clone)]
pub struct Sysmgrd {
    pub script: Arc<Mutex<Script>>,
    begun: Arc<Notify>,
    let_go: Arc<Notify>,
    task: Arc<JoinHandle<()>>,
    streams: Arc<Mutex<Vec<std::os::unix::net::UnixStream>>>,
}

struct Served {
    script: Arc<Mutex<Script>>,
    begun: Arc<Notify>,
    let_go: Arc<Notify>,
}

impl Sysmgrd {
    /// Listens at the node's socket.
    pub fn listen(config: &Config) -> Self {
        Self::with(config, Arc::default())
    }

    pub fn with(config: &Config, script: Arc<Mutex<Script>>) -> Self {
        let path = config.run_dir.join("sysmgrd.sock");
        drop(fs_err::remove_file(&path));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (begun, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let own = (Arc::clone(&script), Arc::clone(&begun), Arc::clone(&let_go));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let opened = Arc::clone(&streams);
        let task = tokio::spawn(async move {
            let mut connections = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = stream.into_std().unwrap();
                opened.lock().unwrap().push(stream.try_clone().unwrap());
                let served = Served {
                    script: Arc::clone(&own.0),
                    begun: Arc::clone(&own.1),
                    let_go: Arc::clone(&own.2),
                };
                let builder = Builder::unix_stream(stream)
                    .server(Guid::generate())
                    .p2p()
                    .serve_at(model::bus::sysmgrd::PATH, served);
                if let Ok(connection) = builder.build().await {
                    connections.push(connection);
                }
            }
        });
        Self {
            script,
            begun,
            let_go,
            task: Arc::new(task),
            streams,
        }
    }

    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap())
    }

    /// Returns when a held transition has begun.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    pub fn let_go(&self) {
        self.let_go.notify_one();
    }

    /// Goes away with all its connections.
    pub fn stop(&self) {
        self.task.abort();
        for stream in self.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    /// Returns when exactly these run, each in its generation.
    pub async fn runs(&self, wanted: &[(&str, u64)]) {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(name, number)| ((*name).to_owned(), *number))
            .collect();
        for _ in 0..2000 {
            if self.running() == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("{:?} run instead of {wanted:?}", self.running());
    }

    pub fn running(&self) -> Vec<(String, u64)> {
        self.script(|script| {
            script
                .running
                .iter()
                .map(|(name, number)| (name.to_string(), number.0))
                .collect()
        })
    }
}

fn answer<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    model::bus::encode(value)
}

#[interface(name = "org.changeover.SysMgr1.Manager")]
impl Served {
    fn processes(&self) -> Result<String, Error> {
        let script = self.script.lock().unwrap();
        let status = |(name, generation): (&ProcessName, &Generation)| ProcessStatus {
            name: name.clone(),
            package: "some".parse().unwrap(),
            pid: Some(1),
            state: "ready".to_owned(),
            generation: *generation,
            since: String::new(),
            restarts: 0,
            registered: script.registered.contains(name),
            status: None,
        };
        answer(&script.running.iter().map(status).collect::<Vec<_>>())
    }

    fn open_view(&self) -> Result<OwnedFd, Error> {
        // The machine's own: nothing of a tree is mounted here.
        let view = fs_err::File::open("/proc/self/ns/mnt");
        let view = view.map_err(|error| Error::Failed(error.to_string()))?;
        Ok(std::os::fd::OwnedFd::from(view.into_file()).into())
    }

    fn ask(&self, document: &str) -> Result<String, Error> {
        let mut script = self.script.lock().unwrap();
        let ask: Ask = model::bus::decode(document)?;
        let asked = script.asked_at.into_iter().flat_map(|at_ms| {
            let what = model::change::What::Asked;
            let moment = model::change::Moment { what, at_ms };
            let names = ask
                .asked
                .iter()
                .map(move |one| (one.process.clone(), moment));
            names.collect::<Vec<_>>()
        });
        let moments = asked.collect();
        script.asks.push(ask);
        answer(&Votes {
            moments,
            vetoes: script.vetoes.clone(),
            later: script.later.clone(),
            ..Votes::default()
        })
    }

    fn prepare(&self, document: &str) -> Result<String, Error> {
        let mut script = self.script.lock().unwrap();
        script.prepares.push(model::bus::decode(document)?);
        answer(&Prepared {
            not_ready: script.not_ready.clone(),
            ..Prepared::default()
        })
    }

    async fn transition(&self, document: &str) -> Result<String, Error> {
        let transition: Transition = model::bus::decode(document)?;
        let hold = {
            let mut script = self.script.lock().unwrap();
            script.transitions.push(transition.clone());
            std::mem::take(&mut script.hold)
        };
        if hold {
            self.begun.notify_one();
            self.let_go.notified().await;
        }
        let mut script = self.script.lock().unwrap();
        answer(&script.take(&transition))
    }

    fn end(&self, document: &str) -> Result<(), Error> {
        let mut script = self.script.lock().unwrap();
        script.ended.push(model::bus::decode(document)?);
        Ok(())
    }

    fn mapped(&self) -> Result<String, Error> {
        let mut script = self.script.lock().unwrap();
        script.looks += 1;
        answer(&script.mapped)
    }
}

impl Script {
    fn take(&mut self, transition: &Transition) -> TransitionReport {
        let mut report = TransitionReport {
            still_mapped: self.still_mapped.clone(),
            ..TransitionReport::default()
        };
        for name in &transition.obsolete {
            self.running.remove(name);
            report.processes.push(outcome(name, Verdict::Stop));
        }
        let told = transition.told.iter().map(|one| &one.wanted);
        let lists: [(Verdict, Vec<&Wanted>); 3] = [
            (Verdict::Start, transition.new.iter().collect()),
            (
                Verdict::Restart,
                transition
                    .changed
                    .iter()
                    .chain(&transition.dependent)
                    .collect(),
            ),
            (Verdict::Notify, told.collect()),
        ];
        for (verdict, list) in lists {
            for wanted in list {
                let name = &wanted.spec.name;
                let generation = transition.tree.generation;
                report.processes.push(outcome(name, verdict));
                if self.failing.contains(&(name.clone(), generation)) {
                    self.running.remove(name);
                    let reason = "it does not come up".to_owned();
                    report.failed.push(Veto {
                        process: name.clone(),
                        reason,
                    });
                } else {
                    self.running.insert(name.clone(), generation);
                }
            }
        }
        report
    }
}

fn outcome(name: &ProcessName, verdict: Verdict) -> ProcessOutcome {
    ProcessOutcome {
        name: name.clone(),
        verdict,
        down_ms: 1,
        ready_ms: 1,
        detail: None,
        moments: Vec::new(),
    }
}
