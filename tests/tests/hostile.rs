//! A peer on the bus that means harm: it changes nothing, keeps nobody waiting, fills no memory, and
//! writes nothing into the log that looks like another's words.
#![allow(clippy::unwrap_used, reason = "tests; helpers too")]

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use model::bus::installd::ManagerProxy;
use tests::on_bus::{OnBus, STRANGER, as_user};
use tests::wait;
use zbus::Connection;
use zbus::connection::Builder;

const INSTALLD: &str = "org.changeover.Install1";
const LIMITS: &str = "org.changeover.Error.LimitsExceeded";

async fn connect(address: &str) -> Connection {
    Builder::address(address).build().await.unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?.block_on(work))
}

async fn call(connection: &Connection, method: &str, words: &str) -> Result<(), String> {
    let (path, interface) = (
        model::bus::installd::PATH,
        "org.changeover.Install1.Manager",
    );
    let answer = match method {
        "Plan" | "Why" | "History" | "Verify" => {
            connection
                .call_method(Some(INSTALLD), path, Some(interface), method, &words)
                .await
        }
        _ => {
            connection
                .call_method(Some(INSTALLD), path, Some(interface), method, &())
                .await
        }
    };
    match answer {
        Ok(_) => Ok(()),
        Err(zbus::Error::MethodError(name, ..)) => Err(name.to_string()),
        Err(other) => Err(other.to_string()),
    }
}

/// A stranger's many calls at once, over several connections; how many were answered, and how many
/// refused for being too many.
async fn flood(address: &str) -> (u32, u32) {
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let connection = connect(address).await;
        for _ in 0..250 {
            let connection = connection.clone();
            calls.spawn(async move { call(&connection, "Status", "").await });
        }
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(()) => answered += 1,
            // The bus has a limit of its own, on replies that are waited for.
            Err(name) if name.contains(".LimitsExceeded") => refused += 1,
            Err(other) => assert_eq!(other, ""),
        }
    }
    (answered, refused)
}

#[test]
fn a_stranger_who_floods_is_refused_and_root_is_answered_meanwhile() {
    let on_bus = OnBus::start().unwrap();
    let address = on_bus.address.clone();
    let stranger = std::thread::spawn(move || {
        as_user(STRANGER, move || {
            run(async move {
                let mut told = Vec::new();
                for _ in 0..5 {
                    told.push(flood(&address).await);
                }
                // It is over, and a single call is answered again.
                let connection = connect(&address).await;
                call(&connection, "Status", "").await.unwrap();
                told
            })
        })
    });
    let longest = run(async {
        let proxy = ManagerProxy::new(&connect(&on_bus.address).await)
            .await
            .unwrap();
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let began = Instant::now();
            proxy.list().await.unwrap();
            longest = longest.max(began.elapsed());
        }
        longest
    })
    .unwrap();
    let told = stranger.join().unwrap().unwrap();
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    for (answered, refused) in told {
        assert_eq!(answered + refused, 1000);
        assert!(
            answered >= 8 && refused > 0,
            "{answered} answered, {refused} refused"
        );
    }
    assert!(
        on_bus.peak("installd").unwrap() < 200,
        "{:?} MiB",
        on_bus.peak("installd")
    );
}

#[test]
fn long_and_deep_words_are_refused_before_they_are_read() {
    let on_bus = OnBus::start().unwrap();
    let address = on_bus.address.clone();
    let told = as_user(STRANGER, move || {
        run(async move {
            let connection = connect(&address).await;
            let long = format!("{{\"actions\":[{}]}}", "\"x\",".repeat(2_000_000));
            let deep = "[".repeat(500_000);
            let many = format!(
                "{{\"actions\":[{}{{\"activate\":\"x\"}}]}}",
                "{\"activate\":\"x\"},".repeat(20_000)
            );
            let mut told = Vec::new();
            for (method, words) in [
                ("Plan", &long),
                ("History", &long),
                ("Verify", &long),
                ("Why", &long),
                ("Plan", &many),
                ("Plan", &deep),
                ("Why", &"../".repeat(1000)),
                ("Why", &"\n\u{1b}[2J".to_owned()),
            ] {
                told.push(call(&connection, method, words).await.unwrap_err());
            }
            told
        })
    })
    .unwrap();
    assert_eq!(told[..5], [LIMITS; 5].map(str::to_owned));
    assert_eq!(
        told[5..],
        ["org.changeover.Error.Invalid"; 3].map(str::to_owned)
    );
    assert!(
        on_bus.peak("installd").unwrap() < 200,
        "{:?} MiB",
        on_bus.peak("installd")
    );
}

