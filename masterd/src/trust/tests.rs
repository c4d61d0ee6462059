//! Nodes and operators come, stay and go: over a real store and real certificates.

use std::sync::Arc;

use model::wire::{Enrol, EnrolAnswer, Enrolled, Facts, NewOperator, NewToken, NodeName, Role};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::audit::Audit;
use crate::store::sqlite::Sqlite;
use crate::store::{Listing, Store};

const NOW: u64 = 1_800_000_000;

struct Fleet {
    authority: Authority,
    store: Store,
    _dir: tempfile::TempDir,
}

async fn fleet() -> Fleet {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let ca = files.make("test", &["localhost".to_owned()], NOW).unwrap();
    let store = Store::new(Arc::new(
        Sqlite::open(&dir.path().join("state.db")).unwrap(),
    ));
    let audit = Audit::start(store.clone()).await.unwrap();
    let settings = Settings {
        life: 900,
        grace: 300,
        most_pending: 3,
        ..Settings::default()
    };
    let key = files.master_key().unwrap();
    let authority = Authority::start(ca, &key, settings, (store.clone(), audit))
        .await
        .unwrap();
    Fleet {
        authority,
        store,
        _dir: dir,
    }
}

fn request(key: &KeyPair) -> String {
    let params = CertificateParams::new(Vec::new()).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn enrol(name: &str, key: &KeyPair, token: Option<&str>) -> Enrol {
    Enrol {
        name: name.parse().unwrap(),
        request: request(key),
        token: token.map(str::to_owned),
        facts: Facts::default(),
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn peer(pem: &str) -> Peer {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    Peer::read(&der).unwrap()
}

impl Fleet {
    /// `ID.SECRET` of a token for so many nodes, for a minute.
    async fn token(&self, uses: u32) -> String {
        let new = NewToken {
            uses,
            seconds: 60,
            classes: vec!["edge".parse().unwrap()],
        };
        let by = "anna".parse().unwrap();
        let made = self.authority.make_token(new, &by, NOW).await.unwrap();
        let parts: Vec<&str> = made.token.0.split('.').collect();
        assert_eq!(parts[0], "co1");
        assert_eq!(parts[3], self.authority.ca().hash());
        format!("{}.{}", parts[1], parts[2])
    }

    async fn enter(&self, asked: Enrol, now: u64) -> Result<Enrolled, Error> {
        match self.authority.enrol(asked, now).await? {
            EnrolOutcome::In(entered) => match entered.answer {
                EnrolAnswer::Enrolled(enrolled) => Ok(*enrolled),
                EnrolAnswer::Pending { .. } => panic!("in, and waiting"),
            },
            EnrolOutcome::Waits(answer) => panic!("{answer:?}"),
        }
    }

    async fn waits(&self, asked: Enrol) -> String {
        match self.authority.enrol(asked, NOW).await.unwrap() {
            EnrolOutcome::Waits(EnrolAnswer::Pending { fingerprint, .. }) => fingerprint,
            other @ (EnrolOutcome::In(_) | EnrolOutcome::Waits(_)) => panic!("{other:?}"),
        }
    }

    fn worth(&self, pem: &str, now: u64) -> Standing {
        self.authority.standing(&peer(pem), now)
    }
}

#[tokio::test]
async fn a_token_lets_in_as_many_as_it_says_in_its_classes_and_no_more() {
    let fleet = fleet().await;
    let token = fleet.token(2).await;
    let first = key();
    let one = fleet
        .enter(enrol("a", &first, Some(&token)), NOW)
        .await
        .unwrap();
    assert_eq!(one.classes, ["edge".parse().unwrap()]);
    assert_eq!(fleet.worth(&one.certificate, NOW), Standing::Good);
    assert_eq!(peer(&one.certificate).subject, Subject::Node(node("a")));
    // Its answer was lost: it asks again, and nothing is used up.
    fleet
        .enter(enrol("a", &first, Some(&token)), NOW)
        .await
        .unwrap();
    fleet
        .enter(enrol("b", &key(), Some(&token)), NOW)
        .await
        .unwrap();
    let third = fleet.enter(enrol("c", &key(), Some(&token)), NOW).await;
    assert!(matches!(third, Err(Error::Token { what: "is used up" })));
}

#[tokio::test]
async fn a_token_is_good_until_its_end_and_with_its_secret_only() {
    let fleet = fleet().await;
    let token = fleet.token(5).await;
    let late = fleet
        .enter(enrol("a", &key(), Some(&token)), NOW + 60)
        .await;
    assert!(matches!(
        late,
        Err(Error::Token {
            what: "is out of date"
        })
    ));
    let id = token.split_once('.').unwrap().0;
    for wrong in [
        format!("{id}.{}", "0".repeat(64)),
        format!("{id}."),
        token.replace(id, "00000000"),
        "x/../operator.y".to_owned(),
    ] {
        let refused = fleet.enter(enrol("a", &key(), Some(&wrong)), NOW).await;
        assert!(
            matches!(refused, Err(Error::Token { what: "is unknown" })),
            "{wrong}"
        );
    }
    fleet
        .enter(enrol("a", &key(), Some(&token)), NOW + 59)
        .await
        .unwrap();
    let by = "anna".parse().unwrap();
    fleet.authority.remove_token(id, &by).await.unwrap();
    let gone = fleet.enter(enrol("b", &key(), Some(&token)), NOW).await;
    assert!(matches!(gone, Err(Error::Token { .. })));
    assert_eq!(fleet.authority.tokens().await.unwrap(), []);
}

#[tokio::test]
async fn many_who_come_at_once_get_in_exactly_as_often_as_the_token_says() {
    let fleet = Arc::new(fleet().await);
    let token = fleet.token(7).await;
    let comers = (0..20).map(|number| {
        let (fleet, token) = (Arc::clone(&fleet), token.clone());
        tokio::spawn(async move {
            let asked = enrol(&format!("n{number}"), &key(), Some(&token));
            fleet.enter(asked, NOW).await.is_ok()
        })
    });
    let came = futures_util::future::join_all(comers).await;
    assert_eq!(
        came.into_iter().filter(|it| *it.as_ref().unwrap()).count(),
        7
    );
}

#[tokio::test]
async fn a_name_belongs_to_its_key_until_an_operator_opens_it() {
    let fleet = fleet().await;
    let token = fleet.token(9).await;
    let old = fleet
        .enter(enrol("a", &key(), Some(&token)), NOW)
        .await
        .unwrap();
    let new = key();
    let taken = fleet.enter(enrol("a", &new, Some(&token)), NOW).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })));
    fleet
        .authority
        .replace(&node("a"), "anna", "broken")
        .await
        .unwrap();
    assert_eq!(fleet.worth(&old.certificate, NOW), Standing::Revoked);
    let again = fleet
        .enter(enrol("a", &new, Some(&token)), NOW)
        .await
        .unwrap();
    assert_eq!(fleet.worth(&again.certificate, NOW), Standing::Good);
    assert_eq!(fleet.worth(&old.certificate, NOW), Standing::Revoked);
}

