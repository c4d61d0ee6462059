#![expect(clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::process::Command;

use model::envelope::Spool;
use model::manifest::Subject;

use super::contents::Contents;
use super::*;
use crate::build::{analyse, collect, pack, spec};
use crate::show::Look;

/// A directory in which packages are built from sources by the machine's own compiler.
struct Bench(tempfile::TempDir);

const PACKAGE: &str = r#"[package]
name = "app"
version = "1.0-1"
summary = "An example"
requires = ["base-files", "libnet >= 4, < 5"]
[[requires-when]]
arch = "aarch64"
packages = ["fwd-asic"]
[files]
"app" = { to = "/usr/sbin/", function = "example" }
"lib*.so.1" = "/usr/lib/app/"
"app.conf" = "/etc/"
"su" = { to = "/usr/bin/", mode = "4755", group = "adm", type = "executable" }
[[process]]
name = "app"
exec = ["/usr/sbin/app", "--foreground"]
user = "app"
ready = "notify"
restart = "on-failure"
[setup]
users = [{ name = "app" }]
"#;

impl Bench {
    /// `app` needs `libx.so.1`, which needs `liby.so.1`.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("y.c", "int y(void) { return 1; }"),
            ("x.c", "int y(void); int x(void) { return y(); }"),
            (
                "app.c",
                "int x(void); const char *built = \"Nov 23 2026\"; int main(void) { return x(); }",
            ),
            ("app.conf", "one"),
            ("su", "no script"),
            ("package.toml", PACKAGE),
        ] {
            bench.write(name, text);
        }
        bench.gcc("-shared -fPIC -Wl,-soname,liby.so.1 -o liby.so.1 y.c");
        bench.gcc(
            "-shared -fPIC -Wl,-soname,libx.so.1 -Wl,-rpath,$ORIGIN -o libx.so.1 x.c ./liby.so.1",
        );
        bench.gcc(APP);
        bench
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.0.path().join(name), text).unwrap();
    }

    fn gcc(&self, arguments: &str) {
        let mut gcc = Command::new("gcc");
        gcc.args(arguments.split_whitespace())
            .current_dir(self.0.path());
        assert!(gcc.status().unwrap().success(), "gcc {arguments}");
    }

    fn change(&self, name: &str, from: &str, to: &str) {
        let text = fs_err::read_to_string(self.0.path().join(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replace(from, to));
    }

    /// Builds what is here and reads it back.
    fn build(&self, name: &str) -> Contents {
        let out = self.0.path().join(name);
        build(&self.0.path().join("package.toml"), &out);
        Contents::read(&out, true).unwrap()
    }
}

const APP: &str = "-o app app.c ./libx.so.1 -Wl,--allow-shlib-undefined -Wl,-rpath,/usr/lib/app";

fn build(path: &Path, out: &Path) {
    let mut spec = spec::parse(path, &fs_err::read_to_string(path).unwrap()).unwrap();
    let staged = collect::collect(&mut spec).unwrap();
    let mut spool = Spool::new(tempfile::tempfile().unwrap());
    let analysed =
        analyse::analyse(spec.draft.clone(), staged, &mut spool, &mut |_, _| {}).unwrap();
    assert!(analysed.is_sound(), "{:?}", analysed.findings);
    assert!(spec.line(&Subject::Setup) > 1);
    pack::pack(vec![analysed.manifest], &spool, out).unwrap();
}

