//! What is true and should not be: told after every change and at start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use model::manifest::RequiresWhen;
use node::{Node, Sysmgrd, package};

#[tokio::test]
async fn an_active_set_is_looked_at_again_at_start_and_after_every_change() {
    let node = Node::start();
    let _sysmgrd = Sysmgrd::listen(&node.config);
    let mut needy = package("needy", "1").process("needyd", "#!/bin/sh\n");
    let when = r#"{"feature": "radio", "packages": ["driver"]}"#;
    let when: RequiresWhen = serde_json::from_str(when).unwrap();
    needy.manifest.requires_when = vec![when];
    node.add(&[needy, package("extra", "1")]).await;
    let report = node.activate(&["needy"]).await;
    assert!(report.discrepancies.is_empty(), "{report:?}");

    // The node gets what makes the package need another one.
    let (dir, mut config) = node.kill();
    config.node.features = vec!["radio".to_owned()];
    let node = Node::over(dir, config);
    let told = |all: &[String]| all.iter().any(|one| one.contains("needs driver"));
    let status = node.engine.status().await.unwrap();
    assert!(told(&status.discrepancies), "{:?}", status.discrepancies);
    assert!(told(&node.engine.view().borrow().discrepancies), "the bus");

    let driver = package("driver", "1");
    node.add(&[driver]).await;
    let report = node.activate(&["driver", "extra"]).await;
    assert!(!told(&report.discrepancies), "{report:?}");
    let view = node.engine.view();
    assert!(view.borrow().discrepancies.is_empty());
}
