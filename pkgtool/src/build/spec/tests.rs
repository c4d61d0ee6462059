use std::path::Path;

use model::manifest::{FileType, Subject};

use super::*;

fn read(text: &str) -> Result<Spec, Mistakes> {
    parse(Path::new("package.toml"), text)
}

/// DESIGN's example, as the documentation shows it.
const EXAMPLE: &str = r#"
[package]
name = "routing"
version = "2.1.0-3"
summary = "Routing daemons"
requires = ["libnet >= 4, < 5"]
provides = ["router", "rib = 2"]
[[requires-when]]
arch = "aarch64"
packages = ["fwd-asic >= 1.2"]
[[requires-remote]]
class = "line-card"
packages = ["fwd >= 2.1"]

[files]
"build/bin/ribd" = "/usr/sbin/ribd"
"build/lib/*.so*" = "/usr/lib/routing/"
"parser/*.cli" = { to = "/usr/share/routing/parser/", type = "parser", function = "cli" }
"build/lib/librib.so.2" = { to = "/usr/lib/routing/", provides-apis = ["rib/2"], consumes-apis = ["fib/1"] }
"ping" = { to = "/usr/bin/", mode = "4755", owner = "root", capabilities = "cap_net_raw=ep" }
[[dlopen]]
file = "/usr/sbin/ribd"
libraries = ["libospf-ext.so.2"]

[[process]]
name = "ribd"
exec = ["/usr/sbin/ribd", "--foreground"]
kind = "simple"
after = ["fwdd"]
uses-files = ["/usr/share/routing/parser/**"]
user = "routing"
ready = "notify"
stop-timeout = "5s"
restart = "on-failure"
sockets = [{ name = "api", listen = "/run/ribd.sock" }]
evaluate = ["/usr/libexec/ribd-can-restart"]
state-version = 3

[setup]
users = [{ name = "routing" }]
[exports]
commands = ["/usr/sbin/ribd"]
"#;

#[test]
fn the_example_of_the_documentation_is_understood() {
    let spec = read(EXAMPLE).unwrap();
    assert_eq!(spec.draft.requires[0].to_string(), "libnet >= 4, < 5");
    assert_eq!(spec.draft.processes[0].state_version, Some(3));
    assert_eq!(spec.draft.exports["commands"], ["/usr/sbin/ribd"]);
    assert_eq!(spec.draft.provides.len(), 2);
    let parser = &spec.files[2];
    assert_eq!(parser.declared.file_type, Some(FileType::Parser));
    assert!(parser.is_pattern());
    assert_eq!(
        parser.to,
        Destination::Into("/usr/share/routing/parser".parse().unwrap())
    );
    assert_eq!(spec.files[4].mode, Some(0o4755));
    let process = Subject::Process("ribd".parse().unwrap());
    assert_eq!(
        EXAMPLE.lines().nth(spec.line(&process) - 1),
        Some("[[process]]")
    );
}

#[test]
fn every_mistake_is_shown_at_once_with_its_line() {
    let text = r#"[package]
name = "Routing"
version = "1_0"
requires = ["a >=", "b", "C"]
colour = "red"

[files]
"a" = "usr/bin/a"
"b" = { to = "/usr/../etc/", mode = "rwx", kind = "x" }
"c" = { to = "/usr/c", mode = "0999", capabilities = "net" }
"[" = "/usr/d"

[[process]]
name = "a b"
exec = ["/usr/bin/a"]
kind = "complex"
stop-timeout = "soon"

[setup]
users = 3
[colours]
"#;
    let mistakes = read(text).unwrap_err();
    insta::assert_snapshot!(mistakes, @r#"
    package.toml has 17 mistakes
      package.toml:2: "Routing" is not a package name: lower-case letters, digits, '+', '.' and '-', beginning with a letter or digit
      package.toml:3: "1_0" is not a version: letters, digits and '.+-:~'
      package.toml:4: "" is not a version: 1 to 256 characters
      package.toml:4: "C" is not a package name: lower-case letters, digits, '+', '.' and '-', beginning with a letter or digit
      package.toml:5: unknown field `colour`, expected one of `name`, `version`, `summary`, `architecture`, `upgrades`, `requires`, `provides`, `notes`
      package.toml:8: "usr/bin/a" is not a package path: it begins with '/'
      package.toml:9: "/usr/../etc" is not a package path: no empty part, '.' or '..'
      package.toml:9: mode "rwx" is not octal, like "0755"
      package.toml:9: unknown field `kind`, expected one of `to`, `type`, `function`, `mode`, `owner`, `group`, `capabilities`, `provides-apis`, `consumes-apis`
      package.toml:10: capabilities "net" are not like "cap_net_raw,cap_net_admin=ep"
      package.toml:10: mode "0999" is not octal, like "0755"
      package.toml:11: "[" is no pattern: Pattern syntax error near position 0: invalid range pattern
      package.toml:14: "a b" is not a process name: letters, digits and ':_.@-', beginning with a letter or digit
      package.toml:16: unknown variant `complex`, expected `simple` or `self-managing`
      package.toml:17: "soon" is not a length of time: like 5s, 1min 30s, 250ms or infinity
      package.toml:20: invalid type: integer `3`, expected a sequence
      package.toml:21: unknown section [colours]: there are package, files, process, dlopen, requires-when, requires-remote, setup and exports
    "#);
}

#[test]
fn broken_toml_is_shown_with_its_line_and_the_rest_is_read_on() {
    let text = "[package]\nname = \"a\nversion = \"1\"\n[files]\n\"x\" = \"y\"\n";
    let mistakes = read(text).unwrap_err();
    assert!(mistakes.list.iter().any(|one| one.line == 2), "{mistakes}");
    assert!(mistakes.list.iter().any(|one| one.line == 5), "{mistakes}");
}

#[test]
fn name_and_version_must_be_there() {
    insta::assert_snapshot!(read("").unwrap_err(), @"package.toml:1: [package] with name and version is missing");
    insta::assert_snapshot!(read("[package]\n").unwrap_err(), @"package.toml:1: missing field `name`");
}
