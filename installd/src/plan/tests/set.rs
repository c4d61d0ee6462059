//! The new set, and what is refused.

use super::build::{Made, Node, data, elf, lib, name, package, program};

#[test]
fn a_package_brings_what_it_requires_and_takes_it_along_when_it_goes() {
    let needs = package("libb", "1").requires("libc6");
    let node = Node::running(&[package("libc6", "1")])
        .with(program("app", &[]).requires("liba >= 2").requires("libb"))
        .with(package("liba", "1"))
        .with(package("liba", "2").requires("libc6"))
        .with(package("liba", "3").requires("libc6"))
        .with(needs);
    let plan = node.plan(&["+app"]);
    assert_eq!(plan.report.unmet, []);
    assert_eq!(
        plan.report.set.after,
        ["app=1", "liba=3", "libb=1", "libc6=1"]
    );
    assert_eq!(plan.brought.len(), 2);
    let with = node.after(&plan);
    let back = with.plan(&["-app"]);
    assert_eq!(
        back.report.set.after,
        ["libc6=1"],
        "nobody asked for the libraries by name"
    );
    assert!(!back.leaving.iter().any(|one| one.id.name == name("libc6")));
}

#[test]
fn what_came_along_stays_while_something_uses_a_library_of_it() {
    let atm = || model::manifest::LibraryNeed {
        soname: "libatm.so.1".into(),
        versions: vec![],
    };
    let route = package("iproute2", "1").edit(|one| one.requires_libraries.push(atm()));
    let library = package("libatm1", "1")
        .file(lib("libatm.so.1"))
        .edit(|one| one.provides_libraries.push(atm()));
    let node = Node::running(&[package("libssl3", "1")])
        .with(package("libssl3", "2"))
        .with(route)
        .with(library);
    let with = node.after(&node.plan(&["+iproute2"]));
    assert_eq!(*with.world.automatic, [name("libatm1")].into());
    let with = with.after(&with.plan(&["+libssl3=2"]));
    let back = with.plan(&["-libssl3=2"]);
    assert_eq!(back.report.unmet, []);
    assert_eq!(
        back.report.set.after.len(),
        3,
        "{:?}",
        back.report.set.after
    );
    let gone = with.plan(&["-iproute2"]);
    assert_eq!(
        gone.report.set.after,
        ["libssl3=2"],
        "nothing uses it any more"
    );
}

#[test]
fn what_must_run_before_a_process_starts_must_be_there() {
    let app = |first: &str| {
        let before = vec![first.to_owned(), "/run/app".to_owned()];
        program("app", &[]).spec(|spec| spec.exec_start_pre = vec![before])
    };
    let script = package("tools", "1").file(data("/usr/bin/prepare").script("/bin/sh"));
    let unmet = |first: &str, words: &[&str]| {
        let node = Node::running(&[]).with(app(first)).with(script.clone());
        let node = node.with(package("dash", "1").file(elf("/usr/bin/sh")));
        let unmet = node.plan(words).report.unmet;
        unmet.into_iter().map(|one| one.needs).collect::<Vec<_>>()
    };
    let lacks = |path: &str| vec![format!("program {path}, which no package of the set has")];
    let all = ["+app", "+tools", "+dash"];
    assert_eq!(unmet("/usr/bin/prepare", &all), [""; 0]);
    assert_eq!(unmet("/bin/prepare", &["+app"]), lacks("/bin/prepare"));
    assert_eq!(
        unmet("+/usr/bin/prepare", &["+app", "+tools"]),
        lacks("/bin/sh")
    );
    assert_eq!(
        unmet("-/usr/bin/prepare", &["+app"]),
        [""; 0],
        "it may fail"
    );
    assert_eq!(
        unmet("/etc/prepare", &["+app"]),
        [""; 0],
        "no package has it"
    );
}

#[test]
fn a_newer_version_taken_back_gives_the_old_set() {
    let node = Node::running(&[package("a", "1"), package("b", "1")]).with(package("a", "2"));
    let with = node.after(&node.plan(&["+a"]));
    assert_eq!(with.plan(&[]).report.set.before, ["a=2", "b=1"]);
    assert_eq!(with.plan(&["-a=2"]).report.set.after, ["a=1", "b=1"]);
    assert_eq!(with.plan(&["-a"]).report.set.after, ["b=1"]);
}

