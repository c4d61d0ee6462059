//! The edge: what the interfaces look like, and who may do what.
#![allow(clippy::unwrap_used, reason = "tests; helpers too")]

mod node;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use model::bus::sysmgrd::ManagerProxy;
use node::{Node, notify, starting};
use sysmgrd::config::Config;
use sysmgrd::dbus::session::{Served, Way, serve};
use sysmgrd::engine::{Engine, Tools};
use sysmgrd::sys::cgroup::Cgroups;
use sysmgrd::sys::fd_store::FdStore;
use sysmgrd::sys::places::Places;
use sysmgrd::sys::reap::Children;
use sysmgrd::sys::state_files::StateFiles;
use zbus::connection::Builder;
use zbus::fdo::IntrospectableProxy;

/// Compares with `docs/bus/NAME.xml`; `UPDATE_DOCS=1` writes it instead.
fn check(name: &str, live: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/bus/{name}.xml"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs_err::write(&file, live).unwrap();
    }
    assert_eq!(
        fs_err::read_to_string(&file).unwrap(),
        live,
        "UPDATE_DOCS=1 writes it anew"
    );
}

async fn introspect(connection: &zbus::Connection, path: &str) -> String {
    let builder = IntrospectableProxy::builder(connection).destination("org.changeover.SysMgr1");
    let proxy = builder.path(path.to_owned()).build().await.unwrap();
    proxy.introspect().await.unwrap()
}

#[tokio::test]
async fn the_managers_interface_is_the_one_in_the_documents() {
    let node = Node::start();
    let manager = node.manager().await;
    let live = introspect(manager.inner().connection(), model::bus::sysmgrd::PATH).await;
    check("org.changeover.SysMgr1", &live);
}

#[tokio::test]
async fn a_process_is_an_object_on_the_bus_while_it_is_supervised() {
    let bus = Bus::start();
    let mut node = Node::start();
    node.end_daemon(nix::sys::signal::Signal::SIGTERM);
    node.config = node
        .config
        .replace("bus = 'none'", &format!("bus = '{}'", bus.address));
    node.start_daemon();
    let manager = node.manager().await;
    let connection = Builder::address(bus.address.as_str())
        .build()
        .await
        .unwrap();
    let path = "/org/changeover/SysMgr1/process/my_2dd";
    let started = starting(node.tree(1, "one"), [notify("my-d")]);
    let document = serde_json::to_string(&started).unwrap();
    manager.transition(&document).await.unwrap();
    let properties = zbus::fdo::PropertiesProxy::builder(&connection)
        .destination("org.changeover.SysMgr1")
        .path(path)
        .build()
        .await
        .unwrap();
    let says = async |key: &str| {
        let interface = "org.changeover.SysMgr1.Process".try_into().unwrap();
        let value = properties.get(interface, key).await;
        value.map(|value| format!("{value:?}")).unwrap_or_default()
    };
    // The objects follow the engine; they come soon.
    while !says("State").await.contains("ready") {
        tokio::task::yield_now().await;
    }
    let status = node.status("my-d").await;
    assert!(says("Pid").await.contains(&status.pid.unwrap().to_string()));
    assert!(says("Generation").await.contains('1'));
    check(
        "org.changeover.SysMgr1.Process",
        &introspect(&connection, path).await,
    );
    let mut changes = properties.receive_properties_changed().await.unwrap();
    let proxy = ManagerProxy::new(&connection).await.unwrap();
    proxy.restart(vec!["my-d".to_owned()]).await.unwrap();
    let told = futures_util::StreamExt::next(&mut changes).await.unwrap();
    let told = format!("{:?}", told.args().unwrap());
    assert!(told.contains("Pid"), "{told}");
    let mut gone = started.clone();
    gone.new.clear();
    gone.obsolete = vec![node::name("my-d")];
    let document = serde_json::to_string(&gone).unwrap();
    manager.transition(&document).await.unwrap();
    while !says("State").await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_sessions_interface_is_the_one_in_the_documents() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        run_dir: dir.path().into(),
        ..Config::default()
    };
    let tools = Tools {
        places: Places::new(&config).into(),
        cgroups: Cgroups::find(Some(dir.path()), "x"),
        children: Children::default(),
        files: StateFiles::open(dir.path()).unwrap(),
        store: FdStore::default(),
    };
    let (_engine, handle) = Engine::new(tools);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let served = Served {
        process: "x".parse().unwrap(),
        run: 1,
        handle,
    };
    let (_signals, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(serve(Way::Inherited(ours), served, receiver));
    let connection = Builder::unix_stream(theirs).p2p().build().await.unwrap();
    check(
        "org.changeover.Session1",
        &introspect(&connection, model::bus::session::PATH).await,
    );
}