#[tokio::test]
async fn who_was_revoked_or_retired_is_out_and_does_not_come_back_by_itself() {
    let fleet = fleet().await;
    let token = fleet.token(9).await;
    for (name, expected) in [("a", Standing::Revoked), ("b", Standing::Retired)] {
        let own = key();
        let in_it = fleet
            .enter(enrol(name, &own, Some(&token)), NOW)
            .await
            .unwrap();
        let (name, by) = (node(name), "anna");
        if expected == Standing::Revoked {
            fleet.authority.revoke(&name, by, "").await.unwrap();
        } else {
            fleet.authority.retire(&name, by, "").await.unwrap();
        }
        assert_eq!(fleet.worth(&in_it.certificate, NOW), expected);
        let asked = enrol(name.as_str(), &own, Some(&token));
        assert!(matches!(
            fleet.enter(asked, NOW).await,
            Err(Error::Out { .. })
        ));
        let renewed = fleet.authority.renew(&name, &request(&key()), NOW).await;
        assert!(matches!(renewed, Err(Error::Out { .. })));
    }
}

#[tokio::test]
async fn without_a_token_a_node_waits_for_an_operator_and_asks_again() {
    let fleet = fleet().await;
    let own = key();
    let print = fleet.waits(enrol("a", &own, None)).await;
    assert_eq!(print.len(), 16);
    assert_eq!(fleet.waits(enrol("a", &own, None)).await, print);
    let other = fleet.waits(enrol("a", &key(), None)).await;
    assert_ne!(other, print);
    let because = ("anna", "");
    let unclear = fleet.authority.accept(&node("a"), None, because).await;
    assert!(matches!(unclear, Err(Error::Ambiguous { count: 2, .. })));
    let accepted = fleet
        .authority
        .accept(&node("a"), Some(&print), because)
        .await;
    accepted.unwrap();
    let in_it = fleet.enter(enrol("a", &own, None), NOW).await.unwrap();
    assert_eq!(fleet.worth(&in_it.certificate, NOW), Standing::Good);
    // The other one has its name taken, and says so when it asks.
    let asked = fleet.authority.accept(&node("a"), None, because).await;
    assert!(matches!(asked, Err(Error::NameTaken { .. })));
    let missing = fleet.authority.accept(&node("z"), None, because).await;
    assert!(matches!(missing, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn no_more_wait_than_there_is_room_for() {
    let fleet = fleet().await;
    for name in ["a", "b", "c"] {
        fleet.waits(enrol(name, &key(), None)).await;
    }
    let crowd = fleet.authority.enrol(enrol("d", &key(), None), NOW).await;
    assert!(matches!(crowd, Err(Error::Crowd { count: 3 })));
}

#[tokio::test]
async fn a_certificate_lasts_lapses_and_is_renewed_with_a_new_key_only() {
    let fleet = fleet().await;
    let (first, second) = (key(), key());
    let token = fleet.token(1).await;
    let old = fleet
        .enter(enrol("a", &first, Some(&token)), NOW)
        .await
        .unwrap();
    assert_eq!(fleet.worth(&old.certificate, NOW + 900), Standing::Good);
    assert_eq!(fleet.worth(&old.certificate, NOW + 901), Standing::Lapsed);
    assert_eq!(fleet.worth(&old.certificate, NOW + 1201), Standing::Expired);
    let late = NOW + 1000;
    let renew = |key: &KeyPair| {
        let (authority, pem) = (fleet.authority.clone(), request(key));
        async move { authority.renew(&node("a"), &pem, late).await }
    };
    // The newest key may ask again: its answer may have been lost.
    let new = renew(&second).await.unwrap().issued;
    renew(&second).await.unwrap();
    assert!(matches!(renew(&first).await, Err(Error::Request { .. })));
    assert_eq!(fleet.worth(&new.pem, late), Standing::Good);
    assert_ne!(peer(&new.pem).serial, peer(&old.certificate).serial);
    fleet
        .authority
        .revoke(&node("a"), "anna", "stolen")
        .await
        .unwrap();
    assert_eq!(fleet.worth(&new.pem, late), Standing::Revoked);
}

#[tokio::test]
async fn a_request_counts_for_its_key_only_and_must_be_signed_by_it() {
    let fleet = fleet().await;
    let token = fleet.token(9).await;
    // It asks to be a CA named like another node: its certificate is what the master says.
    let own = key();
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let asked = Enrol {
        request: params.serialize_request(&own).unwrap().pem().unwrap(),
        ..enrol("a", &own, Some(&token))
    };
    let in_it = fleet.enter(asked, NOW).await.unwrap();
    let der = CertificateDer::from_pem_slice(in_it.certificate.as_bytes()).unwrap();
    let (_, read) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!read.is_ca());
    let names = read.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    let pem = request(&own);
    for wrong in [
        String::new(),
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned(),
        pem.replacen(&pem[200..204], "AAAA", 1),
        "x".repeat(20_000),
    ] {
        let asked = Enrol {
            request: wrong,
            ..enrol("b", &own, Some(&token))
        };
        assert!(matches!(
            fleet.enter(asked, NOW).await,
            Err(Error::Request { .. })
        ));
    }
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    fleet
        .enter(enrol("c", &ed25519, Some(&token)), NOW)
        .await
        .unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let refused = fleet.enter(enrol("d", &p384, Some(&token)), NOW).await;
    assert!(matches!(refused, Err(Error::Request { .. })));
}

fn operator(name: &str, role: Role) -> NewOperator {
    NewOperator {
        name: name.parse().unwrap(),
        role,
        classes: Vec::new(),
    }
}

#[tokio::test]
async fn an_operators_token_is_good_until_there_is_a_newer_one_or_the_operator_goes() {
    let fleet = fleet().await;
    let authority = &fleet.authority;
    let first = authority.make_operator(operator("anna", Role::Admin), "masterd", NOW);
    let first = first.await.unwrap().token;
    assert_eq!(authority.bearer(&first).unwrap().name.as_str(), "anna");
    let key = key();
    let by = "anna".parse().unwrap();
    let pem = request(&key);
    let issued = authority.certify_operator(&by, &pem, (&by, NOW));
    let issued = issued.await.unwrap();
    assert_eq!(fleet.worth(&issued.pem, NOW), Standing::Good);
    let second = authority.make_operator(operator("anna", Role::Admin), "anna", NOW);
    let second = second.await.unwrap().token;
    assert!(authority.bearer(&first).is_none());
    assert_eq!(fleet.worth(&issued.pem, NOW), Standing::Revoked);
    for wrong in [
        "",
        "coo1.",
        "coo1.anna.",
        "anna",
        &second[..second.len() - 1],
    ] {
        assert!(authority.bearer(wrong).is_none(), "{wrong}");
    }
    let last = authority.remove_operator(&by, &by).await;
    assert!(matches!(last, Err(Error::LastAdmin { .. })));
    let demoted = authority.make_operator(operator("anna", Role::Read), "anna", NOW);
    assert!(matches!(demoted.await, Err(Error::LastAdmin { .. })));
    let other = authority.make_operator(operator("ben", Role::Admin), "anna", NOW);
    other.await.unwrap();
    authority.remove_operator(&by, &by).await.unwrap();
    assert!(authority.bearer(&second).is_none());
    assert_eq!(authority.operators().len(), 1);
}

#[tokio::test]
async fn no_secret_is_in_the_store_and_every_deed_is_in_the_audit_log_without_holes() {
    let fleet = fleet().await;
    let token = fleet.token(2).await;
    let made = fleet
        .authority
        .make_operator(operator("anna", Role::Admin), "masterd", NOW);
    let bearer = made.await.unwrap().token;
    fleet
        .enter(enrol("a", &key(), Some(&token)), NOW)
        .await
        .unwrap();
    fleet
        .authority
        .revoke(&node("a"), "anna", "stolen")
        .await
        .unwrap();
    let (entries, _) = fleet.store.range("").await.unwrap();
    let secrets = [&token, &bearer].map(|text| text.rsplit('.').next().unwrap().to_owned());
    for entry in &entries {
        let text = String::from_utf8_lossy(&entry.value);
        assert!(
            secrets.iter().all(|it| !text.contains(it.as_str())),
            "{}",
            entry.key
        );
    }
    let audit = Audit::start(fleet.store.clone()).await.unwrap();
    let lines = audit.lines(Some(0), 100).await.unwrap();
    let told: Vec<(u64, &str, &str)> = lines
        .iter()
        .map(|line| (line.seq, line.by.as_str(), line.what.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "anna", "make token"),
            (2, "masterd", "make operator admin"),
            (3, "a", "enrol"),
            (4, "anna", "revoke"),
        ]
    );
    assert_eq!(lines[3].reason, "stolen");
    let newest = audit.lines(None, 2).await.unwrap();
    assert_eq!(
        newest.iter().map(|line| line.seq).collect::<Vec<_>>(),
        [3, 4]
    );
    let all = fleet.store.list(Listing::all("audit/")).await.unwrap();
    assert_eq!(all.0.len(), 4);
}

#[test]
fn the_masters_own_certificate_is_made_anew_when_two_thirds_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let ca = files.make("test", &names, NOW).unwrap();
    let first = files.server(&ca, NOW).unwrap().chain;
    assert!(first.ends_with(ca.pem()), "the CA is behind it");
    assert_eq!(files.server(&ca, NOW + 59 * DAY).unwrap().chain, first);
    let second = files.server(&ca, NOW + 61 * DAY).unwrap().chain;
    assert_ne!(second, first);
    assert_eq!(files.server(&ca, NOW + 61 * DAY).unwrap().chain, second);
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode(files.directory()), 0o700);
    for entry in fs_err::read_dir(files.directory()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}
