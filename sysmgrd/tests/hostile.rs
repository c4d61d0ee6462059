//! A Self-Managing process that means harm to its session: the session ends, and nothing else does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests; helpers too"
)]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sysmgrd::config::Config;
use sysmgrd::dbus::session::{Served, Way, serve};
use sysmgrd::engine::{Engine, Tools};
use sysmgrd::sys::cgroup::Cgroups;
use sysmgrd::sys::fd_store::FdStore;
use sysmgrd::sys::places::Places;
use sysmgrd::sys::reap::Children;
use sysmgrd::sys::state_files::StateFiles;

/// A session whose other end is ours; its task ends when the session does.
struct Session {
    peer: UnixStream,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
    _signals: tokio::sync::mpsc::Sender<sysmgrd::engine::SessionSignal>,
}

fn session() -> Session {
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
    let (engine, handle) = Engine::new(tools);
    tokio::spawn(engine.work());
    let (ours, peer) = UnixStream::pair().unwrap();
    let served = Served {
        process: "x".parse().unwrap(),
        run: 1,
        handle,
    };
    let (signals, receiver) = tokio::sync::mpsc::channel(1);
    Session {
        peer,
        task: tokio::spawn(serve(Way::Inherited(ours), served, receiver)),
        _dir: dir,
        _signals: signals,
    }
}

/// Introduces itself as root, as libselfmanage does.
fn greet(peer: &mut UnixStream) {
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer.write_all(b"\0AUTH EXTERNAL 30\r\n").unwrap();
    let mut line = [0; 256];
    let count = peer.read(&mut line).unwrap();
    assert!(line[..count].starts_with(b"OK "), "{:?}", &line[..count]);
    peer.write_all(b"BEGIN\r\n").unwrap();
}

/// A call of `Ping` on every object, as bytes.
fn ping(serial: u32) -> Vec<u8> {
    let field = |code: u8, kind: u8, text: &str| {
        let mut bytes = vec![code, 1, kind, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
        bytes
    };
    let mut fields = field(1, b'o', "/");
    for more in [
        field(2, b's', "org.freedesktop.DBus.Peer"),
        field(3, b's', "Ping"),
    ] {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend(more);
    }
    let mut bytes = vec![b'l', 1, 0, 1, 0, 0, 0, 0];
    bytes.extend(serial.to_le_bytes());
    bytes.extend(u32::try_from(fields.len()).unwrap().to_le_bytes());
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Writes until the session is closed; how long it took.
fn write_until_closed(peer: &mut UnixStream, mut bytes: impl FnMut(u32) -> Vec<u8>) -> Duration {
    let began = Instant::now();
    peer.set_write_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for serial in 1..1_000_000 {
        if let Err(error) = peer.write_all(&bytes(serial)) {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ),
                "{error}"
            );
            return began.elapsed();
        }
    }
    unreachable!("the session takes everything")
}

async fn ends(task: tokio::task::JoinHandle<()>) {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, task)
        .await
        .expect("it ends")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_well_behaved_is_answered() {
    let Session {
        mut peer,
        task: _task,
        _dir,
        _signals,
    } = session();
    greet(&mut peer);
    peer.write_all(&ping(1)).unwrap();
    let mut answer = [0; 16];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[1]), (b'l', 2), "a method's return");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_says_to_be_huge_ends_the_session_at_its_header() {
    let Session {
        mut peer,
        task,
        _dir,
        _signals,
    } = session();
    greet(&mut peer);
    let mut header = ping(1);
    header[4..8].copy_from_slice(&(100_u32 << 20).to_le_bytes());
    peer.write_all(&header[..16]).unwrap();
    ends(task).await;
    let mut rest = Vec::new();
    drop(peer.read_to_end(&mut rest));
    assert!(rest.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_the_session() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 8192], &[0; 8192]] {
        let Session {
            mut peer,
            task,
            _dir,
            _signals,
        } = session();
        drop(peer.write_all(garbage));
        drop(peer.shutdown(std::net::Shutdown::Write));
        ends(task).await;
        let Session {
            mut peer,
            task,
            _dir,
            _signals,
        } = session();
        greet(&mut peer);
        drop(peer.write_all(garbage));
        drop(peer.shutdown(std::net::Shutdown::Write));
        ends(task).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_floods_its_session_and_reads_no_answer_loses_it() {
    let Session {
        mut peer,
        task,
        _dir,
        _signals,
    } = session();
    greet(&mut peer);
    let writing = tokio::task::spawn_blocking(move || write_until_closed(&mut peer, ping));
    ends(task).await;
    assert!(writing.await.unwrap() < Duration::from_secs(20));
}
