//! Whether a package may come into the store.

use model::trust::{Admitted, Finding, Judgement};

/// What the node asks of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A trusted key has signed it.
    Signed,
    /// Nothing.
    Any,
    /// Nothing this time, on this person's word: `root (pid 4711)`.
    Allowed(String),
}

/// Admits a package, or says what speaks against it.
///
/// A signature that is not its key's, or damaged, shows that somebody has altered something: such a
/// package is refused whatever the rule, unless another signature holds. One that rests on revoked
/// keys alone needs a person's word.
pub fn admit(judgement: &Judgement, rule: &Rule) -> Result<Admitted, String> {
    let signers = judgement.signers();
    if !signers.is_empty() {
        return Ok(Admitted::Keys { signers });
    }
    let against = judgement.against();
    let has =
        |wanted: fn(&Finding) -> bool| judgement.signatures.iter().any(|one| wanted(&one.finding));
    if judgement.damaged.is_some() || has(|finding| *finding == Finding::Bad) {
        return Err(against);
    }
    match rule {
        Rule::Signed => Err(against),
        Rule::Any if has(|finding| matches!(finding, Finding::Revoked { .. })) => Err(against),
        Rule::Any => Ok(Admitted::Configuration { against }),
        Rule::Allowed(who) => Ok(Admitted::Person {
            who: who.clone(),
            against,
        }),
    }
}

/// Whether what is known of a stored package is to give way to what another copy of it has shown:
/// a trusted signature stays against none.
pub fn replaces(new: &Admitted, old: Option<&Admitted>, old_is_revoked: bool) -> bool {
    match (new, old) {
        (_, None) | (Admitted::Keys { .. }, _) => true,
        (_, Some(Admitted::Keys { .. })) => {
            old_is_revoked && matches!(new, Admitted::Person { .. })
        }
        (Admitted::Person { .. }, Some(_)) => true,
        (Admitted::Configuration { .. }, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use model::trust::{Checked, Keyring, SecretKey, Signer, judge};

    use super::*;

    fn judged(findings: &[Finding]) -> Judgement {
        let key = SecretKey::new(&[1; 32], "").public().id();
        let one = |finding: &Finding| Checked {
            signer: Signer {
                key,
                comment: String::new(),
            },
            finding: finding.clone(),
        };
        Judgement {
            signatures: findings.iter().map(one).collect(),
            damaged: None,
        }
    }

    fn all() -> Vec<Finding> {
        vec![
            Finding::Unknown,
            Finding::Expired {
                expires: "2020-01-01".to_owned(),
            },
            Finding::OutOfScope {
                packages: vec!["x".to_owned()],
            },
            Finding::Revoked {
                file: "x.revoked".to_owned(),
            },
            Finding::Bad,
        ]
    }

    #[test]
    fn a_node_that_asks_for_signatures_takes_a_good_one_and_nothing_else() {
        admit(&judged(&[]), &Rule::Signed).unwrap_err();
        for finding in all() {
            admit(&judged(std::slice::from_ref(&finding)), &Rule::Signed).unwrap_err();
            let with_good = judged(&[finding, Finding::Good]);
            let admitted = admit(&with_good, &Rule::Signed).unwrap();
            assert!(matches!(admitted, Admitted::Keys { signers } if signers.len() == 1));
        }
    }

    #[test]
    fn what_was_altered_is_refused_whatever_the_rule() {
        let allowed = Rule::Allowed("root (pid 1)".to_owned());
        for rule in [Rule::Any, allowed.clone(), Rule::Signed] {
            admit(&judged(&[Finding::Bad]), &rule).unwrap_err();
            let name = "a".parse().unwrap();
            let damaged = judge((&name, b"m"), Some(b"?"), &Keyring::default(), 0);
            admit(&damaged, &rule).unwrap_err();
        }
        let revoked = Finding::Revoked {
            file: String::new(),
        };
        admit(&judged(std::slice::from_ref(&revoked)), &Rule::Any).unwrap_err();
        admit(&judged(&[revoked]), &allowed).unwrap();
        for finding in all().into_iter().take(3) {
            let against = judged(&[finding]);
            admit(&against, &Rule::Any).unwrap();
            let person = admit(&against, &allowed).unwrap();
            assert!(
                person
                    .to_string()
                    .starts_with("allowed by root (pid 1), though ")
            );
        }
    }

    #[test]
    fn a_trusted_signature_gives_way_to_a_better_one_only() {
        let keys = Admitted::Keys { signers: vec![] };
        let person = Admitted::Person {
            who: "x".to_owned(),
            against: "y".to_owned(),
        };
        let configuration = Admitted::Configuration {
            against: "y".to_owned(),
        };
        assert!(replaces(&keys, Some(&keys), false));
        assert!(replaces(&keys, Some(&person), false));
        assert!(!replaces(&person, Some(&keys), false));
        assert!(replaces(&person, Some(&keys), true));
        assert!(!replaces(&configuration, Some(&keys), true));
        assert!(!replaces(&configuration, Some(&person), false));
        assert!(replaces(&configuration, None, false));
    }
}
