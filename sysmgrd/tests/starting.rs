//! Starting: views, readiness, users, environment, order.
#![allow(clippy::unwrap_used, reason = "tests; helpers too")]

mod node;

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Span;
use model::mappings::Mappings;
use model::process::{ListenSocket, OwnDirectory, Ready};
use model::transition::StillMapped;
use node::{Groups, Node, is_alive, name, notify, outcome, spec, starting};

#[tokio::test]
async fn a_process_runs_in_the_view_of_its_generation_and_nowhere_else() {
    let node = Node::start();
    let report = node
        .transition(&starting(node.tree(1, "one"), [notify("ribd")]))
        .await;
    assert_eq!(report.failed, []);
    let status = node.status("ribd").await;
    assert_eq!((status.state.as_str(), status.generation.0), ("ready", 1));
    let pid = status.pid.unwrap();
    let seen = PathBuf::from(format!("/proc/{pid}/root/usr"));
    let mut inside: Vec<_> = fs_err::read_dir(&seen)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    inside.sort();
    assert_eq!(inside, ["bin", "share"]);
    let refused = fs_err::write(seen.join("bin/x"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(!Path::new("/usr/share/text").exists());
}

#[tokio::test]
async fn every_way_to_say_ready_is_understood() {
    let node = Node::start();
    let mut newline = spec("newline", "newline 7 sleep");
    newline.ready = Ready::Descriptor;
    newline.notification_fd = Some(7);
    let mut socket = spec("socket", "listen /run/s.sock sleep");
    socket.ready = Ready::Socket;
    socket.ready_sockets = vec!["/run/s.sock".into()];
    let mut forking = spec("forking", "fork /run/f.pid sleep");
    forking.ready = Ready::Forking;
    forking.pid_file = Some("/run/f.pid".into());
    let mut guessed = spec("guessed", "fork");
    guessed.exec.extend([String::new(), "sleep".into()]);
    guessed.ready = Ready::Forking;
    let mut oneshot = spec("oneshot", "write /var/lib/done yes");
    oneshot.ready = Ready::Oneshot;
    let mut remains = spec("remains", "say hello");
    remains.ready = Ready::Oneshot;
    remains.remain_after_exit = true;
    let specs = [
        notify("notify"),
        newline,
        socket,
        forking,
        guessed,
        oneshot,
        remains,
        spec("exec", "sleep"),
    ];
    let report = node.transition(&starting(node.tree(1, "one"), specs)).await;
    assert_eq!(report.failed, []);
    for name in ["notify", "newline", "socket", "forking", "guessed", "exec"] {
        let status = node.status(name).await;
        assert_eq!(status.state, "ready", "{name}");
        assert!(is_alive(status.pid.unwrap()), "{name}");
    }
    let daemon = fs_err::read_to_string(node.dir.path().join("run/f.pid")).unwrap();
    assert_eq!(
        node.status("forking").await.pid.unwrap().to_string(),
        daemon.trim()
    );
    assert_eq!(
        fs_err::read_to_string(node.dir.path().join("root/var/lib/done")).unwrap(),
        "yes"
    );
    for name in ["oneshot", "remains"] {
        assert_eq!(node.status(name).await.state, "done");
    }
}

#[tokio::test]
async fn each_failure_to_start_says_what_and_why() {
    let node = Node::start();
    let mut missing = spec("missing", "sleep");
    missing.exec = vec!["/usr/sbin/ribd".into()];
    let mut stranger = spec("stranger", "sleep");
    stranger.user = Some("fwdd".into());
    let mut silent = spec("silent", "say waiting sleep");
    silent.ready = Ready::Notify;
    silent.start_timeout = Span::Finite(Duration::from_millis(300));
    let mut dies = spec("dies", "say cannot-open-database exit 3");
    dies.ready = Ready::Notify;
    let mut before = spec("before", "sleep");
    before.exec_start_pre = vec![vec!["/usr/bin/daemon".into(), "exit".into(), "4".into()]];
    let mut nowhere = spec("nowhere", "sleep");
    nowhere.working_directory = Some("/nowhere".into());
    let mut file = spec("file", "sleep");
    file.environment_file = vec!["/etc/absent".into()];
    let mut daemonless = spec("daemonless", "exit 0");
    daemonless.ready = Ready::Forking;
    let specs = [
        missing, stranger, silent, dies, before, nowhere, file, daemonless,
    ];
    let report = node.transition(&starting(node.tree(4, "one"), specs)).await;
    let cases = [
        ("missing", "/usr/sbin/ribd in generation 4: no such file"),
        ("stranger", "no user \"fwdd\""),
        (
            "silent",
            "not ready within its start-timeout; its last lines:\nwaiting",
        ),
        (
            "dies",
            "ended with exit code 3; its last lines:\ncannot-open-database",
        ),
        ("before", "exec-start-pre ended with exit code 4"),
        ("nowhere", "working directory /nowhere"),
        ("file", "environment-file: failed to open file"),
        ("daemonless", "left no daemon"),
    ];
    for (name, reason) in cases {
        let failed = report
            .failed
            .iter()
            .find(|veto| veto.process.as_str() == name)
            .unwrap();
        assert!(failed.reason.contains(reason), "{name}: {}", failed.reason);
        assert_eq!(node.status(name).await.state, "failed");
        assert!(node.status(name).await.pid.is_none());
    }
    assert_eq!(report.failed.len(), cases.len());
}

/// A process that declares everything it can.
fn declared() -> model::ProcessSpec {
    let mut ribd = spec(
        "ribd",
        "ids env HOME env USER env PATH env STATE_DIRECTORY env RUNTIME_DIRECTORY env FROM_FILE env LISTEN_FDS env LISTEN_FDNAMES",
    );
    ribd.exec.extend(
        [
            "$OPTS",
            "say",
            "${FROM_FILE}",
            "write",
            "/var/lib/rib/state",
            "x",
            "descriptors",
            "sleep",
        ]
        .map(String::from),
    );
    ribd.user = Some("ribd".into());
    ribd.environment
        .insert("FROM_FILE".into(), "overridden".into());
    ribd.environment.insert("EXPANDED".into(), "yes".into());
    ribd.environment_file = vec!["/etc/ribd.env".into(), "-/etc/absent".into()];
    ribd.state_directory = vec![OwnDirectory {
        name: "rib".into(),
        mode: Some("0700".into()),
    }];
    ribd.runtime_directory = vec![OwnDirectory {
        name: "rib".into(),
        mode: None,
    }];
    ribd.sockets = vec![ListenSocket {
        name: "api".into(),
        listen: "/run/api.sock".into(),
        datagram: false,
        mode: None,
    }];
    ribd
}

#[tokio::test]
async fn user_groups_directories_environment_and_descriptors_are_as_declared() {
    let node = Node::start();
    fs_err::write(
        node.dir.path().join("root/etc/ribd.env"),
        "FROM_FILE='a b'\nOPTS=env EXPANDED\n",
    )
    .unwrap();
    let report = node
        .transition(&starting(node.tree(1, "one"), [declared()]))
        .await;
    assert_eq!(report.failed, []);
    drop(std::os::unix::net::UnixStream::connect(node.dir.path().join("run/api.sock")).unwrap());
    // The last thing that it does before it sleeps.
    while !node.logs("ribd").await.contains(&"fd 3".to_owned()) {
        tokio::task::yield_now().await;
    }
    let lines = node.logs("ribd").await;
    let expected = [
        "ids 61234 61235",
        "HOME=/home/ribd",
        "USER=ribd",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "STATE_DIRECTORY=/var/lib/rib",
        "RUNTIME_DIRECTORY=/run/rib",
        "FROM_FILE=a b",
        "LISTEN_FDS=1",
        "LISTEN_FDNAMES=api",
        "EXPANDED=yes",
        "a b",
        "fd 0",
        "fd 1",
        "fd 2",
        "fd 3",
    ];
    assert_eq!(lines, expected);
    let pid = node.status("ribd").await.pid.unwrap();
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(line("Groups:"), "61235 61236");
    assert_eq!(line("CapEff:"), "0000000000000000");
    assert_eq!(
        (line("SigBlk:"), line("Umask:")),
        ("0".repeat(16), "0022".to_owned())
    );
    assert_eq!(
        fs_err::read_to_string(node.dir.path().join("root/var/lib/rib/state")).unwrap(),
        "x"
    );
}

#[tokio::test]
async fn starts_follow_the_order_and_stops_go_backwards() {
    let node = Node::start();
    let mut app = spec("app", "read /var/lib/db sleep");
    app.after = vec![name("db")];
    let mut db = spec("db", "write /var/lib/db up notify READY=1 sleep");
    db.ready = Ready::Notify;
    db.exec_stop = vec![
        ["/usr/bin/daemon", "write", "/var/lib/db", "down"]
            .map(String::from)
            .to_vec(),
    ];
    app.exec_stop = vec![
        ["/usr/bin/daemon", "read", "/var/lib/db"]
            .map(String::from)
            .to_vec(),
    ];
    let tree = node.tree(1, "one");
    let report = node.transition(&starting(tree.clone(), [app, db])).await;
    assert_eq!(report.failed, []);
    let mut stop = starting(tree, []);
    stop.obsolete = vec![name("db"), name("app")];
    let log = node.run_dir().join("log/app");
    let report = node.transition(&stop).await;
    assert_eq!(report.failed, []);
    assert_eq!(
        outcome(&report, "app").verdict,
        model::change::Verdict::Stop
    );
    assert_eq!(fs_err::read_to_string(log).unwrap(), "read up\nread up\n");
    assert_eq!(
        fs_err::read_to_string(node.dir.path().join("root/var/lib/db")).unwrap(),
        "down"
    );
    assert_eq!(node.manager().await.processes().await.unwrap(), "[]");
}

#[tokio::test]
async fn the_second_same_transition_changes_nothing() {
    let node = Node::start();
    let wanted = starting(node.tree(1, "one"), [notify("ribd")]);
    node.transition(&wanted).await;
    let before = node.status("ribd").await;
    let report = node.transition(&wanted).await;
    assert_eq!(report.failed, []);
    assert_eq!(node.status("ribd").await, before);
}

#[tokio::test]
async fn a_tree_without_usr_is_refused_before_anything_stops() {
    let node = Node::start();
    node.transition(&starting(node.tree(1, "one"), [notify("ribd")]))
        .await;
    let before = node.status("ribd").await;
    let mut broken = node.tree(2, "two");
    fs_err::remove_dir_all(broken.root.join("usr")).unwrap();
    broken.generation.0 = 2;
    let mut next = starting(broken, []);
    next.changed = vec![node::wanted(notify("ribd"))];
    let document = serde_json::to_string(&next).unwrap();
    let error = node
        .manager()
        .await
        .transition(&document)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("generation 2 has no") && error.contains("usr"),
        "{error}"
    );
    assert_eq!(node.status("ribd").await, before);
}

#[tokio::test]
async fn a_whole_group_is_ended_whatever_the_layout() {
    for groups in [Groups::Two, Groups::One, Groups::None] {
        let node = Node::with(groups, "");
        let mut stubborn = spec("stubborn", "ignore-term child child notify READY=1 sleep");
        stubborn.ready = Ready::Notify;
        stubborn.stop_timeout = Span::Finite(Duration::from_millis(200));
        let tree = node.tree(1, "one");
        let report = node.transition(&starting(tree.clone(), [stubborn])).await;
        assert_eq!(report.failed, [], "{groups:?}");
        let mapped = node.manager().await.mapped().await.unwrap();
        let mapped: Mappings = serde_json::from_str(&mapped).unwrap();
        let pids: Vec<u32> = mapped.processes.iter().map(|one| one.pid).collect();
        assert_eq!(pids.len(), 3, "{groups:?}: {mapped:?}");
        let program = mapped.files.iter().find(|one| one.by == [0, 1, 2]);
        assert!(program.is_some(), "{groups:?}: {mapped:?}");
        let mut stop = starting(tree, []);
        stop.obsolete = vec![name("stubborn")];
        node.transition(&stop).await;
        assert!(!pids.into_iter().any(is_alive), "{groups:?}");
        assert!(!node.cgroup().join("stubborn.process").exists());
    }
}

#[tokio::test]
async fn who_has_a_replaced_file_mapped_afterwards_is_in_the_answer() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::start();
    let tree = node.tree(1, "one");
    let mut start = starting(tree.clone(), [notify("ribd"), notify("fwdd")]);
    assert_eq!(
        node.transition(&start).await.still_mapped,
        None,
        "nothing was replaced"
    );
    let pid = node.status("ribd").await.pid.unwrap();
    // Its own program stands for the library that it did not let go.
    let program = fs_err::metadata(format!("/proc/{pid}/exe")).unwrap();
    start.stale = vec![(program.dev(), program.ino()), (1, 1)];
    start.new.retain(|one| one.spec.name.as_str() == "ribd");
    let report = node.transition(&start).await;
    let expected = StillMapped {
        process: name("ribd"),
        pid,
        file: (program.dev(), program.ino()),
    };
    assert_eq!(
        report.still_mapped,
        Some(vec![expected]),
        "only who takes part"
    );
    start.stale = vec![(1, 1)];
    assert_eq!(node.transition(&start).await.still_mapped, Some(Vec::new()));
}
