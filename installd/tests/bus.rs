//! The edge on a real bus: dbus-daemon and installd as programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use model::bus::Error;
use model::bus::installd::{ManagerProxy, NAME, PATH};
use model::change::{AddedPackage, StatusReport};
use node::{as_file, envelope, package};
use zbus::Connection;

/// A bus and an installd on it; both end with this.
struct OnBus {
    dir: tempfile::TempDir,
    address: String,
    children: Vec<Child>,
}

impl Drop for OnBus {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl OnBus {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Another user must reach the bus, and nothing else.
        rustix::fs::chmod(dir.path(), rustix::fs::Mode::from_raw_mode(0o711)).unwrap();
        let config = node::config(dir.path());
        let address = format!("unix:path={}", dir.path().join("bus").display());
        let policy = format!(
            "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN' \
             'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'><busconfig>\
             <listen>{address}</listen><auth>EXTERNAL</auth><policy context='default'>\
             <allow user='*'/><allow own='*'/><allow send_destination='*'/>\
             <allow receive_sender='*'/></policy></busconfig>"
        );
        fs_err::write(dir.path().join("bus.conf"), policy).unwrap();
        let mut on_bus = Self {
            dir,
            address,
            children: Vec::new(),
        };
        let mut bus = Command::new("dbus-daemon");
        bus.arg("--nofork")
            .arg("--config-file")
            .arg(on_bus.dir.path().join("bus.conf"));
        bus.arg("--print-address=1").stdout(Stdio::piped());
        let mut bus = bus.spawn().expect("dbus-daemon is installed");
        // It prints its address when it listens.
        let mut first = [0];
        bus.stdout.take().unwrap().read_exact(&mut first).unwrap();
        on_bus.children.push(bus);
        let file = on_bus.dir.path().join("installd.toml");
        let (state, run) = (config.state_dir.display(), config.run_dir.display());
        let root = config.machine_root.display();
        let text = format!(
            "state-dir = '{state}'\nrun-dir = '{run}'\nmachine-root = '{root}'\nbus = '{}'\n\
             # No sysmgrd runs here: it is ready without.\n[timeouts]\nsysmgrd = '100ms'\n\
             [trust]\nunsigned = 'accept'\n",
            on_bus.address
        );
        fs_err::write(&file, text).unwrap();
        on_bus.installd(&file);
        on_bus
    }

    /// Starts installd and waits for its `READY=1`.
    fn installd(&mut self, config: &Path) {
        let notify = self.dir.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_installd"))
            .arg("--config")
            .arg(config)
            .env("NOTIFY_SOCKET", &notify)
            .spawn()
            .unwrap();
        self.children.push(child);
        let mut message = [0; 64];
        let count = socket
            .recv(&mut message)
            .expect("installd says that it is ready");
        assert_eq!(&message[..count], b"READY=1\n");
    }

    async fn connect(&self) -> Connection {
        zbus::connection::Builder::address(self.address.as_str())
            .build()
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_package_goes_in_over_the_bus_and_signals_and_properties_are_told() {
    let on_bus = OnBus::start();
    let connection = on_bus.connect().await;
    let proxy = ManagerProxy::new(&connection).await.unwrap();
    let file = as_file(&envelope(
        &[package("one", "1").file("/usr/a", 0o644, b"a")],
    ));
    let added = proxy
        .add(file.as_fd().try_clone_to_owned().unwrap().into())
        .await
        .unwrap();
    let added: Vec<AddedPackage> = model::bus::decode(&added).unwrap();
    assert_eq!(added[0].package, "one=1");
    let status: StatusReport = model::bus::decode(&proxy.status().await.unwrap()).unwrap();
    assert_eq!(status.store.packages, 1);
    assert_eq!(proxy.generation().await.unwrap(), 0);
    assert!(proxy.active().await.unwrap().is_empty());
    let error = proxy.plan("{}").await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    let error = proxy
        .plan(r#"{"actions":[{"activate":"no-such"}]}"#)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no-such is not in the store"),
        "{error}"
    );
}

#[tokio::test]
async fn the_interface_is_the_one_in_the_documents() {
    let on_bus = OnBus::start();
    let connection = on_bus.connect().await;
    let proxy = zbus::fdo::IntrospectableProxy::builder(&connection)
        .destination(NAME)
        .path(PATH)
        .build()
        .await
        .unwrap();
    let live = proxy.introspect().await.unwrap();
    let begin = live
        .find("  <interface name=\"org.changeover.Install1.Manager\">")
        .unwrap();
    let end = begin + live[begin..].find("</interface>").unwrap() + "</interface>\n".len();
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bus/org.changeover.Install1.xml");
    let documented = fs_err::read_to_string(path).unwrap();
    assert!(
        documented.contains(&live[begin..end]),
        "docs/bus/org.changeover.Install1.xml is to hold:\n{}",
        &live[begin..end]
    );
}

/// A program of another user's looks, and is refused a change.
#[test]
fn another_user_may_look_and_not_change() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let on_bus = {
        let _inside = runtime.enter();
        OnBus::start()
    };
    let call = |method: &str, arguments: &[&str]| {
        let mut command = Command::new("dbus-send");
        command
            .arg(format!("--bus={}", on_bus.address))
            .args(["--print-reply", "--reply-timeout=5000"]);
        command.arg(format!("--dest={NAME}")).arg(PATH);
        command
            .arg(format!("org.changeover.Install1.Manager.{method}"))
            .args(arguments);
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        let output = command.output().expect("dbus-send is installed");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (done, error) = call("List", &[]);
    assert!(done, "{error}");
    let request = r#"string:{"actions":[{"activate":"x"}]}"#;
    for (method, argument) in [("Apply", request), ("Remove", "array:string:x")] {
        let (done, error) = call(method, &[argument]);
        assert!(!done);
        assert!(
            error.contains("org.changeover.Error.NotAllowed"),
            "{method}: {error}"
        );
    }
}