/// Without what differs from compiler to compiler: digests, sizes, the machine and its libc.
fn steady(text: &str) -> String {
    let machine = text.replace(std::env::consts::ARCH, "MACHINE");
    let lines = machine.lines().filter(|line| !line.contains("libc.so.6"));
    let words = |line: &str| -> String {
        let word = |word: &str| {
            let hex = word.len() == 12 && word.bytes().all(|c| c.is_ascii_hexdigit());
            if hex {
                "SIGNATURE".to_owned()
            } else {
                word.to_owned()
            }
        };
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        words.join(" ")
    };
    let lines: Vec<String> = lines.map(words).collect();
    lines
        .into_iter()
        .map(|line| match line.strip_prefix("id app_1.0-1_") {
            Some(_) => "id app_1.0-1_DIGEST8".to_owned(),
            None => line,
        })
        .filter(|line| !line.contains("/out.pkg"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The same with sizes struck out.
fn unsized_text(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for line in steady(text).lines() {
        let mut parts: Vec<&str> = line.split(' ').collect();
        for at in 1..parts.len() {
            if matches!(parts[at].trim_end_matches([')', ':']), "KiB" | "B") {
                parts[at - 1] = if parts[at - 1].starts_with('(') {
                    "(N"
                } else {
                    "N"
                };
            }
        }
        words.push(parts.join(" ").replace("N KiB", "N B"));
    }
    words.join("\n")
}

#[test]
fn a_package_is_shown_with_everything_that_matters() {
    let contents = Bench::new().build("out.pkg");
    let asked = package::Asked {
        files: false,
        elf: None,
    };
    let text = package::text(&contents, &asked, Look::plain(usize::MAX));
    insta::assert_snapshot!(unsized_text(&text), @r"
    app 1.0-1
    An example
    id app_1.0-1_DIGEST8
    architecture MACHINE
    signed no

    Requires
    base-files
    libnet >= 4, < 5
    on arch aarch64: fwd-asic

    Provides
    libx.so.1
    liby.so.1

    Processes
    app Simple /usr/sbin/app --foreground
    user app · ready by notify · restarted on failure

    Set-up
    user app

    Files 5 (N B): 1 config file, 2 libraries, 2 programs
    MODE TYPE ARCHITECTURE SIZE SIGNATURE PATH
    0644 config file N B SIGNATURE /etc/app.conf
    4755 program N B SIGNATURE /usr/bin/su root:adm
    0755 library MACHINE N B SIGNATURE /usr/lib/app/libx.so.1
    0755 library MACHINE N B SIGNATURE /usr/lib/app/liby.so.1
    0755 program MACHINE N B SIGNATURE /usr/sbin/app example
    ");
}

#[test]
fn the_elf_analysis_of_a_file_is_shown_on_request() {
    let contents = Bench::new().build("out.pkg");
    let asked = package::Asked {
        files: false,
        elf: Some("sbin/app"),
    };
    let text = package::text(&contents, &asked, Look::plain(usize::MAX));
    for line in [
        "is            program for ",
        "needs         libx.so.1, libc.so.6",
        "runpath       /usr/lib/app",
        "uses          /usr/lib/app/libx.so.1",
        "through them  /usr/lib/app/liby.so.1",
        "of others     libc.so.6",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("liby.so.1\n  is"), "{text}");
}

#[test]
fn what_differs_between_two_versions_is_told_by_substance() {
    let bench = Bench::new();
    let old = bench.build("old.pkg");
    // liby: another constant; libx: only debug information; app: only a date; and so on.
    bench.change("y.c", "return 1", "return 2");
    bench.gcc("-shared -fPIC -Wl,-soname,liby.so.1 -o liby.so.1 y.c");
    bench.gcc(
        "-g -shared -fPIC -Wl,-soname,libx.so.1 -Wl,-rpath,$ORIGIN -o libx.so.1 x.c ./liby.so.1",
    );
    bench.change("app.c", "Nov 23 2026", "Nov 24 2026");
    bench.gcc(APP);
    bench.write("app.conf", "three");
    bench.write("readme", "new");
    bench.change("package.toml", "1.0-1", "1.0-2");
    bench.change("package.toml", "on-failure", "always");
    bench.change("package.toml", "libnet >= 4", "libnet >= 5");
    bench.change("package.toml", "4755", "4711");
    bench.change(
        "package.toml",
        "[[process]]",
        "\"readme\" = \"/usr/share/app/\"\n[[process]]",
    );
    let new = bench.build("new.pkg");
    let report = differ::compare(&old, &new).unwrap();
    insta::assert_snapshot!(differ::text(&report, Look::plain(usize::MAX)), @r##"
    app 1.0-1 → 1.0-2

    Requires
      + libnet >= 5, < 5
      - libnet >= 4, < 5

    Processes
      ~ app: restart

    Files
      + /usr/share/app/readme
      ~ /etc/app.conf: 3 B → 5 B
      ~ /usr/lib/app/liby.so.1: differs in .text
      ~ /usr/sbin/app: differs only in strings that look like paths or dates ("Nov 23 2026" → "Nov 24 2026")
      ~ /usr/bin/su: mode 4755 → 4711
      = /usr/lib/app/libx.so.1: only rebuilt, no process is restarted for it
    "##);
}

#[test]
fn a_package_does_not_differ_from_itself() {
    let bench = Bench::new();
    let (old, new) = (bench.build("old.pkg"), bench.build("new.pkg"));
    let report = differ::compare(&old, &new).unwrap();
    assert_eq!(
        differ::text(&report, Look::plain(usize::MAX)),
        "nothing differs\n"
    );
    assert_eq!(report.same, ["app=1.0-1"]);
}

#[test]
fn the_graph_leads_from_the_process_to_every_library() {
    let contents = Bench::new().build("out.pkg");
    let graph = graph::of(contents.packages.iter().map(|package| &package.manifest));
    insta::assert_snapshot!(graph::dot(&graph), @r##"
    digraph uses {
      rankdir=LR;
      node [fontname="sans-serif", fontsize=11];
      n0 [label="app", shape=oval, style=bold];
      n1 [label="/usr/sbin/app", shape=box, style=bold];
      n2 [label="/usr/lib/app/libx.so.1", shape=box];
      n3 [label="/usr/lib/app/liby.so.1", shape=box];
      n4 [label="libc.so.6", shape=box, style=dashed];
      n0 -> n1;
      n1 -> n2;
      n1 -> n4;
      n2 -> n3;
    }
    "##);
    let svg = svg::draw(&graph);
    for text in [
        "<svg ",
        ">app<",
        ">/usr/lib/app/liby.so.1<",
        ">libc.so.6<",
        "</svg>",
    ] {
        assert!(svg.contains(text), "{text} is not in {svg}");
    }
    assert_eq!(svg.matches("<path").count(), graph.edges.len());
}

#[test]
fn a_package_that_was_cut_short_is_not_shown_as_whole() {
    let bench = Bench::new();
    let whole = bench.build("out.pkg");
    let bytes = fs_err::read(&whole.path).unwrap();
    fs_err::write(&whole.path, &bytes[..bytes.len() - 1]).unwrap();
    let error = Contents::read(&whole.path, false).unwrap_err();
    assert!(
        format!("{:#}", error.error).contains("cut short"),
        "{:#}",
        error.error
    );
}
