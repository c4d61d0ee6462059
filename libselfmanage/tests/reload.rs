//! Reloading real libraries, each case in a process and a mount namespace of its own.
//!
//! Every tree of files is bind-mounted at `/opt`, and a change mounts the next tree on top, as
//! sysmgrd moves a view; nothing outside the namespace sees it. Needs root and a C and C++ compiler.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![expect(
    unsafe_code,
    reason = "the tests call into the libraries that they built"
)]

mod bench;

use bench::{
    App, Bench, cpp_with_thread_local, cpp_with_unique, plugin, plugin_with_a_thread, versions, x,
};
use selfmanage::reload::{By, Decision, Obstacle, Outcome, prepare};
use selfmanage::{Plugins, Reason};

/// Tests that run in a process of their own: a process can be pinned only once.
macro_rules! rows {
    ($(#[env($($key:ident = $value:literal)?)] fn $name:ident($bench:ident) $body:block)*) => {$(
        #[test]
        fn $name() {
            let env: &[(&str, &str)] = &[$((stringify!($key), $value))?];
            bench::in_its_own_process(stringify!($name), env, |$bench: &Bench| $body);
        }
    )*};
}

fn reason(outcome: &Outcome) -> &str {
    let Outcome::Restart(reason) = outcome else {
        unreachable!("it had to ask for a restart: {outcome:?}");
    };
    reason.as_str()
}

/// Old and new of a library `libx.so.1` and of the plugin `p.so` above it.
fn both(bench: &Bench, flags: &[&str]) {
    for (tree, version) in [("v1", 1), ("v2", 2)] {
        bench.cc(tree, "libx.so.1", &x(version), flags);
        bench.cc(tree, "p.so", &plugin(version), &["-l:libx.so.1"]);
    }
}

