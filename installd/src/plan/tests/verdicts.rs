//! What each kind of change means for each kind of process.

use resolve::loader::{Cache, Rules};

use super::build::{LIB, Node, data, elf, expect, lib, lib_at, link, package, program};

fn libx() -> super::build::Made {
    package("libx", "1").file(lib("libx.so.1"))
}

fn libx_changed() -> super::build::Made {
    package("libx", "2").file(lib("libx.so.1").changed())
}

#[test]
fn a_changed_library_restarts_exactly_its_users_direct_and_transitive() {
    let node = Node::running(&[
        program("direct", &["libx.so.1"]),
        program("through", &["liby.so.1"]),
        program("other", &["libz.so.1"]),
        package("liby", "1").file(lib("liby.so.1").needs(&["libx.so.1"])),
        package("libz", "1").file(lib("libz.so.1")),
        libx(),
    ])
    .with(libx_changed());
    let expected = expect("direct restart, other none, through restart");
    assert_eq!(node.verdicts(&["+libx"]), expected);
    let chain = node.chain(&["+libx"], "through");
    let expected = [
        format!("{LIB}/libx.so.1 changed"),
        format!("{LIB}/liby.so.1 needs libx.so.1"),
        "/usr/bin/through needs liby.so.1".to_owned(),
        "through runs /usr/bin/through".to_owned(),
    ];
    assert_eq!(chain, expected);
}

#[test]
fn a_library_that_was_only_rebuilt_restarts_nobody() {
    let node = Node::running(&[program("app", &["libx.so.1"]), libx()])
        .with(package("libx", "2").file(lib("libx.so.1").rebuilt()));
    assert_eq!(node.verdicts(&["+libx"]), expect("app none"));
    let plan = node.plan(&["+libx"]);
    assert_eq!(plan.report.libraries.rebuilt.len(), 1);
    assert!(plan.report.libraries.changed.is_empty());
    assert!(!plan.is_empty, "the set differs all the same");
}

#[test]
fn a_soname_link_to_another_file_is_a_change_only_if_the_substance_differs() {
    let old = package("libx", "1")
        .file(
            lib_at(&format!("{LIB}/libx.so.1.0.0")).facts(|f| f.soname = Some("libx.so.1".into())),
        )
        .file(link(&format!("{LIB}/libx.so.1"), "libx.so.1.0.0"));
    let signature = old.0.files.iter().find_map(|one| match &one.node {
        model::manifest::Node::File(file) => Some(file.signature),
        model::manifest::Node::Link { .. } | model::manifest::Node::Directory => None,
    });
    let signature = signature.unwrap();
    let new = |version: &str, same: bool| {
        let file = lib_at(&format!("{LIB}/libx.so.1.0.{version}"));
        let file = file.facts(|f| f.soname = Some("libx.so.1".into()));
        let file = file.edit(|f| {
            if same {
                f.signature = signature;
            }
        });
        package("libx", version).file(file).file(link(
            &format!("{LIB}/libx.so.1"),
            &format!("libx.so.1.0.{version}"),
        ))
    };
    let node = Node::running(&[program("app", &["libx.so.1"]), old])
        .with(new("2", false))
        .with(new("3", true))
        .mapped("app", &format!("{LIB}/libx.so.1.0.0"));
    assert_eq!(node.verdicts(&["+libx=2"]), expect("app restart"));
    let chain = node.chain(&["+libx=2"], "app");
    assert_eq!(chain[0], format!("{LIB}/libx.so.1 changed"));
    assert_eq!(chain[1], "/usr/bin/app needs libx.so.1");
    assert_eq!(
        node.verdicts(&["+libx=3"]),
        expect("app none"),
        "renamed, not changed"
    );
}

#[test]
fn mode_and_owner_count_as_change() {
    let node = Node::running(&[program("app", &["libx.so.1"]), libx()])
        .with(package("libx", "2").file(lib("libx.so.1").mode(0o700)));
    assert_eq!(node.verdicts(&["+libx"]), expect("app restart"));
}