/// A bus of our own, which lets everybody in.
struct Bus {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Bus {
    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("bus-")
            .tempdir_in("/tmp")
            .unwrap();
        let socket: PathBuf = dir.path().join("socket");
        let address = format!("unix:path={}", socket.display());
        let config = dir.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>{address}</listen><policy context='default'>\
             <allow user='*'/><allow own='*'/><allow send_destination='*' eavesdrop='true'/>\
             <allow eavesdrop='true'/></policy></busconfig>"
        );
        fs_err::write(&config, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(dir.path(), mode).unwrap();
        let mut command = Command::new("dbus-daemon");
        let child = command
            .args(["--nofork", "--print-address=1", "--config-file"])
            .arg(&config);
        let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        Self {
            child,
            address,
            _dir: dir,
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The answer to a call that user 65534 makes.
fn as_nobody(bus: &Bus, method: &str, words: &[&str]) -> String {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "dbus-send",
        "--print-reply",
    ]);
    command
        .arg(format!("--bus={}", bus.address))
        .arg("--dest=org.changeover.SysMgr1");
    command
        .arg("/org/changeover/SysMgr1")
        .arg(format!("org.changeover.SysMgr1.Manager.{method}"));
    let output = command.args(words).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn on_the_bus_everybody_reads_and_only_root_changes() {
    let bus = Bus::start();
    let mut node = Node::start();
    node.end_daemon(nix::sys::signal::Signal::SIGTERM);
    node.config = node
        .config
        .replace("bus = 'none'", &format!("bus = '{}'", bus.address));
    node.start_daemon();
    let connection = Builder::address(bus.address.as_str())
        .build()
        .await
        .unwrap();
    let manager = loop {
        let manager = ManagerProxy::new(&connection).await.unwrap();
        if manager.processes().await.is_ok() {
            break manager;
        }
        tokio::task::yield_now().await;
    };
    let document = serde_json::to_string(&starting(node.tree(1, "one"), [notify("ribd")])).unwrap();
    manager.transition(&document).await.unwrap();
    let view = manager.open_view().await.unwrap();
    let link = fs_err::read_link(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&view)
    ))
    .unwrap();
    assert!(link.to_str().unwrap().starts_with("mnt:"), "{link:?}");

    let call = |method: &str, words: &[&str]| as_nobody(&bus, method, words);
    assert!(call("Processes", &[]).contains("ribd"));
    for (method, words) in [
        ("Restart", vec!["array:string:ribd"]),
        ("OpenView", vec![]),
        ("Ask", vec!["string:{}"]),
        ("Prepare", vec!["string:{}"]),
        ("Transition", vec!["string:{}"]),
        ("End", vec!["string:{}"]),
    ] {
        let answer = call(method, &words);
        assert!(
            answer.contains("org.changeover.Error.NotAllowed"),
            "{method}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_is_not_a_document_is_refused_and_a_restart_during_a_transition_too() {
    let node = Node::start();
    let manager = node.manager().await;
    for bad in ["", "{}", "[1]", "{\"change\":1"] {
        let error = manager.transition(bad).await.unwrap_err();
        assert!(error.to_string().contains("bad document"), "{error}");
    }
    let mut slow = notify("slow");
    slow.exec.splice(
        1..,
        ["after", "/run/go", "notify", "READY=1", "sleep"].map(String::from),
    );
    let document = serde_json::to_string(&starting(node.tree(1, "one"), [slow])).unwrap();
    let other = node.manager().await;
    let first = tokio::spawn({
        let document = document.clone();
        async move { manager.transition(&document).await.unwrap() }
    });
    node.wait_for_any("slow", "starting").await;
    let error = other
        .restart(vec!["slow".to_owned()])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("change 1 is being carried out"), "{error}");
    fs_err::write(node.dir.path().join("run/go"), "").unwrap();
    assert!(first.await.unwrap().contains("\"failed\":[]"));
    let mut circle = [notify("a"), notify("b")];
    circle[0].after = vec![node::name("b")];
    circle[1].after = vec![node::name("a")];
    let document = serde_json::to_string(&starting(node.tree(2, "two"), circle)).unwrap();
    let error = other.transition(&document).await.unwrap_err().to_string();
    assert!(error.contains("circle"), "{error}");
}
