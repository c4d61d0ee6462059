//! Paths that a package may own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{NameError, text_type};

/// An absolute, normalised path below `/usr`, `/opt` or `/etc`: no `.`, `..`, empty part, NUL or
/// line break; each part at most 255 bytes, the whole at most 4,095.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackagePath(Box<str>);

text_type!(PackagePath);

impl FromStr for PackagePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |rule| Err(NameError::new("package path", rule, text));
        let Some(relative) = text.strip_prefix('/') else {
            return refuse("it begins with '/'");
        };
        if text.len() > 4095 {
            return refuse("at most 4,095 bytes");
        }
        if text.bytes().any(|c| c < b' ' || c == 0x7f) {
            return refuse("no control characters");
        }
        for part in relative.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return refuse("no empty part, '.' or '..'");
            }
            if part.len() > 255 {
                return refuse("each part at most 255 bytes");
            }
        }
        let top = relative.split('/').next().unwrap_or_default();
        if !matches!(top, "usr" | "opt" | "etc") {
            return refuse("below /usr, /opt or /etc");
        }
        Ok(Self(text.into()))
    }
}

impl PackagePath {
    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The directory that holds it; `None` for `/usr`, `/opt` and `/etc`.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/')?;
        (!parent.is_empty()).then(|| Self(parent.into()))
    }

    /// The path below a generation's root: without the leading `/`.
    pub fn relative(&self) -> &str {
        self.0.trim_start_matches('/')
    }

    /// Whether it is configuration, written to the machine's `/etc` and not to a generation.
    pub fn is_config(&self) -> bool {
        self.0.starts_with("/etc")
    }

    /// This path and `target`, a symbolic link's text at it, as one normalised path.
    /// `None` where the link leaves what a package may own (`/etc/…` and `/run/…` links are common
    /// and harmless: they are the machine's to answer).
    pub fn link_target(&self, target: &str) -> Option<Self> {
        let mut parts: Vec<&str> = if target.starts_with('/') {
            Vec::new()
        } else {
            let mut parts: Vec<&str> = self.relative().split('/').collect();
            parts.pop();
            parts
        };
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        merged_usr(&format!("/{}", parts.join("/"))).parse().ok()
    }
}

/// `path` on a merged-`/usr` system: `/bin`, `/sbin`, `/lib`, `/lib32`, `/lib64`, `/libx32` are below `/usr`.
pub fn merged_usr(path: &str) -> String {
    let top = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    if matches!(top, "bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32") {
        format!("/usr{path}")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> PackagePath {
        text.parse().unwrap()
    }

    #[test]
    fn only_clean_paths_below_the_three_roots_are_taken() {
        for bad in [
            "",
            "usr/bin/x",
            "/",
            "/usr/",
            "/usr//x",
            "/usr/../etc/x",
            "/usr/./x",
            "/var/lib/x",
            "/usrx/y",
            "/home/x",
            "/usr/a\nb",
            "/usr/a\0b",
            "/usr/..",
            "/tmp",
        ] {
            bad.parse::<PackagePath>().unwrap_err();
        }
        assert_eq!(path("/usr/bin/x").relative(), "usr/bin/x");
        assert_eq!(path("/usr/bin/x").file_name(), "x");
        assert_eq!(path("/usr").parent(), None);
    }

    #[test]
    fn links_resolve_inside_the_tree_or_not_at_all() {
        let link = path("/usr/lib/a/l.so");
        assert_eq!(link.link_target("l.so.1"), Some(path("/usr/lib/a/l.so.1")));
        assert_eq!(link.link_target("../b/l"), Some(path("/usr/lib/b/l")));
        assert_eq!(link.link_target("/lib/x"), Some(path("/usr/lib/x")));
        assert_eq!(
            link.link_target("../../../../../usr/x"),
            Some(path("/usr/x"))
        );
        assert_eq!(link.link_target("/run/x"), None);
        assert_eq!(link.link_target("../../../../home/x"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_below_its_root(text in "[/a-z.]{0,24}") {
            if let Ok(path) = text.parse::<PackagePath>() {
                prop_assert!(!path.as_str().split('/').any(|part| part == ".."));
                prop_assert!(["usr", "opt", "etc"].iter().any(|top| path.relative().starts_with(top)));
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