#[test]
fn a_self_managing_process_is_told_of_libraries_and_restarted_for_its_own_program() {
    let app = || program("app", &["libx.so.1"]).self_managing();
    let newer = package("app", "2")
        .file(elf("/usr/bin/app").needs(&["libx.so.1"]).changed())
        .process("app", "/usr/bin/app")
        .self_managing();
    let node = Node::running(&[app(), libx()])
        .with(libx_changed())
        .with(newer);
    assert_eq!(node.verdicts(&["+libx"]), expect("app notify"));
    assert_eq!(node.verdicts(&["+app"]), expect("app restart"));
    let plan = node.plan(&["+libx"]);
    assert!(!plan.processes[0].direct && plan.processes[0].reached);
    assert_eq!(plan.report.order, [["tell app"]]);
}

#[test]
fn another_declaration_restarts_and_says_in_what_it_differs() {
    let newer = program("app", &[]).version("2").spec(|spec| {
        spec.environment.insert("A".into(), "b".into());
    });
    let node = Node::running(&[program("app", &[])]).with(newer);
    assert_eq!(node.verdicts(&["+app"]), expect("app restart"));
    let chain = node.chain(&["+app"], "app");
    assert_eq!(chain, ["the declaration of app changed: environment"]);
}

#[test]
fn a_script_is_reached_by_itself_its_interpreter_and_what_that_loads() {
    let script = |version: &str, change: bool| {
        let file = data("/usr/bin/app").script("/bin/dash");
        let file = if change { file.changed() } else { file };
        package("app", version)
            .file(file)
            .process("app", "/usr/bin/app")
    };
    let dash = |version: &str, change: bool| {
        let file = elf("/usr/bin/dash").needs(&["libx.so.1"]);
        package("dash", version).file(if change { file.changed() } else { file })
    };
    let node = Node::running(&[script("1", false), dash("1", false), libx()])
        .with(script("2", true))
        .with(dash("2", true))
        .with(libx_changed());
    for word in ["+app", "+dash", "+libx"] {
        assert_eq!(node.verdicts(&[word]), expect("app restart"), "{word}");
    }
    let chain = node.chain(&["+dash"], "app");
    assert_eq!(
        chain[..2],
        ["/usr/bin/dash changed", "/usr/bin/dash runs /usr/bin/app"]
    );
    let chain = node.chain(&["+libx"], "app");
    assert_eq!(chain[2], "/usr/bin/dash runs /usr/bin/app");
}

#[test]
fn a_program_behind_a_link_is_followed() {
    let server = |version: &str, change: bool| {
        let file = elf("/usr/bin/redis-check-rdb");
        package("redis", version)
            .file(if change { file.changed() } else { file })
            .file(link("/usr/bin/redis-server", "redis-check-rdb"))
            .process("redis", "/usr/bin/redis-server")
    };
    let node = Node::running(&[server("1", false)]).with(server("2", true));
    assert_eq!(node.verdicts(&["+redis"]), expect("redis restart"));
    let chain = node.chain(&["+redis"], "redis");
    assert_eq!(
        chain,
        [
            "/usr/bin/redis-check-rdb changed",
            "redis runs /usr/bin/redis-server"
        ]
    );
}

#[test]
fn what_other_programs_of_a_process_use_does_not_reach_it() {
    let app = program("app", &[])
        .file(elf("/usr/bin/prepare").needs(&["libx.so.1"]))
        .spec(|spec| spec.exec_start_pre = vec![vec!["/usr/bin/prepare".into()]]);
    let node = Node::running(&[app, libx()]).with(libx_changed());
    assert_eq!(node.verdicts(&["+libx"]), expect("app none"));
}

#[test]
fn what_may_be_opened_is_inherited_by_the_users_of_the_opener() {
    let opener = package("plug", "1").file(lib("libplug.so.1")).opens(
        &format!("{LIB}/libplug.so.1"),
        &["libx.so.1", "/usr/lib/plug/*.so"],
    );
    let node = Node::running(&[program("app", &["libplug.so.1"]), opener, libx()])
        .with(libx_changed())
        .with(package("extra", "1").file(lib_at("/usr/lib/plug/extra.so")))
        .with(package("aside", "1").file(lib_at("/usr/lib/aside/extra.so")));
    assert_eq!(node.verdicts(&["+libx"]), expect("app restart"));
    assert_eq!(
        node.chain(&["+libx"], "app")[1],
        format!("{LIB}/libplug.so.1 may open libx.so.1")
    );
    assert_eq!(
        node.verdicts(&["+extra"]),
        expect("app restart"),
        "a plugin that comes"
    );
    assert_eq!(node.verdicts(&["+aside"]), expect("app none"));
    // And one that changes, or goes.
    let with = node.after(&node.plan(&["+extra"]));
    let with = with.with(package("extra", "2").file(lib_at("/usr/lib/plug/extra.so").changed()));
    assert_eq!(with.verdicts(&["+extra"]), expect("app restart"));
    assert_eq!(with.verdicts(&["-extra"]), expect("app restart"));
}

