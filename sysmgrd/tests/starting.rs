//! Starting: views, readiness, users, environment, order.
#![expect(missing_docs, reason = "tests")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod node;

use node::{Node, notify, starting};

#[tokio::test]
async fn a_process_runs_in_the_view_of_its_generation_and_nowhere_else() {
    let node = Node::start();
    let tree = node.tree(1, "one");
    let report = node
        .transition(&starting(tree.clone(), [notify("ribd")]))
        .await;
    assert_eq!(report.failed, []);
    let status = node.status("ribd").await;
    assert_eq!((status.state.as_str(), status.generation.0), ("ready", 1));
    let pid = status.pid.unwrap();
    let seen = std::path::PathBuf::from(format!("/proc/{pid}/root/usr"));
    let mut inside: Vec<_> = fs_err::read_dir(&seen)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    inside.sort();
    assert_eq!(inside, ["bin", "share"]);
    fs_err::write(seen.join("bin/x"), "x").unwrap_err();
    assert!(!std::path::Path::new("/usr/share/text").exists());
}
