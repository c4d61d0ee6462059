//! Reading on after a mistake.

use std::ops::Range;
use std::str::FromStr;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::{Lines, Mistake};

/// A value with its place in the text.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A text as it is read, and what was found wrong with it.
pub(super) struct Reading<'a> {
    text: &'a str,
    pub(super) lines: Lines,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: Lines::new(text),
            mistakes: Vec::new(),
        }
    }

    /// The whole document; what does not parse is reported and left out.
    pub(super) fn document(&mut self) -> DeTable<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.error(&error, 0);
        }
        table.into_inner()
    }

    /// Notes a mistake at a place in the text.
    pub(super) fn wrong(&mut self, place: usize, text: impl Into<String>) {
        self.mistakes.push(Mistake {
            line: self.lines.of(place),
            text: text.into(),
        });
    }

    fn error(&mut self, error: &Error, place: usize) {
        let place = error.span().map_or(place, |span| span.start);
        self.wrong(place, error.message().replace('\n', ", "));
    }

    /// `value` as a `T`. Where a key of a table is wrong, it is reported and left out, and the
    /// others are read on, so that each mistake in a table comes to light. What is then given is
    /// not what the author wrote, and only good for finding further mistakes.
    pub(super) fn read<T: DeserializeOwned>(&mut self, mut value: Value<'a>) -> Option<T> {
        let start = value.span().start;
        let mut salvaged = false;
        loop {
            let error = match T::deserialize(value.clone().into_deserializer()) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let table = value.get_ref().as_table();
            let key = table
                .zip(error.span())
                .and_then(|(table, span)| key_at(table, &span));
            // After a wrong key was left out, that it is missing is no news.
            if !salvaged || key.is_some() {
                self.error(&error, start);
            }
            match (value.get_mut(), key) {
                (DeValue::Table(table), Some(key)) => drop(table.remove(key.as_str())),
                _ => return None,
            }
            salvaged = true;
        }
    }

    /// The text as a `T` with a meaning of its own.
    pub(super) fn parse<T: FromStr>(&mut self, text: &Spanned<String>) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        match text.get_ref().parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(text.span().start, format!("{error}"));
                None
            }
        }
    }

    /// Each text as a `T`; the wrong ones are left out.
    pub(super) fn parse_all<T: FromStr>(&mut self, texts: &[Spanned<String>]) -> Vec<T>
    where
        T::Err: std::fmt::Display,
    {
        texts.iter().filter_map(|text| self.parse(text)).collect()
    }

    /// The elements of `[[name]]`.
    pub(super) fn elements(&mut self, name: &str, value: Value<'a>) -> Vec<Value<'a>> {
        let start = value.span().start;
        if let DeValue::Array(array) = value.into_inner() {
            return array.into_iter().collect();
        }
        self.wrong(start, format!("write [[{name}]]: there may be several"));
        Vec::new()
    }
}

/// The key whose name or value holds the place of an error.
fn key_at(table: &DeTable<'_>, error: &Range<usize>) -> Option<String> {
    let holds = |span: Range<usize>| span.start <= error.start && error.end <= span.end;
    let found = table
        .iter()
        .find(|(key, value)| holds(key.span()) || holds(value.span()));
    found.map(|(key, _)| key.get_ref().to_string())
}