#[test]
fn a_dlopen_note_and_a_mapped_file_are_edges_too() {
    let noting = elf("/usr/bin/noting").facts(|facts| {
        let note = model::elf::DlopenNote {
            feature: None,
            priority: None,
            soname: vec!["libx.so.1".into()],
        };
        facts.dlopen_notes.push(note);
    });
    let noting = package("noting", "1")
        .file(noting)
        .process("noting", "/usr/bin/noting");
    let path = format!("{LIB}/libx.so.1");
    let node = Node::running(&[noting, program("silent", &[]), libx()])
        .with(libx_changed())
        .mapped("silent", &path);
    assert_eq!(
        node.verdicts(&["+libx"]),
        expect("noting restart, silent restart")
    );
    assert_eq!(
        node.chain(&["+libx"], "silent")[1],
        format!("silent has {path} mapped")
    );
}

#[test]
fn a_used_file_is_told_and_a_required_package_is_asked() {
    let user = program("user", &[]).spec(|spec| spec.uses_files = vec!["/usr/share/x/**".into()]);
    let node = Node::running(&[
        user,
        program("asked", &[]).requires("mid"),
        program("aside", &[]),
        package("mid", "1").requires("x"),
        package("x", "1").file(data("/usr/share/x/a")),
    ])
    .with(package("x", "2").file(data("/usr/share/x/a").changed()));
    assert_eq!(
        node.verdicts(&["+x"]),
        expect("aside none, asked ask, user notify")
    );
    let chain = node.chain(&["+x"], "asked");
    assert_eq!(
        chain,
        [
            "x 1 -> 2",
            "mid requires x",
            "asked requires mid",
            "asked exports asked"
        ]
    );
}

#[test]
fn consumers_of_a_changed_api_are_asked_and_one_without_provider_is_refused() {
    let provider = |version: &str, change: bool| {
        let file = lib("librib.so.2").edit(|file| file.provides_apis = vec!["rib/2".into()]);
        package("rib", version).file(if change { file.changed() } else { file })
    };
    let consumer = elf("/usr/bin/fib").edit(|file| file.consumes_apis = vec!["rib/2".into()]);
    let consumer = package("fib", "1")
        .file(consumer)
        .process("fib", "/usr/bin/fib");
    let node = Node::running(&[consumer, provider("1", false)]).with(provider("2", true));
    assert_eq!(node.verdicts(&["+rib"]), expect("fib ask"));
    let plan = node.plan(&["-rib"]);
    assert!(
        plan.report.unmet[0].needs.contains("API rib/2"),
        "{:?}",
        plan.report.unmet
    );
}

#[test]
fn processes_come_and_go_with_their_packages() {
    let node = Node::running(&[program("a", &[])]).with(program("b", &[]));
    assert_eq!(node.verdicts(&["+b"]), expect("a none, b start"));
    assert_eq!(node.verdicts(&["-a", "+b"]), expect("a stop, b start"));
    let plan = node.plan(&["-a", "+b"]);
    assert_eq!(plan.report.order, [["start b", "stop a"]]);
    assert!(plan.processes[0].new.is_none() && plan.processes[1].old.is_none());
}

#[test]
fn a_new_library_that_the_loader_now_finds_first_reaches_its_users() {
    let app = elf("/usr/bin/app")
        .needs(&["libx.so.1"])
        .runpath(&["$ORIGIN/../lib/app"]);
    let app = package("app", "1").file(app).process("app", "/usr/bin/app");
    let rules = Rules {
        hwcaps: vec!["x86-64-v2".into()],
        cache: Cache::default(),
    };
    let node = Node::with_rules(&[app, program("plain", &["libx.so.1"]), libx()], rules)
        .with(package("own", "1").file(lib_at("/usr/lib/app/libx.so.1")))
        .with(package("fast", "1").file(lib_at(&format!("{LIB}/glibc-hwcaps/x86-64-v2/libx.so.1"))))
        .with(
            package("never", "1").file(lib_at(&format!("{LIB}/glibc-hwcaps/x86-64-v4/libx.so.1"))),
        );
    assert_eq!(node.verdicts(&["+own"]), expect("app restart, plain none"));
    assert_eq!(
        node.verdicts(&["+fast"]),
        expect("app restart, plain restart")
    );
    assert_eq!(node.verdicts(&["+never"]), expect("app none, plain none"));
    let cause = node.chain(&["+own"], "app")[0].clone();
    assert_eq!(
        cause,
        format!("/usr/lib/app/libx.so.1 now comes before {LIB}/libx.so.1")
    );
    let with = node.after(&node.plan(&["+own"]));
    assert_eq!(with.verdicts(&["-own"]), expect("app restart, plain none"));
}

