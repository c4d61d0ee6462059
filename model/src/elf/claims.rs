//! Whether what a manifest says of a file is what the file says of itself.

use serde_json::{Map, Value};

use super::{ElfFacts, Examined};
use crate::digest::Signature;

/// What is wrong with a manifest's words about a file; `None`: nothing.
///
/// Every fact counts, since plans are made from them: a fact that is added to [`ElfFacts`] makes
/// older packages liars, unless the manifest's format changes with it.
pub fn contradiction(
    signature: Signature,
    facts: Option<&ElfFacts>,
    found: &Examined,
) -> Option<String> {
    if signature != found.signature {
        return Some(format!(
            "says that its signature is {signature}, but its bytes give {}",
            found.signature
        ));
    }
    let truth = match &found.facts {
        Ok(truth) => truth.as_ref(),
        Err(_) => None,
    };
    match (facts, truth) {
        (None, None) => None,
        (Some(_), None) => {
            Some("says that it is for the loader, which its bytes are not".to_owned())
        }
        (None, Some(_)) => {
            Some("does not say that it is for the loader, which its bytes are".to_owned())
        }
        (Some(facts), Some(truth)) if facts == truth => None,
        (Some(facts), Some(truth)) => Some(difference(facts, truth)),
    }
}

/// Only for a message, so it may be slow.
fn difference(facts: &ElfFacts, truth: &ElfFacts) -> String {
    let (said, true_) = (fields(facts), fields(truth));
    let all = said.keys().chain(true_.keys());
    for name in all {
        let (one, other) = (said.get(name), true_.get(name));
        if one != other {
            let text = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), short);
            return format!(
                "says that its {name} is {}, but its bytes give {}",
                text(one),
                text(other)
            );
        }
    }
    "says of itself what its bytes do not give".to_owned()
}

fn fields(facts: &ElfFacts) -> Map<String, Value> {
    match serde_json::to_value(facts) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::examine;
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn every_word_about_a_file_is_held_against_its_bytes() {
        let bytes = fs_err::read("/bin/true").unwrap();
        let found = examine(&bytes, Digest::of(&bytes));
        let truth = found.facts.as_ref().unwrap().clone().unwrap();
        let signature = found.signature;
        let check = |facts: Option<&ElfFacts>| contradiction(signature, facts, &found);
        assert_eq!(check(Some(&truth)), None);
        assert!(check(None).unwrap().contains("does not say"));
        let lies: [&dyn Fn(&mut ElfFacts); 5] = [
            &|facts| facts.needed.clear(),
            &|facts| facts.soname = Some("liblie.so.1".to_owned()),
            &|facts| facts.calls_dlopen = !facts.calls_dlopen,
            &|facts| facts.versions_needed.clear(),
            &|facts| facts.machine = "other".to_owned(),
        ];
        for lie in lies {
            let mut facts = truth.clone();
            lie(&mut facts);
            let text = check(Some(&facts)).unwrap();
            assert!(text.starts_with("says that its "), "{text}");
        }
        let other = Signature::of_exact(Digest::of(b"x"));
        assert!(contradiction(other, Some(&truth), &found).is_some());
        let plain = examine(b"text", Digest::of(b"text"));
        assert_eq!(contradiction(plain.signature, None, &plain), None);
        assert!(contradiction(plain.signature, Some(&truth), &plain).is_some());
    }
}
