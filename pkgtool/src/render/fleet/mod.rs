//! A fleet's documents as text for people.

pub mod goback;
pub mod images;
pub mod lists;
pub mod node;
pub mod people;
pub mod plan;
pub mod rollout;

use std::fmt::Display;

use model::Digest;

/// The beginning of a hash, enough to tell two apart.
fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

/// Texts with a glue between them, or a dash where there are none.
fn joined<T: Display>(all: &[T], glue: &str) -> String {
    if all.is_empty() {
        return "-".to_owned();
    }
    let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    texts.join(glue)
}

/// A text, or a dash.
fn or_dash<T: Display>(one: Option<&T>) -> String {
    one.map_or_else(|| "-".to_owned(), ToString::to_string)
}