#[test]
fn a_library_that_gets_another_need_reaches_and_resolves() {
    let newer = package("libx", "2").file(lib("libx.so.1").needs(&["liby.so.1"]).changed());
    let node = Node::running(&[program("app", &["libx.so.1"]), libx()])
        .with(newer)
        .with(package("liby", "1").file(lib("liby.so.1")));
    let alone = node.plan(&["+libx"]);
    assert_eq!(alone.report.unmet.len(), 1, "{:?}", alone.report.unmet);
    assert_eq!(alone.report.unmet[0].by, format!("{LIB}/libx.so.1"));
    assert_eq!(node.verdicts(&["+libx", "+liby"]), expect("app restart"));
}

/// `app` runs with glibc, which may open any name service, and has `mapped` mapped.
fn with_name_service(mapped: &[&str]) -> Node {
    let service = || package("nss", "1").file(lib("libnss_dns.so.2").needs(&["libx.so.1"]));
    let node = Node::running(&[
        program("app", &["libc.so.6"]),
        package("libc6", "1").file(lib("libc.so.6")),
        service(),
        libx(),
    ]);
    let node = node
        .with(libx_changed())
        .with(package("nss", "2").file(lib("libnss_dns.so.2").needs(&["libx.so.1"]).changed()));
    mapped.iter().fold(node, |node, name| {
        node.mapped("app", &format!("{LIB}/{name}"))
    })
}

#[test]
fn what_a_running_process_may_open_by_shipped_knowledge_counts_only_when_it_is_mapped() {
    let idle = with_name_service(&[]);
    let without = with_name_service(&["libc.so.6"]);
    let having = with_name_service(&["libc.so.6", "libnss_dns.so.2", "libx.so.1"]);
    for words in [["+nss"], ["+libx"]] {
        assert_eq!(
            idle.verdicts(&words),
            expect("app restart"),
            "nobody could look"
        );
        assert_eq!(
            without.verdicts(&words),
            expect("app none"),
            "it has not opened it"
        );
        assert_eq!(
            having.verdicts(&words),
            expect("app restart"),
            "it has opened it"
        );
        assert_eq!(having.chain(&words, "app"), idle.chain(&words, "app"));
    }
    assert_eq!(idle.verdicts(&["-nss"]), expect("app restart"));
    assert_eq!(without.verdicts(&["-nss"]), expect("app none"));
    assert_eq!(having.verdicts(&["-nss"]), expect("app restart"));
}

#[test]
fn what_an_author_declares_to_be_opened_counts_mapped_or_not() {
    let app = program("app", &[]).opens("/usr/bin/app", &["libx.so.1"]);
    let node = Node::running(&[app, libx()])
        .with(libx_changed())
        .mapped("app", "/usr/bin/app");
    assert_eq!(node.verdicts(&["+libx"]), expect("app restart"));
}

#[test]
fn an_interpreter_that_a_wrapper_has_left_reaches_its_process_no_more() {
    let wrapper = |version: &str| {
        package("app", version)
            .file(data("/usr/bin/app").script("/usr/bin/perl"))
            .process("app", "/usr/bin/app")
    };
    let perl = |version: &str| {
        let file = elf("/usr/bin/perl").needs(&["libx.so.1"]);
        package("perl", version).file(if version == "1" { file } else { file.changed() })
    };
    let changed_wrapper = wrapper("2").edit(|one| {
        let file = data("/usr/bin/app").script("/usr/bin/perl").changed();
        one.files = vec![file.0];
    });
    let node = |mapped: &str| {
        Node::running(&[wrapper("1"), perl("1"), libx()])
            .with(perl("2"))
            .with(libx_changed())
            .with(changed_wrapper.clone())
            .mapped("app", mapped)
    };
    for word in ["+perl", "+libx"] {
        assert_eq!(
            node("/usr/bin/perl").verdicts(&[word]),
            expect("app restart"),
            "{word}"
        );
        assert_eq!(
            node("/usr/bin/daemon").verdicts(&[word]),
            expect("app none"),
            "{word}"
        );
    }
    assert_eq!(
        node("/usr/bin/daemon").verdicts(&["+app"]),
        expect("app restart")
    );
}

