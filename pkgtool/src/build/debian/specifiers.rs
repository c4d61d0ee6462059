//! The `%` specifiers of unit files that do not depend on the machine.

/// A unit's name, apart: `redis-server@main.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName {
    /// The whole name.
    pub full: String,
    /// Without its suffix.
    pub stem: String,
    /// Before the `@`, or the stem.
    pub prefix: String,
    /// After the `@`; empty for a template or where there is none.
    pub instance: String,
    /// It has an `@` and nothing after it.
    pub template: bool,
}

impl UnitName {
    /// Takes a file's name apart.
    pub fn new(full: &str) -> Self {
        let stem = full.rsplit_once('.').map_or(full, |(stem, _)| stem);
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
        Self {
            full: full.to_owned(),
            stem: stem.to_owned(),
            prefix: prefix.to_owned(),
            instance: instance.to_owned(),
            template: stem.ends_with('@'),
        }
    }

    /// `text` with its specifiers expanded; the specifier that only the machine knows, or that
    /// there is none of, where there is one.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match rest.next() {
                Some(letter) => out.push_str(&self.value(letter)?),
                None => out.push('%'),
            }
        }
        Ok(out)
    }

    fn value(&self, letter: char) -> Result<String, String> {
        Ok(match letter {
            '%' => "%".to_owned(),
            'n' => self.full.clone(),
            'N' => self.stem.clone(),
            'p' => self.prefix.clone(),
            'P' => unescape(&self.prefix),
            'i' => self.instance.clone(),
            'I' => unescape(&self.instance),
            'j' => last_part(&self.prefix).to_owned(),
            'J' => unescape(last_part(&self.prefix)),
            'f' => {
                let of = if self.instance.is_empty() {
                    &self.prefix
                } else {
                    &self.instance
                };
                let path = unescape(of);
                if path.starts_with('/') {
                    path
                } else {
                    format!("/{path}")
                }
            }
            't' => "/run".to_owned(),
            'S' => "/var/lib".to_owned(),
            'C' => "/var/cache".to_owned(),
            'L' => "/var/log".to_owned(),
            'E' => "/etc".to_owned(),
            'T' => "/tmp".to_owned(),
            'V' => "/var/tmp".to_owned(),
            // Those of the service manager and not of `User=`: root's, for the system's.
            'u' | 'g' => "root".to_owned(),
            'U' | 'G' => "0".to_owned(),
            'h' => "/root".to_owned(),
            other => return Err(format!("%{other}")),
        })
    }
}

fn last_part(prefix: &str) -> &str {
    prefix.rsplit('-').next().unwrap_or(prefix)
}

/// `systemd-escape --unescape`: `-` is `/`, `\xNN` a byte.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail
            .strip_prefix(b"x")
            .and_then(|tail| tail.get(..2))
            .filter(|_| *first == b'\\')
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        if let Some(byte) = hex {
            bytes.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            bytes.push(if *first == b'-' { b'/' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_stand_for_parts_of_the_name_and_fixed_places() {
        let unit = UnitName::new("redis-server@my-db.service");
        for (text, expected) in [
            ("%n", "redis-server@my-db.service"),
            ("%N %p %i %I", "redis-server@my-db redis-server my-db my/db"),
            ("/etc/redis-%i.conf 100%%", "/etc/redis-my-db.conf 100%"),
            ("%t/%S%C%L%E", "/run//var/lib/var/cache/var/log/etc"),
            ("%j %f", "server /my/db"),
            ("50%", "50%"),
        ] {
            assert_eq!(unit.expand(text).unwrap(), expected, "{text}");
        }
        assert_eq!(unit.expand("x%Hx"), Err("%H".into()));
        assert!(UnitName::new("x@.service").template);
        assert!(!UnitName::new("x.service").template);
        assert_eq!(unescape(r"dev-a\x2db"), "dev/a-b");
    }
}
