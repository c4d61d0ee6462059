#![expect(clippy::indexing_slicing, reason = "tests")]

use super::*;

/// A manifest with these files and processes, in JSON.
fn manifest(files: &str, processes: &str) -> Manifest {
    let json = format!(
        r#"{{"format":1,"name":"a","version":"1","files":[{files}],"processes":[{processes}]}}"#
    );
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn file(path: &str, more: &str) -> String {
    let digest = crate::digest::Digest::of(b"x");
    format!(
        r#"{{"path":"{path}","is":"file","digest":"{digest}","size":1,"signature":"{digest}"{more}}}"#
    )
}

fn program(path: &str, mode: u32) -> String {
    file(path, &format!(r#","type":"executable","mode":{mode}"#))
}

fn data(path: &str) -> String {
    file(path, r#","type":"data","mode":420"#)
}

fn link(path: &str, target: &str) -> String {
    format!(r#"{{"path":"{path}","is":"link","target":"{target}"}}"#)
}

fn reasons(files: &[String], processes: &str) -> Vec<String> {
    check(&manifest(&files.join(","), processes))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn refused(files: &[String], processes: &str, word: &str) {
    let reasons = reasons(files, processes);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].contains(word),
        "{word:?} is not in {:?}",
        reasons[0]
    );
}

#[track_caller]
fn taken(files: &[String], processes: &str) {
    assert_eq!(reasons(files, processes), Vec::<String>::new());
}

#[test]
fn a_sound_manifest_has_no_problem() {
    let config = file("/etc/a.conf", r#","type":"config","mode":420"#);
    let directory = r#"{"path":"/usr/share/a","is":"directory","mode":493}"#.to_owned();
    let files = [
        config,
        program("/usr/bin/a", 0o755),
        link("/usr/lib/a", "../bin/a"),
        directory,
    ];
    taken(
        &files,
        r#"{"name":"a","exec":["/usr/bin/a","-f"],"uses-files":["/usr/share/**"]}"#,
    );
}

#[test]
fn a_path_is_there_once_sorted_and_below_directories_only() {
    refused(&[data("/usr/a"), data("/usr/a")], "", "twice");
    refused(&[data("/usr/b"), data("/usr/a")], "", "sorted");
    refused(
        &[data("/usr/a"), data("/usr/a/b")],
        "",
        "below /usr/a, which is a file",
    );
    refused(
        &[link("/usr/a", "/usr/b"), data("/usr/a/c")],
        "",
        "which is a link",
    );
    refused(&[data("/usr")], "", "only a directory");
}

#[test]
fn links_stay_in_the_tree_or_with_the_machine() {
    for good in [
        "/etc/x",
        "/run/x",
        "/var/lib/x",
        "/dev/null",
        "../x",
        "/lib/x",
        "x",
        "/usr/x",
    ] {
        taken(&[link("/usr/lib/l", good)], "");
    }
    for bad in [
        "/",
        "",
        "/home/x",
        "/dev/sda",
        "../../../x",
        "/proc/self/root",
        "../../..",
    ] {
        refused(&[link("/usr/lib/l", bad)], "", "outside");
    }
}

#[test]
fn set_id_is_for_programs_and_nobody_else_writes() {
    taken(&[program("/usr/bin/a", 0o4755)], "");
    refused(&[program("/usr/bin/a", 0o4644)], "", "no program");
    refused(
        &[file("/usr/a", r#","type":"data","mode":1517"#)],
        "",
        "no program",
    );
    let script = r#","type":"executable","mode":2541,"interpreter":"/bin/sh""#;
    refused(&[file("/usr/a", script)], "", "script");
    refused(&[program("/usr/bin/a", 0o757)], "", "everyone");
    refused(&[program("/usr/bin/a", 0o10_755)], "", "7777");
}

#[test]
fn capabilities_are_the_kernels_bytes() {
    let with = |hex: &str| {
        file(
            "/usr/a",
            &format!(r#","type":"executable","mode":493,"capabilities":"{hex}""#),
        )
    };
    taken(&[with("0100000200040000000000000000000000000000")], "");
    for bad in [
        "",
        "zz",
        "0100000900040000000000000000000000000000",
        "01000002",
        "cap_net=ep",
    ] {
        refused(&[with(bad)], "", "hexadecimal");
    }
}

#[test]
fn config_is_below_etc_and_nothing_else_is() {
    refused(
        &[file("/usr/a", r#","type":"config","mode":420"#)],
        "",
        "not below /etc",
    );
    refused(&[data("/etc/a")], "", "not of type config");
}

#[test]
fn only_elf_has_a_signature_of_its_own() {
    let (one, two) = (
        crate::digest::Digest::of(b"1"),
        crate::digest::Digest::of(b"2"),
    );
    let lie = format!(
        r#"{{"path":"/usr/a","is":"file","mode":420,"digest":"{one}","size":1,"signature":"{two}","type":"data"}}"#
    );
    refused(&[lie], "", "signature is its digest");
    refused(
        &[file("/usr/a", r#","type":"shared-library","mode":420"#)],
        "",
        "no ELF file",
    );
}

#[test]
fn a_process_runs_an_absolute_path_that_can_be_executed() {
    let process = |exec: &str| format!(r#"{{"name":"p","exec":[{exec}]}}"#);
    refused(&[], &process(r#""a""#), "no absolute path");
    refused(&[], &process(""), "empty");
    refused(
        &[data("/usr/a")],
        &process(r#""/usr/a""#),
        "no execute permission",
    );
    let files = [link("/usr/a", "b"), data("/usr/b")];
    refused(&files, &process(r#""/usr/a""#), "no execute permission");
    refused(&[link("/usr/a", "a")], &process(r#""/usr/a""#), "circle");
    taken(&[program("/usr/bin/a", 0o755)], &process(r#""-/bin/a""#));
    taken(&[], &process(r#""/usr/bin/of-another-package""#));
}

#[test]
fn processes_have_one_name_and_an_order() {
    let named = |name: &str, after: &str| {
        format!(r#"{{"name":"{name}","exec":["/usr/bin/x"],"after":[{after}]}}"#)
    };
    refused(
        &[],
        &format!("{},{}", named("p", ""), named("p", "")),
        "twice",
    );
    refused(&[], &named("p", r#""p""#), "p after p");
    let cycle = [
        named("a", r#""b""#),
        named("b", r#""c""#),
        named("c", r#""b""#),
    ]
    .join(",");
    refused(&[], &cycle, "b after c after b");
    taken(
        &[],
        &[named("a", r#""b","elsewhere""#), named("b", "")].join(","),
    );
}

#[test]
fn what_a_process_says_of_itself_is_sound() {
    for (more, word) in [
        (r#""user":"a b""#, "user's"),
        (r#""stop-signal":"SIGNONE""#, "signal"),
        (r#""ready":"descriptor""#, "notification-fd"),
        (r#""ready":"socket""#, "ready-sockets"),
        (r#""state-directory":[{"name":"../x"}]"#, "below its base"),
        (r#""umask":"999""#, "octal"),
        (r#""pid-file":"run/x""#, "absolute"),
        (r#""uses-files":["/home/*"]"#, "uses-files"),
        (r#""uses-files":["/usr/../home"]"#, "uses-files"),
        (r#""environment":{"A=B":"c"}"#, "environment"),
        (
            r#""sockets":[{"name":"a:b","listen":"/run/x"}]"#,
            "socket's name",
        ),
        (
            r#""sockets":[{"name":"a","listen":"run/x"}]"#,
            "ADDRESS:PORT",
        ),
    ] {
        refused(
            &[],
            &format!(r#"{{"name":"p","exec":["/usr/bin/x"],{more}}}"#),
            word,
        );
    }
}

#[test]
fn only_its_own_paths_leave_the_view() {
    let mut sound = manifest(&program("/usr/bin/a", 0o755), "");
    sound
        .exports
        .insert("commands".to_owned(), vec!["/usr/bin/a".to_owned()]);
    assert_eq!(check(&sound), []);
    sound
        .exports
        .insert("udev".to_owned(), vec!["/usr/lib/udev/b".to_owned()]);
    assert_eq!(check(&sound).len(), 1);
}

#[test]
fn all_problems_come_at_once() {
    let files = [
        data("/etc/a"),
        link("/usr/b", "/home"),
        data("/usr/c"),
        data("/usr/c"),
    ];
    let process = r#"{"name":"p","exec":[]}"#;
    assert_eq!(reasons(&files, process).len(), 4);
}

#[test]
fn an_unknown_word_about_a_file_is_refused_and_a_known_one_reads_back() {
    let json =
        |file: String| format!(r#"{{"format":1,"name":"a","version":"1","files":[{file}]}}"#);
    for bad in [
        file("/usr/a", r#","type":"data","modes":420"#),
        r#"{"path":"/usr/a","is":"link","target":"b","size":1}"#.to_owned(),
        r#"{"path":"/usr/a","is":"device"}"#.to_owned(),
    ] {
        serde_json::from_str::<Manifest>(&json(bad)).unwrap_err();
    }
    let good = manifest(
        &[program("/usr/a", 0o755), link("/usr/b", "a")].join(","),
        "",
    );
    let bytes = good.to_bytes().unwrap();
    assert_eq!(serde_json::from_slice::<Manifest>(&bytes).unwrap(), good);
}

#[test]
fn what_a_process_says_of_changes_makes_sense() {
    let one = |more: &str| format!(r#"{{"name":"p","exec":["/usr/bin/p"],{more}}}"#);
    let files = [program("/usr/bin/p", 0o755), data("/usr/share/x")];
    let sound = [
        r#""uses-files":["/usr/share/*"],"change-signal":"SIGHUP""#,
        r#""check":["/usr/bin/p","--ok"],"check-timeout":"5s""#,
        r#""state-version":2,"snapshot":true,"state-directory":[{"name":"p"}]"#,
        r#""state-version":2,"migrate":["/usr/bin/p"],"migrate-back":["/usr/bin/p"]"#,
        r#""disruption":"veto","evaluate":["/usr/bin/p"]"#,
    ];
    for more in sound {
        taken(&files, &one(more));
    }
    let bad = [
        (
            r#""uses-files":["/usr/share/*"],"change-signal":"HUP""#,
            "change-signal",
        ),
        (
            r#""uses-files":["/usr/share/*"],"change-signal":"SIGRTMIN""#,
            "change-signal",
        ),
        (r#""change-signal":"SIGHUP""#, "uses-files"),
        (r#""check":["p"]"#, "no absolute path"),
        (r#""check":["/usr/share/x"]"#, "no execute permission"),
        (
            r#""migrate":["/usr/share/x"],"state-version":2"#,
            "no execute permission",
        ),
        (r#""migrate-back":["/usr/bin/p"]"#, "state-version"),
        (r#""snapshot":true,"state-version":1"#, "state-directory"),
        (
            r#""disruption":"veto","kind":"self-managing""#,
            "votes itself",
        ),
    ];
    for (more, word) in bad {
        refused(&files, &one(more), word);
    }
}
