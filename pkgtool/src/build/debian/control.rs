//! A control file: name, version, what it depends on and provides, and what is left out of that.

use model::Requirement;
use model::ids::PackageName;
use model::manifest::Provided;
use model::requirement::{Alternative, Relation};
use model::version::Version;

use super::{DebError, Result};

/// Relations to other packages that ours do not have; each becomes a note.
const LEFT_OUT: [&str; 6] = [
    "Conflicts",
    "Breaks",
    "Replaces",
    "Recommends",
    "Suggests",
    "Enhances",
];

/// What an import takes from a control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// `Package`
    pub name: PackageName,
    /// `Version`
    pub version: Version,
    /// `Architecture`, as Debian names it.
    pub architecture: String,
    /// First line of `Description`.
    pub summary: String,
    /// `Pre-Depends` and `Depends`.
    pub requires: Vec<Requirement>,
    /// `Provides`
    pub provides: Vec<Provided>,
    /// Names in `Recommends` and `Suggests`, in that order.
    pub recommends: Vec<PackageName>,
    /// What is not carried over.
    pub notes: Vec<String>,
}

/// Reads a control file's text: one paragraph.
pub fn parse(text: &str) -> Result<Control> {
    let document: deb822_fast::Deb822 = text
        .parse()
        .map_err(|error| DebError::Control(format!("{error}")))?;
    let fields = document
        .iter()
        .next()
        .ok_or_else(|| DebError::Control("it is empty".into()))?;
    let needed = |name: &str| {
        fields
            .get(name)
            .map(str::trim)
            .ok_or_else(|| DebError::Control(format!("no {name} field")))
    };
    let mut notes = Vec::new();
    let mut requires = Vec::new();
    for name in ["Pre-Depends", "Depends"] {
        for one in split(fields.get(name).unwrap_or_default()) {
            match requirement(one)? {
                Some(wanted) if !requires.contains(&wanted) => requires.push(wanted),
                Some(_) => {}
                None => notes.push(format!("control: {name}: {one} (of another architecture)")),
            }
        }
    }
    let provides = split(fields.get("Provides").unwrap_or_default())
        .map(provided)
        .collect::<Result<_>>()?;
    for name in LEFT_OUT {
        if let Some(value) = fields.get(name) {
            notes.push(format!("control: {name}: {}", one_line(value)));
        }
    }
    let description = fields.get("Description").unwrap_or_default();
    Ok(Control {
        name: needed("Package")?.parse()?,
        version: needed("Version")?.parse()?,
        architecture: needed("Architecture")?.to_owned(),
        summary: description
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
        requires,
        provides,
        recommends: recommends(fields),
        notes,
    })
}

fn recommends(fields: &deb822_fast::Paragraph) -> Vec<PackageName> {
    let field = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let (recommended, suggested) = (field("Recommends"), field("Suggests"));
    let alternatives = split(&recommended)
        .chain(split(&suggested))
        .flat_map(|one| one.split('|'));
    let wanted = alternatives.filter_map(|one| alternative(one.trim()).ok().flatten());
    wanted.map(|one| one.name).collect()
}

/// The ELF machine name of a Debian architecture; `None` for `all`.
pub fn machine(architecture: &str) -> Option<String> {
    let name = match architecture {
        "all" => return None,
        "amd64" | "x32" => "x86_64",
        "arm64" => "aarch64",
        "armhf" | "armel" => "arm",
        "ppc64el" | "ppc64" => "powerpc64",
        "mips64el" => "mips64",
        other => other,
    };
    Some(name.to_owned())
}

fn split(field: &str) -> impl Iterator<Item = &str> {
    field
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
}

fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `None` where every alternative is for another architecture.
fn requirement(text: &str) -> Result<Option<Requirement>> {
    let mut alternatives = Vec::new();
    for one in text.split('|') {
        if let Some(one) = alternative(one.trim())? {
            alternatives.push(one.to_string());
        }
    }
    if alternatives.is_empty() {
        return Ok(None);
    }
    Ok(Some(alternatives.join(" | ").parse()?))
}

/// `NAME[:ARCH] [(RELATION VERSION)] [[ARCHITECTURES]] [<PROFILES>]`; `None` where the
/// architectures do not include this machine's.
fn alternative(text: &str) -> Result<Option<Alternative>> {
    let bad = || DebError::Control(format!("{text:?} is no dependency"));
    let end = text
        .find(|c: char| c.is_whitespace() || "([<".contains(c))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let name = name
        .split_once(':')
        .map_or(name, |(name, _architecture)| name);
    let mut bounds = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(open) = rest.chars().next() else {
            break;
        };
        let close = match open {
            '(' => ')',
            '[' => ']',
            '<' => '>',
            _ => return Err(bad()),
        };
        let (inner, after) = rest
            .get(1..)
            .and_then(|rest| rest.split_once(close))
            .ok_or_else(bad)?;
        match open {
            '(' => bounds.push(relation(inner.trim()).ok_or_else(bad)?),
            '[' if !includes_this_machine(inner) => return Ok(None),
            _ => {}
        }
        rest = after;
    }
    Ok(Some(Alternative {
        name: name.parse()?,
        bounds,
    }))
}

