//! `fleet images`, `fleet collect`, `fleet groups`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::wire::{Collected, FleetName, ImageView, Selector};

use super::super::{ago, bytes, count};
use super::joined;
use crate::show::Look;

/// Every version of every image.
pub fn images(all: &[ImageView], now: Timestamp, look: Look) -> String {
    if all.is_empty() {
        return "no images: pkgtool image SPEC.toml, then pkgtool fleet import FILE.image\n"
            .to_owned();
    }
    let row = |image: &ImageView| {
        vec![
            image.name.to_string(),
            image.version.to_string(),
            if image.in_use {
                look.good("in use")
            } else {
                String::new()
            },
            image.packages.len().to_string(),
            image.boot.len().to_string(),
            image.nodes.to_string(),
            ago(&image.imported, now),
            joined(&image.signed_by, ","),
            image.summary.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let heads = [
        "image",
        "version",
        "",
        "packages",
        "boot",
        "nodes",
        "age",
        "signed by",
        "summary",
    ];
    look.table(&heads, &["packages", "boot", "nodes", "age"], &rows)
}

/// What was freed.
pub fn collected(freed: &Collected) -> String {
    if *freed == Collected::default() {
        return "nothing to free: everything is named by a package, an image or a node\n"
            .to_owned();
    }
    let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
    let lists = count(number(freed.lists), "software list", "software lists");
    let objects = count(number(freed.objects), "object", "objects");
    format!("freed {}: {objects}, {lists}\n", bytes(freed.bytes))
}

/// Saved groups, each as it would be said on the command line.
pub fn groups(all: &BTreeMap<FleetName, Selector>, look: Look) -> String {
    if all.is_empty() {
        return "no groups: pkgtool fleet groups save NAME --class edge --location lab\n"
            .to_owned();
    }
    let row = |(name, selector): (&FleetName, &Selector)| vec![name.to_string(), said(selector)];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    look.table(&["group", "nodes"], &[], &rows)
}

/// A selection as options.
pub fn said(selector: &Selector) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(selector.nodes.iter().map(|one| format!("--node {one}")));
    words.extend(selector.classes.iter().map(|one| format!("--class {one}")));
    let types = selector.node_types.iter();
    words.extend(types.map(|one| format!("--type {one}")));
    let locations = selector.locations.iter();
    words.extend(locations.map(|one| format!("--location {one}")));
    let labels = selector.labels.iter();
    words.extend(labels.map(|(name, value)| format!("--label {name}={value}")));
    words.extend(selector.group.iter().map(|one| format!("--group {one}")));
    if selector.all {
        words.push("--all".to_owned());
    }
    words.join(" ")
}