#[test]
fn upgrades_stand_before_their_base_and_leave_with_its_version() {
    let upgrade = |name: &str, version: &str| {
        package(name, version)
            .edit(|one| one.upgrades = Some("base = 1".parse().unwrap()))
            .file(data("/usr/share/base/a").edit(|file| file.function = Some(name.to_owned())))
    };
    let base = |version: &str| package("base", version).file(data("/usr/share/base/a"));
    let node = Node::running(&[package("app", "1").requires("base"), base("1")])
        .with(upgrade("fix", "1"))
        .with(upgrade("fix-more", "2"))
        .with(base("2"));
    let with = node.after(&node.plan(&["+fix-more", "+fix"]));
    let before = with.plan(&[]).report.set.before;
    assert_eq!(before, ["app=1", "fix-more=2", "fix=1", "base=1"]);
    let plan = with.plan(&["+base=2"]);
    assert_eq!(plan.report.set.after, ["app=1", "base=2"]);
    assert_eq!(plan.report.warnings.len(), 2, "{:?}", plan.report.warnings);
}

#[expect(clippy::too_many_lines, reason = "one table")]
#[test]
fn what_is_refused_names_the_thing_and_the_way_out() {
    let foreign = elf("/usr/bin/far").facts(|facts| facts.machine = "aarch64".into());
    let far = package("far", "1")
        .file(foreign)
        .edit(|one| one.architecture = Some("x86_64".into()));
    let circle = program("p", &[]).spec(|spec| spec.after = vec!["q".parse().unwrap()]);
    let twin = program("twin", &[]).process("app", "/usr/bin/twin");
    let wants = |version: &str| model::manifest::LibraryNeed {
        soname: "libx.so.1".into(),
        versions: vec![version.to_owned()],
    };
    let provides = package("libx", "1")
        .file(lib("libx.so.1"))
        .edit(|one| one.provides_libraries.push(wants("X_1")));
    let node = Node::running(&[
        program("app", &["libx.so.1"])
            .requires("base")
            .edit(|one| one.requires_libraries.push(wants("X_1"))),
        package("base", "1"),
        provides,
    ])
    .with(package("wanting", "1").requires("absent >= 2"))
    .with(package("symbol", "1").edit(|one| one.requires_libraries.push(wants("X_2"))))
    .with(program("lacking", &["libnone.so.9"]))
    .with(far)
    .with(package("alien", "1").edit(|one| one.architecture = Some("aarch64".into())))
    .with(circle)
    .with(program("q", &[]).spec(|spec| spec.after = vec!["p".parse().unwrap()]))
    .with(twin)
    .with(package("ghost", "1").process("ghost", "/usr/bin/ghost"));
    let cases: [(&[&str], &str, &str); 12] = [
        (&["+wanting"], "wanting 1", "absent >= 2"),
        (
            &["+symbol"],
            "symbol 1",
            "symbol version X_2 of library libx.so.1",
        ),
        (
            &["+lacking"],
            "/usr/bin/lacking",
            "library libnone.so.9, which no package provides",
        ),
        (
            &["+far"],
            "/usr/bin/far of far=1",
            "a node of architecture aarch64",
        ),
        (&["+alien"], "alien 1", "a node of architecture aarch64"),
        (
            &["+p", "+q"],
            "process p",
            "processes come after each other in a circle: p after q after p",
        ),
        (
            &["+twin"],
            "process app",
            "one package that exports it, but app=1 and twin=1 do",
        ),
        (
            &["+ghost"],
            "process ghost",
            "program /usr/bin/ghost, which no package of the set has",
        ),
        (&["-base"], "app 1", "base"),
        (
            &["-libx"],
            "app 1",
            "library libx.so.1, which no package provides",
        ),
        (&["+wantin"], "the request", "wantin"),
        (&["-far"], "the request", "active package far"),
    ];
    for (words, by, needs) in cases {
        let unmet = node.plan(words).report.unmet;
        let found = unmet.iter().find(|one| one.by == by && one.needs == needs);
        assert!(
            found.is_some_and(|one| !one.hint.is_empty()),
            "{words:?}: {unmet:#?}"
        );
        assert_eq!(unmet.len(), 1, "{words:?}: {unmet:#?}");
    }
    let hint = node.plan(&["+wantin"]).report.unmet[0].hint.clone();
    assert!(hint.contains("wanting"), "{hint}");
}