/// Debian's signs, the strict ones among them; `<` and `>` meant `<=` and `>=` long ago and still do.
fn relation(text: &str) -> Option<(Relation, Version)> {
    const SIGNS: [(&str, Relation); 7] = [
        ("<<", Relation::Less),
        ("<=", Relation::LessOrEqual),
        (">>", Relation::Greater),
        (">=", Relation::GreaterOrEqual),
        ("=", Relation::Equal),
        ("<", Relation::LessOrEqual),
        (">", Relation::GreaterOrEqual),
    ];
    let (sign, relation) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign))?;
    let version = text.strip_prefix(sign)?.trim().parse().ok()?;
    Some((*relation, version))
}

/// `[amd64 arm64]`, or `[!i386]`.
fn includes_this_machine(list: &str) -> bool {
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        other => other,
    };
    let matches = |name: &str| name == ours || name == "any" || name == "linux-any";
    let mut words = list.split_whitespace().peekable();
    if words.peek().is_some_and(|word| word.starts_with('!')) {
        return !words.any(|word| word.strip_prefix('!').is_some_and(matches));
    }
    words.any(matches)
}

/// `NAME` or `NAME (= VERSION)`.
fn provided(text: &str) -> Result<Provided> {
    let bad = || DebError::Control(format!("{text:?} is no provided name"));
    let one = alternative(text)?.ok_or_else(bad)?;
    Ok(Provided {
        name: one.name,
        version: one.bounds.into_iter().next().map(|(_, version)| version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = "\
Package: nginx
Version: 1:1.22.1-9+deb12u11
Architecture: amd64
Pre-Depends: init-system-helpers (>= 1.54~)
Depends: libc6 (>= 2.34), nginx-common (<< 1.22.1-9+deb12u11.1~), perl:any,
 debconf (>= 0.5) | debconf-2.0, only-arm [armhf], dup, dup
Breaks: nginx-core (<< 1.22.1-6~)
Provides: httpd, nginx-abi (= 1.22.1-7)
Description: small, powerful, scalable web/proxy server
 Nginx is a web server.
 .
 And more.
";

    #[test]
    fn a_control_file_is_carried_over_with_its_relations() {
        let control = parse(NGINX).unwrap();
        assert_eq!(control.name.as_str(), "nginx");
        assert_eq!(control.version.as_str(), "1:1.22.1-9+deb12u11");
        assert_eq!(
            control.summary,
            "small, powerful, scalable web/proxy server"
        );
        let requires: Vec<String> = control.requires.iter().map(ToString::to_string).collect();
        let expected = [
            "init-system-helpers >= 1.54~",
            "libc6 >= 2.34",
            "nginx-common < 1.22.1-9+deb12u11.1~",
            "perl",
            "debconf >= 0.5 | debconf-2.0",
            "dup",
        ];
        assert_eq!(requires, expected);
        assert_eq!(control.provides.len(), 2);
        assert_eq!(
            control.provides[1].version.as_ref().unwrap().as_str(),
            "1.22.1-7"
        );
        let notes = [
            "control: Depends: only-arm [armhf] (of another architecture)",
            "control: Breaks: nginx-core (<< 1.22.1-6~)",
        ];
        assert_eq!(control.notes, notes);
    }

    #[test]
    fn each_relation_keeps_its_meaning() {
        for (debian, ours) in [
            ("a (<< 1)", "a < 1"),
            ("a (>> 1)", "a > 1"),
            ("a (<= 1)", "a <= 1"),
            ("a(>=1)", "a >= 1"),
            ("a (= 1)", "a = 1"),
            ("a (< 1)", "a <= 1"),
            ("a (> 1)", "a >= 1"),
            ("a <!nocheck>", "a"),
            ("a [linux-any]", "a"),
            ("a:native (= 2)", "a = 2"),
        ] {
            assert_eq!(
                requirement(debian).unwrap().unwrap().to_string(),
                ours,
                "{debian}"
            );
        }
        assert_eq!(requirement("a [!linux-any]").unwrap(), None);
        for bad in ["a (", "a (? 1)", "a (>= )", "(>= 1)", "a b", "A"] {
            requirement(bad).unwrap_err();
        }
    }

    #[test]
    fn a_control_file_without_its_fields_is_refused() {
        for bad in [
            "",
            "Package: a\n",
            "Package: a\nVersion: 1\n",
            "no colon here",
        ] {
            parse(bad).unwrap_err();
        }
        parse("Package: A/B\nVersion: 1\nArchitecture: all\n").unwrap_err();
    }
}
