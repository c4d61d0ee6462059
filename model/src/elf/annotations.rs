//! What well-known libraries and programs open at run time, reviewed and shipped with us.
//!
//! The ELF analysis sees that a library calls `dlopen`, not what it opens. For these it is known
//! from their sources and documentation; the data is `annotations.toml` beside this file.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::pattern::matches;

/// What one library or program opens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Annotation {
    /// The library's soname, or the last part of the program's path. A `*` stands for any run of
    /// characters without `/`.
    pub opener: String,
    /// Absolute paths below a merged `/usr` or `/opt`; in them `*` stands for any run of characters
    /// without `/`. Empty: reviewed, it opens nothing that a package could bring.
    pub opens: Vec<String>,
    /// Why, for people.
    pub because: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shipped {
    annotation: Vec<Annotation>,
}

const TEXT: &str = include_str!("annotations.toml");

/// A test shows that the text parses; were it damaged, nothing would be annotated, and what calls
/// `dlopen` would be reported as unknown.
static SHIPPED: LazyLock<Vec<Annotation>> = LazyLock::new(|| {
    toml::from_str::<Shipped>(TEXT)
        .unwrap_or_default()
        .annotation
});

/// All that is known.
pub fn shipped() -> &'static [Annotation] {
    &SHIPPED
}

/// What is known of the library with this soname, or of the program with this file name.
pub fn of(name: &str) -> Option<&'static Annotation> {
    shipped().iter().find(|one| matches(&one.opener, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_annotations_parse_and_each_says_something_usable() {
        let parsed: Shipped = toml::from_str(TEXT).unwrap();
        assert_eq!(parsed.annotation, shipped());
        let mut openers: Vec<_> = shipped().iter().map(|one| &one.opener).collect();
        openers.sort();
        openers.dedup();
        assert_eq!(openers.len(), shipped().len(), "no opener stands twice");
        for one in shipped() {
            assert!(
                !one.opener.contains('/') && !one.because.is_empty(),
                "{one:?}"
            );
            for path in &one.opens {
                assert!(
                    path.starts_with("/usr/") || path.starts_with("/opt/"),
                    "{path}"
                );
                assert!(path.contains(".so"), "{path}");
            }
        }
    }

    #[test]
    fn the_libraries_that_every_debian_system_has_are_known() {
        for (soname, opened) in [
            ("libc.so.6", "/usr/lib/x86_64-linux-gnu/libnss_systemd.so.2"),
            ("libc.so.6", "/usr/lib/aarch64-linux-gnu/gconv/UTF-16.so"),
            (
                "libpam.so.0",
                "/usr/lib/x86_64-linux-gnu/security/pam_unix.so",
            ),
            (
                "libcrypto.so.3",
                "/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so",
            ),
            (
                "libp11-kit.so.0",
                "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-trust.so",
            ),
            (
                "libkrb5.so.3",
                "/usr/lib/x86_64-linux-gnu/krb5/plugins/preauth/pkinit.so",
            ),
            (
                "libsasl2.so.2",
                "/usr/lib/x86_64-linux-gnu/sasl2/libscram.so",
            ),
            ("nginx", "/usr/lib/nginx/modules/ngx_stream_module.so"),
        ] {
            let known = of(soname).unwrap_or_else(|| panic!("{soname} is not annotated"));
            assert!(
                known.opens.iter().any(|p| matches(p, opened)),
                "{soname} opens {opened}"
            );
        }
        assert_eq!(of("libnever-heard-of.so.1"), None);
    }
}