#[test]
fn what_is_wrong_already_does_not_stand_in_the_way() {
    let node = Node::running(&[
        package("broken", "1").requires("absent"),
        program("hurt", &["libno.so"]),
    ])
    .with(package("fine", "1"));
    assert_eq!(node.plan(&["+fine"]).report.unmet, []);
}

#[test]
fn an_unannotated_dlopen_is_told_of_those_who_come_with_it() {
    let calls = |name: &str, made: Made| {
        let path = format!("/usr/bin/{name}");
        let file = elf(&path).facts(|facts| facts.calls_dlopen = true);
        made.file(file).process(name, &path)
    };
    let node = Node::running(&[])
        .with(calls("blind", package("blind", "1")))
        .with(calls(
            "told",
            package("told", "1").opens("/usr/bin/told", &[]),
        ));
    let warnings = node.plan(&["+blind"]).report.warnings;
    assert!(
        warnings[0].contains("blind cannot be Simple on faith"),
        "{warnings:?}"
    );
    assert_eq!(node.plan(&["+told"]).report.warnings, [""; 0]);
}

/// Files of `base` whose content is this text.
fn text(path: &str, text: &str) -> super::build::File {
    data(path).edit(|file| {
        file.digest = model::Digest::of(text.as_bytes());
        file.signature = file.digest.to_string().parse().unwrap();
    })
}

#[test]
fn files_that_a_newer_upgrade_lacks_come_from_the_older_and_superseded_ones_are_told() {
    let path = |letter: char| format!("/usr/share/base/{letter}");
    let made = |name: &str, version: &str, files: &[(char, &str)]| {
        let put =
            |made: Made, (letter, content): &(char, &str)| made.file(text(&path(*letter), content));
        files.iter().fold(package(name, version), put)
    };
    let upgrade = |name: &str, version: &str, range: &str, files: &[(char, &str)]| {
        let made = made(name, version, files);
        made.edit(|one| one.upgrades = Some(range.parse().unwrap()))
    };
    let node = Node::running(&[made("base", "1", &[('a', "1"), ('b', "1"), ('c', "1")])])
        .with(upgrade(
            "older",
            "1",
            "base >= 1, <= 2",
            &[('a', "old"), ('b', "old")],
        ))
        .with(upgrade("newer", "2", "base = 1", &[('b', "new")]))
        .with(made("base", "2", &[('a', "old"), ('b', "old"), ('c', "2")]));
    let plan = node.plan(&["+newer", "+older"]);
    assert_eq!(plan.report.set.after, ["newer=2", "older=1", "base=1"]);
    assert_eq!(plan.report.superseded, [""; 0]);
    let owners: Vec<_> = plan
        .tree(&node.world)
        .iter()
        .map(|one| one.package.name_version())
        .collect();
    assert_eq!(owners, ["older=1", "newer=2", "base=1"]);

    let with = node.after(&plan);
    let plan = with.plan(&["+base=2"]);
    assert_eq!(
        plan.report.set.after,
        ["older=1", "base=2"],
        "its range has the new version"
    );
    assert!(
        plan.report.warnings[0].contains("newer=2 leaves"),
        "{:?}",
        plan.report.warnings
    );
    assert_eq!(plan.report.superseded, ["older=1"]);

    // Add then remove gives the old set, with the upgrade that had left.
    let back = with.after(&plan).plan(&["-base=2"]);
    assert_eq!(back.report.set.after, ["newer=2", "older=1", "base=1"]);
    assert!(
        back.report.warnings[0].contains("newer=2 comes back"),
        "{:?}",
        back.report.warnings
    );
}
