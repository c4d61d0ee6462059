//! `[files]`: which sources go where.

use model::manifest::FileType;
use model::path::PackagePath;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::super::analyse::Declared;
use super::salvage::{Reading, Value};

mod capabilities;

/// One line of `[files]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    /// Path or pattern, relative to the package.toml.
    pub source: String,
    /// Where it is declared, as a byte offset.
    pub place: usize,
    /// Where it goes.
    pub to: Destination,
    /// Access mode; by the source's execute permission where absent. Only this sets set-id bits.
    pub mode: Option<u32>,
    /// Owner by name.
    pub owner: Option<String>,
    /// Group by name.
    pub group: Option<String>,
    /// What cannot be seen in the bytes.
    pub declared: Declared,
}

impl FileRule {
    /// Whether its source is a pattern.
    pub fn is_pattern(&self) -> bool {
        self.source.contains(['*', '?', '['])
    }
}

/// Where a source goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Exactly here.
    Path(PackagePath),
    /// Into this directory, under its own name.
    Into(PackagePath),
}

/// The long form of a line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Long {
    to: Spanned<String>,
    #[serde(rename = "type")]
    file_type: Option<FileType>,
    function: Option<String>,
    mode: Option<Spanned<String>>,
    owner: Option<String>,
    group: Option<String>,
    capabilities: Option<Spanned<String>>,
    #[serde(default)]
    provides_apis: Vec<String>,
    #[serde(default)]
    consumes_apis: Vec<String>,
}

pub(super) fn read<'a>(reading: &mut Reading<'a>, value: Value<'a>) -> Vec<FileRule> {
    let start = value.span().start;
    let DeValue::Table(table) = value.into_inner() else {
        reading.wrong(
            start,
            "write [files] as a table of \"source\" = \"destination\"",
        );
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (key, value) in table {
        let place = key.span().start;
        let source = key.into_inner().into_owned();
        if let Err(error) = glob::Pattern::new(&source) {
            reading.wrong(place, format!("{source:?} is no pattern: {error}"));
            continue;
        }
        rules.extend(rule(reading, source, place, value));
    }
    rules.sort_by_key(|rule| rule.place);
    rules
}

fn rule<'a>(
    reading: &mut Reading<'a>,
    source: String,
    place: usize,
    value: Value<'a>,
) -> Option<FileRule> {
    if value.get_ref().is_str() {
        let to: Spanned<String> = reading.read(value)?;
        let to = destination(reading, &to)?;
        let declared = Declared::default();
        return Some(FileRule {
            source,
            place,
            to,
            mode: None,
            owner: None,
            group: None,
            declared,
        });
    }
    let long: Long = reading.read(value)?;
    let to = destination(reading, &long.to);
    let mode = long.mode.map(|text| mode(reading, &text));
    let capabilities = long.capabilities.map(|text| {
        capabilities::parse(text.get_ref()).map_err(|error| reading.wrong(text.span().start, error))
    });
    let declared = Declared {
        file_type: long.file_type,
        function: long.function,
        capabilities: capabilities.transpose().ok()?,
        provides_apis: long.provides_apis,
        consumes_apis: long.consumes_apis,
    };
    let mode = mode.map_or(Some(None), |mode| mode.map(Some))?;
    Some(FileRule {
        source,
        place,
        to: to?,
        mode,
        owner: long.owner,
        group: long.group,
        declared,
    })
}

fn destination(reading: &mut Reading<'_>, text: &Spanned<String>) -> Option<Destination> {
    let (path, into) = match text.get_ref().strip_suffix('/') {
        Some(directory) => (directory, true),
        None => (text.get_ref().as_str(), false),
    };
    match path.parse() {
        Ok(path) if into => Some(Destination::Into(path)),
        Ok(path) => Some(Destination::Path(path)),
        Err(error) => {
            reading.wrong(text.span().start, error.to_string());
            None
        }
    }
}

fn mode(reading: &mut Reading<'_>, text: &Spanned<String>) -> Option<u32> {
    let digits = text.get_ref();
    let octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if octal && mode <= 0o7777 => Some(mode),
        _ => {
            let text_place = text.span().start;
            reading.wrong(
                text_place,
                format!("mode {digits:?} is not octal, like \"0755\""),
            );
            None
        }
    }
}
