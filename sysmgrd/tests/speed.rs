//! How long a changeover of trivial processes takes beside a bare loop; printed, never judged.
#![allow(clippy::unwrap_used, reason = "tests; helpers too")]

mod node;

use std::process::Command;
use std::time::Instant;

use node::{Node, spec, starting, wanted};

#[tokio::test]
#[ignore = "prints figures; run with --ignored --nocapture"]
#[expect(clippy::print_stderr, reason = "figures")]
async fn restarts_beside_a_bare_loop() {
    let node = Node::start();
    let tree = node.tree(1, "one");
    for count in [1, 10, 100] {
        let specs: Vec<_> = (0..count)
            .map(|n| spec(&format!("p{n}"), "sleep"))
            .collect();
        node.transition(&starting(tree.clone(), specs.clone()))
            .await;
        let mut next = starting(node.tree(100 + count, "two"), []);
        next.dependent = specs.into_iter().map(wanted).collect();
        let begin = Instant::now();
        let report = node.transition(&next).await;
        let ours = begin.elapsed();
        assert_eq!(report.failed, []);
        let program = tree.root.join("usr/bin/daemon");
        let mut children: Vec<_> = (0..count)
            .map(|_| Command::new(&program).arg("sleep").spawn().unwrap())
            .collect();
        let begin = Instant::now();
        for child in &mut children {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            child.wait().unwrap();
            *child = Command::new(&program).arg("sleep").spawn().unwrap();
        }
        let bare = begin.elapsed();
        eprintln!(
            "FIGURE {count}: {ours:?}, bare {bare:?}, ratio {:.2}",
            ours.as_secs_f64() / bare.as_secs_f64()
        );
        for mut child in children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let mut stop = starting(next.tree, []);
        stop.obsolete = (0..count).map(|n| node::name(&format!("p{n}"))).collect();
        node.transition(&stop).await;
    }
}