#[test]
fn what_a_wrapper_is_declared_to_become_reaches_its_process() {
    let script = "/usr/share/cache/wrapper";
    let wrapper = |version: &str| {
        package("cache", version)
            .file(data(script).script("/usr/bin/perl"))
            .process("cache", script)
            .opens(script, &["/bin/cached"])
    };
    let daemon = || elf("/usr/bin/cached").needs(&["libx.so.1"]);
    let node = Node::running(&[
        wrapper("1").file(daemon()),
        package("perl", "1").file(elf("/usr/bin/perl")),
        program("other", &[]),
        libx(),
    ])
    .with(wrapper("2").file(daemon().changed()))
    .with(wrapper("3"))
    .with(libx_changed());
    let node = node.mapped("cache", "/usr/bin/cached");
    assert_eq!(
        node.verdicts(&["+libx"]),
        expect("cache restart, other none")
    );
    let chain = [
        &format!("{LIB}/libx.so.1 changed"),
        "/usr/bin/cached needs libx.so.1",
        "/usr/share/cache/wrapper may open /bin/cached",
        "cache runs /usr/share/cache/wrapper",
    ];
    assert_eq!(node.chain(&["+libx"], "cache"), chain);
    assert_eq!(
        node.verdicts(&["+cache=2"]),
        expect("cache restart, other none")
    );
    let chain = ["/usr/bin/cached changed", chain[2], chain[3]];
    assert_eq!(node.chain(&["+cache=2"], "cache"), chain);
    assert_eq!(
        node.verdicts(&["+cache=3"]),
        expect("cache restart, other none")
    );
    assert_eq!(
        node.chain(&["+cache=3"], "cache")[0],
        "/usr/bin/cached removed"
    );
    let path = format!("{LIB}/libx.so.1").parse().unwrap();
    let users = node.world.index.users(&path);
    assert_eq!(users.len(), 1);
    let why = [
        path.as_str(),
        "/usr/bin/cached needs libx.so.1",
        chain[1],
        chain[2],
    ];
    assert_eq!(users[0].1, why);
}

#[test]
fn a_preloaded_library_that_changes_reaches_its_process() {
    let app = program("app", &[]).spec(|spec| {
        let preload = format!("{LIB}/libx.so.1");
        spec.environment.insert("LD_PRELOAD".into(), preload);
    });
    let node = Node::running(&[app, program("other", &[]), libx()]).with(libx_changed());
    assert_eq!(node.verdicts(&["+libx"]), expect("app restart, other none"));
}

#[test]
fn those_that_require_a_changed_package_are_asked_though_they_link_nothing_of_it() {
    let soname = || model::manifest::LibraryNeed {
        soname: "libg.so.1".into(),
        versions: vec![],
    };
    let g = |version: &str, file| {
        let made = package("g", version).file(file);
        made.edit(|one| one.provides_libraries.push(soname()))
    };
    let fix = package("fix", "1")
        .file(data("/usr/share/g/text"))
        .edit(|one| one.upgrades = Some("g = 1".parse().unwrap()));
    let node = Node::running(&[
        program("a", &[]).requires("g"),
        program("by-library", &[]).edit(|one| one.requires_libraries.push(soname())),
        program("far", &[]).requires("by-library"),
        program("other", &[]),
        g("1", lib("libg.so.1")),
    ])
    .with(g("2", lib("libg.so.1").changed()))
    .with(fix);
    let asked = expect("a ask, by-library ask, far ask, other none");
    assert_eq!(node.verdicts(&["+g"]), asked);
    assert_eq!(
        node.chain(&["+g"], "a"),
        ["g 1 -> 2", "a requires g", "a exports a"]
    );
    let chain = node.chain(&["+g"], "far");
    assert_eq!(chain[1], "by-library requires libg.so.1 of g");
    assert_eq!(node.verdicts(&["+fix"]), asked);
    let chain = node.chain(&["+fix"], "a");
    assert_eq!(chain[..2], ["fix=1 enters", "fix is an upgrade of g"]);
}