#[test]
fn a_descriptor_that_is_no_envelope_is_refused_and_the_next_package_does_not_wait() {
    let on_bus = OnBus::start().unwrap();
    let dir = on_bus.dir().to_owned();
    let package = tests::on_bus::package(&dir).unwrap();
    let (never, _writer) = std::io::pipe().unwrap();
    let sparse = fs_err::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let open = |path: &std::path::Path| {
        OwnedFd::from(std::fs::File::from(fs_err::File::open(path).unwrap()))
    };
    let path_only = rustix::fs::open(
        &package,
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    );
    let write_only = fs_err::OpenOptions::new()
        .append(true)
        .open(&package)
        .unwrap();
    let bad = [
        OwnedFd::from(never),
        open(std::path::Path::new("/dev/zero")),
        open(&dir),
        path_only.unwrap(),
        write_only.into_file().into(),
        open(&dir.join("sparse")),
    ];
    run(async {
        let proxy = ManagerProxy::new(&connect(&on_bus.address).await)
            .await
            .unwrap();
        for (number, fd) in bad.into_iter().enumerate() {
            let began = Instant::now();
            let error = proxy.add(fd.into()).await.unwrap_err();
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{number}: {error}"
            );
        }
        proxy.add(open(&package).into()).await.unwrap();
    })
    .unwrap();
    assert!(
        on_bus.peak("installd").unwrap() < 200,
        "{:?} MiB",
        on_bus.peak("installd")
    );
}

#[test]
fn a_name_with_line_breaks_stays_one_line_of_the_log() {
    let on_bus = OnBus::start().unwrap();
    let incoming = on_bus.dir().join("state/incoming");
    let name = "x\n2026-11-23T00:00:00Z  INFO installd: all is well \u{1b}[2J.pkg";
    fs_err::write(incoming.join(".new"), "no package").unwrap();
    fs_err::rename(incoming.join(".new"), incoming.join(name)).unwrap();
    let line = wait::until("it is refused", || {
        let log = on_bus.log("installd");
        Ok(log
            .lines()
            .find(|line| line.contains("refused"))
            .map(str::to_owned))
    })
    .unwrap();
    assert!(line.contains("x\\n2026-11-23"), "{line}");
    assert!(!line.contains('\u{1b}'), "{line:?}");
    let log = on_bus.log("installd");
    assert!(
        !log.lines()
            .any(|line| line.starts_with("2026-11-23T00:00:00Z")),
        "{log}"
    );
}

#[test]
fn a_stranger_is_nobody_s_daemon_and_has_no_way_to_the_private_socket() {
    let on_bus = OnBus::start().unwrap();
    let (address, socket) = (
        on_bus.address.clone(),
        on_bus.dir().join("run/sysmgrd.sock"),
    );
    assert!(socket.exists());
    as_user(STRANGER, move || {
        std::os::unix::net::UnixStream::connect(&socket).unwrap_err();
        run(async move {
            let connection = connect(&address).await;
            for name in [INSTALLD, "org.changeover.SysMgr1"] {
                connection.request_name(name).await.unwrap_err();
            }
            // Nor may it say that it is one of them: a signal of its own carries its own name.
            let emitted = connection
                .emit_signal(
                    None::<&str>,
                    model::bus::installd::PATH,
                    INSTALLD,
                    "Progress",
                    &"lies",
                )
                .await;
            drop(emitted);
        })
    })
    .unwrap();
}
