//! Where a Debian package's paths go on a node.

use model::path::{PackagePath, merged_usr};

/// Where one path goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Into the package, below `/usr` or `/opt`.
    Package(PackagePath),
    /// Configuration, below `/etc`.
    Config(PackagePath),
    /// State of the machine, below `/var`, `/run` or `/srv`.
    State(String),
    /// A directory that every machine has: nothing to carry over.
    Given,
    /// Nowhere, for this reason.
    LeftOut(&'static str),
}

/// Directories outside `/usr` that every machine has.
const GIVEN: [&str; 27] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/run/lock",
    "/var/tmp",
];

/// Directories below `/var` that belong to the machine's own package system or base.
const MACHINES: [&str; 9] = [
    "/var/backups",
    "/var/lib/dpkg",
    "/var/lib/misc",
    "/var/local",
    "/var/lock",
    "/var/mail",
    "/var/opt",
    "/var/run",
    "/var/cache/ldconfig",
];

/// Documentation, left out on request.
const DOCUMENTATION: [&str; 7] = [
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/locale/",
    "/usr/share/doc-base/",
    "/usr/share/bug/",
];

/// Where `path`, absolute and normalised, goes.
pub fn place(path: &str) -> Place {
    let dpkgs = path.starts_with("/var/lib/dpkg/");
    if GIVEN.contains(&path) || MACHINES.contains(&path) || dpkgs {
        return Place::Given;
    }
    // /var/run and /var/lock are links to these on every machine.
    if is_init_directory(path) {
        return Place::Given;
    }
    let path = match path.strip_prefix("/var/run/") {
        Some(rest) => format!("/run/{rest}"),
        None => merged_usr(path),
    };
    if is_init_script(&path) {
        return Place::LeftOut("an init script; the unit is used");
    }
    match path.split('/').nth(1).unwrap_or_default() {
        "usr" if path.starts_with("/usr/local/") => Place::LeftOut("/usr/local is the machine's"),
        "usr" | "opt" => parse(&path, Place::Package),
        "etc" => parse(&path, Place::Config),
        "var" | "run" | "srv" => Place::State(path),
        _ => Place::LeftOut("outside /usr, /opt, /etc, /var, /run and /srv"),
    }
}

fn parse(path: &str, place: fn(PackagePath) -> Place) -> Place {
    path.parse().map_or(
        Place::LeftOut("its name is not one that a package may have"),
        place,
    )
}

/// `/etc/init.d`, `/etc/rc2.d` and their kin.
fn is_init_directory(path: &str) -> bool {
    let level = path
        .strip_prefix("/etc/rc")
        .and_then(|rest| rest.strip_suffix(".d"));
    matches!(path, "/etc/init.d" | "/etc/init") || level.is_some_and(|level| level.len() == 1)
}

fn is_init_script(path: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(directory, _)| is_init_directory(directory))
}

/// Whether it is documentation, a translation, or a note for package checkers.
pub fn is_documentation(path: &PackagePath) -> bool {
    DOCUMENTATION
        .iter()
        .any(|prefix| path.as_str().starts_with(prefix))
}

/// Where a symbolic link may point from its new place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkText {
    /// Keep or use this text.
    Text(String),
    /// To itself, once `/bin`, `/lib` … and `/usr` are one: the other file is meant.
    ToItself,
    /// It climbs above the root.
    Climbs,
    /// To a place that neither packages nor the machine's state have (`/home`, `/proc`, …).
    Leaves,
}

/// The text of the link that stood at `original` and goes to `path`.
///
/// A relative link that moves to `/usr` and would no longer reach what it named becomes absolute.
pub fn link_text(original: &str, path: &PackagePath, text: &str) -> LinkText {
    let Some(meant) = resolve(original, text) else {
        return LinkText::Climbs;
    };
    let meant = merged_usr(&meant);
    if meant == path.as_str() {
        return LinkText::ToItself;
    }
    let top = meant.split('/').nth(1).unwrap_or_default();
    let known = ["usr", "opt", "etc", "var", "run"];
    if !known.contains(&top) && meant != "/dev/null" {
        return LinkText::Leaves;
    }
    match resolve(path.as_str(), text) {
        Some(reached) if merged_usr(&reached) == meant => LinkText::Text(text.to_owned()),
        _ => LinkText::Text(meant),
    }
}

