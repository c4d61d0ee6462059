//! What counts as a node's characteristics: what it says, with what its operator recorded over it.

use model::wire::{ClassName, Facts, FleetName};

use crate::Characteristics;

/// What a node says of itself, and over it what the master adds: a type and location that an
/// operator recorded win, classes and features (roles) come in addition. Lists come out sorted,
/// each once, so that both sides have the same.
pub fn merged(own: &Facts, added: &Facts) -> Facts {
    let mut facts = own.clone();
    if added.node_type.is_some() {
        facts.node_type.clone_from(&added.node_type);
    }
    if added.location.is_some() {
        facts.location.clone_from(&added.location);
    }
    facts.classes.extend(added.classes.iter().cloned());
    facts.features.extend(added.features.iter().cloned());
    sort(&mut facts.classes);
    sort(&mut facts.features);
    facts
}

fn sort<T: Ord>(names: &mut Vec<T>) {
    names.sort_unstable();
    names.dedup();
}

/// What a node says otherwise than its operator recorded.
pub fn differences(own: &Facts, added: &Facts) -> Vec<String> {
    let one = |what: &str, own: &Option<FleetName>, recorded: &Option<FleetName>| {
        let recorded = recorded.as_ref()?;
        let own = own.as_ref().filter(|own| *own != recorded)?;
        Some(format!(
            "it says that its {what} is {own}; {recorded} is recorded, and counts"
        ))
    };
    [
        one("type", &own.node_type, &added.node_type),
        one("location", &own.location, &added.location),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// As the decisions over software want it.
pub fn characteristics(facts: &Facts) -> Characteristics {
    let text = |name: &FleetName| name.as_str().to_owned();
    Characteristics {
        arch: facts.arch.clone(),
        node_type: facts.node_type.as_ref().map(text),
        classes: facts.classes.iter().map(ClassName::to_string).collect(),
        features: facts.features.iter().map(text).collect(),
        location: facts.location.as_ref().map(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(node_type: Option<&str>, location: Option<&str>, classes: &[&str]) -> Facts {
        let name = |text: &str| text.parse().unwrap();
        Facts {
            arch: "x86_64".into(),
            node_type: node_type.map(name),
            location: location.map(name),
            classes: classes.iter().map(|one| one.parse().unwrap()).collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn what_an_operator_recorded_wins_and_the_difference_is_named() {
        let own = facts(Some("router"), Some("berlin"), &["edge"]);
        let added = facts(Some("switch"), None, &["core", "edge"]);
        let both = merged(&own, &added);
        assert_eq!(
            both,
            facts(Some("switch"), Some("berlin"), &["core", "edge"])
        );
        let told = differences(&own, &added);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("router") && told[0].contains("switch"),
            "{told:?}"
        );
        assert!(differences(&facts(None, None, &[]), &added).is_empty());
    }

    #[test]
    fn the_order_in_which_classes_are_named_does_not_matter() {
        let added = facts(None, None, &["b", "a"]);
        let one = merged(&facts(None, None, &["c", "a"]), &added);
        let other = merged(&facts(None, None, &["a", "c"]), &added);
        assert_eq!(characteristics(&one), characteristics(&other));
    }
}
