//! Patterns of paths: `*` and `?` stay within a directory, `**` crosses directories.

/// Whether `path` is one that `pattern` means.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.as_bytes(), path.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The last star of each kind, to come back to: after a deep one every shallow one is settled.
    let mut shallow: Option<(usize, usize)> = None;
    let mut deep: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), path.get(t)) {
            (Some(b'*'), _) if pattern.get(p + 1) == Some(&b'*') => {
                p += 2;
                (shallow, deep) = (None, Some((p, t)));
                continue;
            }
            (Some(b'*'), _) => {
                p += 1;
                shallow = Some((p, t));
                continue;
            }
            (Some(b'?'), Some(c)) if *c != b'/' => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            (Some(wanted), Some(c)) if wanted == c => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        match (shallow, deep) {
            (Some((after, at)), _) if path.get(at).is_some_and(|c| *c != b'/') => {
                shallow = Some((after, at + 1));
                (p, t) = (after, at + 1);
            }
            (_, Some((after, at))) if at < path.len() => {
                (shallow, deep) = (None, Some((after, at + 1)));
                (p, t) = (after, at + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stay_in_their_directory_unless_doubled() {
        let cases = [
            ("/usr/lib/*/gconv/*.so", "/usr/lib/x/gconv/A.so", true),
            ("/usr/lib/*/gconv/*.so", "/usr/lib/gconv/A.so", false),
            ("/usr/lib/*/gconv/*.so", "/usr/lib/x/y/gconv/A.so", false),
            ("/usr/lib/*.so", "/usr/lib/a.so.so", true),
            ("/usr/lib/*.so", "/usr/lib/a.so.1", false),
            ("libperl.so.5.*", "libperl.so.5.36", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("", "", true),
            ("*", "", true),
            ("a", "", false),
            ("/usr/lib/*.so", "/usr/lib/a.so", true),
            ("/usr/lib/*.so", "/usr/lib/b/a.so", false),
            ("/usr/**", "/usr/share/x/y", true),
            ("/usr/**/y", "/usr/share/x/y", true),
            ("/usr/**/*.cli", "/usr/share/a.b/c.cli", true),
            ("/usr/**/*.cli", "/usr/share/a.b/c.clix", false),
            (
                "/usr/lib/*/libnss_*.so.2",
                "/usr/lib/x86/libnss_a.so.2",
                true,
            ),
            ("/usr/l?b", "/usr/lib", true),
            ("/usr?lib", "/usr/lib", false),
            ("/usr/lib", "/usr/lib", true),
            ("", "/usr/lib", false),
            ("*", "", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} / {path}");
        }
    }
}
