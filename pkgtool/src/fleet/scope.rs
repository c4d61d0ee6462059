//! Scopes of assignments as people write them.

use std::str::FromStr;

use model::wire::Scope;

/// `fleet`, or `type/NAME`, `class/NAME`, `location/NAME`, `node/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeText(pub Scope);

impl FromStr for ScopeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || {
            format!("{text:?} is neither `fleet` nor type/, class/, location/ or node/ and a name")
        };
        if text == "fleet" {
            return Ok(Self(Scope::Fleet));
        }
        let (kind, name) = text.split_once('/').ok_or_else(rule)?;
        let fleet_name = || name.parse().map_err(|error| format!("{error}"));
        let scope = match kind {
            "type" => Scope::Type(fleet_name()?),
            "location" => Scope::Location(fleet_name()?),
            "class" => Scope::Class(name.parse().map_err(|error| format!("{error}"))?),
            "node" => Scope::Node(name.parse().map_err(|error| format!("{error}"))?),
            _ => return Err(rule()),
        };
        Ok(Self(scope))
    }
}

/// The scope as it is typed, and as it stands in the API's paths.
pub fn text(scope: &Scope) -> String {
    match scope {
        Scope::Fleet => "fleet".to_owned(),
        Scope::Type(name) => format!("type/{name}"),
        Scope::Class(name) => format!("class/{name}"),
        Scope::Location(name) => format!("location/{name}"),
        Scope::Node(name) => format!("node/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for word in [
            "fleet",
            "type/router",
            "class/edge",
            "location/lab",
            "node/n1",
        ] {
            assert_eq!(text(&word.parse::<ScopeText>().unwrap().0), word);
        }
        for word in ["", "edge", "class/", "rack/7", "class/Edge"] {
            assert!(word.parse::<ScopeText>().is_err(), "{word}");
        }
    }
}
