//! What was meant by a name that does not exist.

use model::PackageName;

/// The package name most like `wanted`, where one is near enough to be meant.
pub(super) fn nearest<'n>(
    wanted: &str,
    names: impl Iterator<Item = &'n PackageName>,
) -> Option<&'n PackageName> {
    let limit = wanted.len() / 3 + 1;
    let scored = names.map(|name| {
        let begins = name.as_str().starts_with(wanted) || wanted.starts_with(name.as_str());
        let away = distance(wanted, name.as_str());
        (if begins { away.min(limit) } else { away }, name)
    });
    scored
        .filter(|(away, _)| *away <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edits from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