/// `text` as seen from the link at `at`; `None` where it climbs above the root.
fn resolve(at: &str, text: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if !text.starts_with('/') {
        parts.extend(at.split('/').filter(|part| !part.is_empty()));
        parts.pop();
    }
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PackagePath {
        text.parse().unwrap()
    }

    #[test]
    fn every_top_directory_has_its_place() {
        for (from, to) in [
            ("/bin/sh", "/usr/bin/sh"),
            ("/sbin/ldconfig", "/usr/sbin/ldconfig"),
            (
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/usr/lib/x86_64-linux-gnu/libc.so.6",
            ),
            (
                "/lib64/ld-linux-x86-64.so.2",
                "/usr/lib64/ld-linux-x86-64.so.2",
            ),
            ("/lib32/a", "/usr/lib32/a"),
            ("/libx32/a", "/usr/libx32/a"),
            ("/usr/bin/a", "/usr/bin/a"),
            ("/opt/a", "/opt/a"),
        ] {
            assert_eq!(place(from), Place::Package(path(to)), "{from}");
        }
        assert_eq!(place("/etc/a"), Place::Config(path("/etc/a")));
        assert_eq!(place("/var/lib/a"), Place::State("/var/lib/a".into()));
        assert_eq!(place("/var/run/a"), Place::State("/run/a".into()));
        for given in ["/usr", "/var/log", "/lib64", "/var/lock"] {
            assert_eq!(place(given), Place::Given, "{given}");
        }
        for out in [
            "/home/a",
            "/root/a",
            "/boot/a",
            "/etc/init.d/a",
            "/etc/rc2.d/S01a",
            "/usr/local/a",
        ] {
            assert!(matches!(place(out), Place::LeftOut(_)), "{out}");
        }
        assert!(matches!(place("/etc/rcfile.d/a"), Place::Config(_)));
        assert_eq!(place("/etc/init.d"), Place::Given);
        assert_eq!(place("/etc/rc2.d"), Place::Given);
    }

    #[test]
    fn links_still_reach_what_they_named() {
        let keep = |text: &str| LinkText::Text(text.into());
        for (original, to, text, expected) in [
            (
                "/lib64/ld.so.2",
                "/usr/lib64/ld.so.2",
                "/lib/x/ld.so.2",
                keep("/lib/x/ld.so.2"),
            ),
            ("/lib/a/l", "/usr/lib/a/l", "../b/l", keep("../b/l")),
            (
                "/lib/a/l",
                "/usr/lib/a/l",
                "../../usr/share/l",
                keep("/usr/share/l"),
            ),
            ("/lib/a/l", "/usr/lib/a/l", "../../etc/l", keep("/etc/l")),
            (
                "/usr/bin/l",
                "/usr/bin/l",
                "/etc/alternatives/l",
                keep("/etc/alternatives/l"),
            ),
            (
                "/bin/which",
                "/usr/bin/which",
                "/usr/bin/which",
                LinkText::ToItself,
            ),
            (
                "/usr/bin/which",
                "/usr/bin/which",
                "../../bin/which",
                LinkText::ToItself,
            ),
            ("/usr/a", "/usr/a", "../../home/x", LinkText::Climbs),
            ("/usr/a/b", "/usr/a/b", "../../home/x", LinkText::Leaves),
            ("/usr/a", "/usr/a", "/tmp/x", LinkText::Leaves),
        ] {
            assert_eq!(
                link_text(original, &path(to), text),
                expected,
                "{original} -> {text}"
            );
        }
    }
}