rows! {
    #[env()]
    fn a_plugin_and_the_library_under_it_are_new_afterwards_and_the_old_are_gone(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(versions(&plugins, p), (2, 2));
        bench.assert_unmapped("v1", &["libx.so.1", "p.so"]);
    }

    #[env()]
    fn an_unchanged_plugin_over_an_unchanged_library_gets_the_new_one_below_both(bench) {
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            bench.cc(tree, "libz.so.1", &format!("int z_version(void) {{ return {version}; }}"), &[]);
        }
        bench.cc("v1", "libx.so.1", "int z_version(void); int x_version(void) { return z_version(); }", &["-l:libz.so.1"]);
        bench.cc("v1", "p.so", &plugin(1), &["-l:libx.so.1"]);
        bench.keep("v1", "v2", &["libx.so.1", "p.so"]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let announcement = bench.announcement("v1", "v2");
        let reached = plugins.reached(&announcement).unwrap();
        assert_eq!(reached.len(), 1);
        assert_eq!(reached[0].chain, ["libz.so.1", "libx.so.1", "p.so"]);
        assert_eq!(reached[0].by, By::Opened(p));
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(versions(&plugins, p), (1, 2));
    }

    #[env()]
    fn a_plugin_that_the_change_does_not_reach_is_left_alone(bench) {
        both(bench, &[]);
        bench.cc("v1", "q.so", "int p_version(void) { return 1; } int p_x(void) { return 9; }", &[]);
        bench.keep("v1", "v2", &["q.so"]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let q = plugins.open("/opt/q.so").unwrap();
        let mut app = App::default();
        let outcome = bench.change("v1", "v2", &mut plugins, &mut app);
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(app.quiesced, [p]);
        assert_eq!(versions(&plugins, q), (1, 9));
    }

    #[env()]
    fn a_change_of_what_is_not_loaded_touches_nothing(bench) {
        both(bench, &[]);
        bench.cc("v1", "other.so", "int other = 1;", &[]);
        bench.cc("v3", "other.so", "int other = 2;", &[]);
        bench.keep("v1", "v3", &["libx.so.1", "p.so"]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let mut app = App::default();
        assert_eq!(bench.change("v1", "v3", &mut plugins, &mut app), Outcome::Untouched);
        assert!(app.quiesced.is_empty() && app.restored.is_empty());
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_hundred_changes_leave_no_handle_and_no_descriptor_behind(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let open = || fs_err::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for round in 0..100 {
            let (old, new, version) = if round % 2 == 0 { ("v1", "v2", 2) } else { ("v2", "v1", 1) };
            let outcome = bench.change(old, new, &mut plugins, &mut App::default());
            assert_eq!(outcome, Outcome::Reloaded(vec![p]), "round {round}");
            assert_eq!(versions(&plugins, p), (version, version), "round {round}");
        }
        assert_eq!(open(), before);
    }

    #[env()]
    fn a_file_replaced_by_rename_at_the_same_path_is_a_new_file(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let announcement = bench.announcement("v1", "v2");
        let prepared = prepare(&plugins, &announcement).unwrap();
        bench.rename_over("v2", "v1", &["libx.so.1", "p.so"]);
        let outcome = prepared.changeover(&mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(versions(&plugins, p), (2, 2));
    }

    #[env(LD_LIBRARY_PATH = "v1")]
    fn a_search_path_that_finds_the_old_library_first_is_beaten(bench) {
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            bench.cc(tree, "libx.so.1", &x(version), &[]);
            bench.cc_without_runpath(tree, "p.so", &plugin(version), &["-l:libx.so.1"]);
        }
        bench.show("v1");
        let mut plugins = Plugins::new(bench::trust());
        // From the search path, as a program would have it; the directory is the same file's.
        let p = plugins.open("/opt/p.so").unwrap();
        assert_eq!(versions(&plugins, p), (1, 1));
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(versions(&plugins, p), (2, 2));
    }

    #[env()]
    fn nodelete_is_seen_before_anything_is_closed(bench) {
        both(bench, &["-Wl,-z,nodelete"]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let mut app = App::default();
        let outcome = bench.change("v1", "v2", &mut plugins, &mut app);
        assert!(reason(&outcome).contains("libx.so.1 is never unloaded (nodelete)"), "{outcome:?}");
        assert!(app.quiesced.is_empty());
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_unique_symbol_pins_and_the_old_pair_goes_on_unmixed(bench) {
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            bench.cpp(tree, "libx.so.1", &cpp_with_unique(version));
            bench.cc(tree, "p.so", &plugin(version), &["-l:libx.so.1"]);
        }
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let mut app = App::default();
        let outcome = bench.change("v1", "v2", &mut plugins, &mut app);
        assert!(reason(&outcome).contains("pinned"), "{outcome:?}");
        assert!(reason(&outcome).contains("/opt/libx.so.1"), "{outcome:?}");
        assert_eq!(app.restored, [p]);
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_thread_local_with_a_destructor_pins_while_its_thread_lives(bench) {
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            bench.cpp(tree, "libx.so.1", &cpp_with_thread_local(version));
            bench.cc(tree, "p.so", &plugin(version), &["-l:libx.so.1"]);
        }
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert!(reason(&outcome).contains("pinned"), "{outcome:?}");
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_thread_local_of_a_thread_that_has_ended_does_not_pin(bench) {
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            bench.cpp(tree, "libx.so.1", &cpp_with_thread_local(version));
            bench.cc(tree, "p.so", &plugin(version), &["-l:libx.so.1"]);
        }
        bench.show("v1");
        let mut plugins = Plugins::new(bench::trust());
        let p = plugins.open("/opt/p.so").unwrap();
        // Joined itself: a scope that ends does not wait for its threads' destructors.
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(versions(&plugins, p), (1, 1))).join().unwrap();
        });
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(versions(&plugins, p), (2, 2))).join().unwrap();
        });
    }

    #[env()]
    fn a_thread_local_of_a_thread_that_ends_while_the_plugin_is_closed_does_not_pin(bench) {
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            bench.cpp(tree, "libx.so.1", &cpp_with_thread_local(version));
            bench.cc(tree, "p.so", &plugin_with_a_thread(version), &["-l:libx.so.1"]);
        }
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(versions(&plugins, p), (2, 2));
    }

    #[env()]
    fn a_handle_that_somebody_else_holds_pins(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let (_other, _x) = bench.start("v1", "/opt/libx.so.1");
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert!(reason(&outcome).contains("pinned"), "{outcome:?}");
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_plugin_that_another_plugin_needs_is_closed_after_it(bench) {
        both(bench, &[]);
        for (tree, version) in [("v1", 1), ("v2", 2)] {
            let source = format!(
                "int p_x(void); int top(void) {{ return p_x(); }} int p_version(void) {{ return {version}; }}"
            );
            bench.cc(tree, "top.so", &source, &["-l:p.so"]);
        }
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let top = plugins.open("/opt/top.so").unwrap();
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![top, p]));
        assert_eq!(versions(&plugins, p), (2, 2));
    }

    #[env()]
    fn a_plugin_whose_file_goes_is_closed_and_stays_so(bench) {
        both(bench, &[]);
        bench.remove("v2", "p.so");
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        plugins.library(p).unwrap_err();
        bench.assert_unmapped("v1", &["libx.so.1", "p.so"]);
    }

    #[env()]
    fn a_new_plugin_that_cannot_be_opened_leaves_the_old_pair_running(bench) {
        both(bench, &[]);
        bench.cc("v2", "libx.so.1", "int something_else(void) { return 2; }", &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let outcome = bench.change("v1", "v2", &mut plugins, &mut App::default());
        assert!(reason(&outcome).contains("could not open /opt/p.so"), "{outcome:?}");
        assert!(reason(&outcome).contains("x_version"), "{outcome:?}");
        assert_eq!(versions(&plugins, p), (1, 1));
        bench.assert_unmapped("v2", &["libx.so.1", "p.so"]);
    }

    #[env()]
    fn another_file_than_the_announced_one_is_not_run(bench) {
        both(bench, &[]);
        bench.cc("v3", "libx.so.1", &x(3), &[]);
        bench.cc("v3", "p.so", &plugin(3), &["-l:libx.so.1"]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let prepared = prepare(&plugins, &bench.announcement("v1", "v2")).unwrap();
        bench.show("v3");
        let outcome = prepared.changeover(&mut plugins, &mut App::default());
        assert!(reason(&outcome).contains("is not the file that was announced"), "{outcome:?}");
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_change_that_was_taken_back_before_it_came_here_touches_nothing(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let prepared = prepare(&plugins, &bench.announcement("v1", "v2")).unwrap();
        let outcome = prepared.changeover(&mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Untouched);
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env()]
    fn a_change_that_is_taken_back_brings_the_old_files_back(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let announcement = bench.announcement("v1", "v2");
        let prepared = prepare(&plugins, &announcement).unwrap();
        bench.show("v2");
        prepared.changeover(&mut plugins, &mut App::default());
        assert_eq!(versions(&plugins, p), (2, 2));
        // Told again of the same change: the old tree is back.
        bench.show("v1");
        let prepared = prepare(&plugins, &announcement).unwrap();
        let outcome = prepared.changeover(&mut plugins, &mut App::default());
        assert_eq!(outcome, Outcome::Reloaded(vec![p]));
        assert_eq!(versions(&plugins, p), (1, 1));
        bench.assert_unmapped("v2", &["libx.so.1", "p.so"]);
    }

    #[env()]
    fn an_application_that_cannot_be_quiet_is_restarted_and_nothing_is_closed(bench) {
        both(bench, &[]);
        let (mut plugins, p) = bench.start("v1", "/opt/p.so");
        let refusal = Reason::new("a call is up").unwrap();
        let mut app = App { refuse: Some(refusal.clone()), ..App::default() };
        let outcome = bench.change("v1", "v2", &mut plugins, &mut app);
        assert_eq!(outcome, Outcome::Restart(refusal));
        assert!(app.restored.is_empty());
        assert_eq!(versions(&plugins, p), (1, 1));
    }

    #[env(LD_PRELOAD = "v1/libx.so.1")]
    fn a_library_that_the_program_came_with_means_a_restart(bench) {
        bench.cc("v2", "libx.so.1", &x(2), &[]);
        let announcement = bench.announcement("v1", "v2");
        let decision = Plugins::new(bench::trust()).decide(&announcement).unwrap();
        let Decision::Restart(Obstacle::NotOurs(reached)) = decision else {
            unreachable!("it cannot be closed: {decision:?}");
        };
        assert_eq!(reached.library.as_str(), "/opt/libx.so.1");
        assert_eq!(reached.by, By::Elsewhere);
    }
}
