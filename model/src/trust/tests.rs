use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::ids::PackageName;

const NOW: u64 = 1_800_000_000; // 2027-01-15

fn secret(number: u8) -> SecretKey {
    SecretKey::new(&[number; 32], &format!("key {number}"))
}

/// A keyring with this key's file, and these lines behind it.
fn trusting(key: &SecretKey, lines: &str) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.file("a.pub", &(key.public().to_text() + lines));
    assert_eq!(keyring.problems, Vec::<String>::new());
    keyring
}

fn signed(keys: &[&SecretKey], manifest: &[u8]) -> Vec<u8> {
    let mut all = Signatures::default();
    for key in keys {
        all.sign(key, manifest).unwrap();
    }
    all.to_bytes().unwrap()
}

fn verdict(keyring: &Keyring, name: &str, manifest: &[u8], signatures: &[u8]) -> Judgement {
    let name: PackageName = name.parse().unwrap();
    judge((&name, manifest), Some(signatures), keyring, NOW)
}

fn only(judgement: &Judgement) -> &Finding {
    assert_eq!(judgement.signatures.len(), 1);
    &judgement.signatures[0].finding
}

#[test]
fn keys_read_back_and_are_named_by_themselves() {
    let key = secret(1);
    let again = SecretKey::parse(&key.to_text()).unwrap();
    assert_eq!(again.public(), key.public());
    let text = key.public().to_text();
    let (public, rest) = PublicKey::parse(&text).unwrap();
    assert_eq!((&public, rest), (key.public(), ""));
    assert_eq!(public.comment(), "key 1");
    assert_eq!(public.id().to_string().parse(), Ok(public.id()));
    assert_eq!(format!("{key:?}"), format!("SecretKey({})", public.id()));
    "00".parse::<KeyId>().unwrap_err();
}

#[test]
fn a_comment_cannot_bring_a_line_of_its_own() {
    let key = SecretKey::new(&[3; 32], "x\npackages: *\n");
    assert_eq!(key.public().to_text().lines().count(), 2);
    let long = SecretKey::new(&[3; 32], &"ä".repeat(2000));
    PublicKey::parse(&long.public().to_text()).unwrap();
}

#[test]
fn a_damaged_key_says_so() {
    let text = secret(1).to_text();
    let lines: Vec<&str> = text.lines().collect();
    let form = Err(KeyError::Form { kind: "secret" });
    for bad in [
        "",
        "x",
        lines[0],
        lines[1],
        &format!("{}\n{}x\n", lines[0], lines[1]),
    ] {
        assert_eq!(SecretKey::parse(bad).map(drop), form, "{bad:?}");
    }
    let bytes = |change: &dyn Fn(&mut [u8; 104])| {
        let mut bytes = armour::open::<104>(&text).unwrap().bytes;
        change(&mut bytes);
        SecretKey::parse(&armour::close("x", &bytes)).map(drop)
    };
    assert_eq!(bytes(&|_| ()), Ok(()));
    assert_eq!(bytes(&|b| b[0] = b'R'), Err(KeyError::Algorithm));
    assert_eq!(bytes(&|b| b[7] = 42), Err(KeyError::Passphrase));
    assert_eq!(bytes(&|b| b[50] ^= 1), Err(KeyError::Checksum));
    assert!(matches!(bytes(&|b| b[32] ^= 1), Err(KeyError::Id { .. })));
    // The neutral element: everything verifies under it.
    let mut weak = [0; 42];
    weak[..2].copy_from_slice(b"Ed");
    weak[10] = 1;
    let weak = armour::close("x", &weak);
    assert_eq!(PublicKey::parse(&weak).map(drop), Err(KeyError::Weak));
}

#[test]
fn a_trusted_signature_is_good_and_everything_else_is_named() {
    let (key, other) = (secret(1), secret(2));
    let good = signed(&[&key], b"manifest");
    let keyring = trusting(&key, "");
    let judged = verdict(&keyring, "app", b"manifest", &good);
    assert_eq!(only(&judged), &Finding::Good);
    assert_eq!(judged.signers()[0].comment, "key 1");
    assert_eq!(judged.against(), "");

    let altered = verdict(&keyring, "app", b"manifesT", &good);
    assert_eq!(only(&altered), &Finding::Bad);
    assert!(altered.against().starts_with("bad signature"));

    let unknown = verdict(
        &keyring,
        "app",
        b"manifest",
        &signed(&[&other], b"manifest"),
    );
    assert_eq!(only(&unknown), &Finding::Unknown);
    assert!(unknown.against().contains(&other.public().id().to_string()));

    let unsigned = verdict(&keyring, "app", b"manifest", b"");
    assert!(!unsigned.is_trusted());
    assert_eq!(unsigned.against(), "it is not signed");

    let damaged = verdict(&keyring, "app", b"manifest", b"nonsense");
    assert_eq!(damaged.damaged, Some(SignaturesError::Form));
    assert!(!damaged.is_trusted());
}

#[test]
fn what_is_signed_is_a_manifest_and_nothing_else() {
    let key = secret(1);
    let keyring = trusting(&key, "");
    // A signature over the bare bytes, as one over any other document would be.
    let bare = ed25519_dalek::Signer::sign(
        &ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        b"manifest",
    );
    let bytes = [&b"Ed"[..], &key.public().id().0, &bare.to_bytes()].concat();
    let text = armour::close("x", &bytes);
    let judged = verdict(&keyring, "app", b"manifest", text.as_bytes());
    assert_eq!(only(&judged), &Finding::Bad);
}

#[test]
fn a_scope_is_a_list_of_name_patterns() {
    let key = secret(1);
    let keyring = trusting(&key, "packages: app lib*\n# more\npackages: x-?\n");
    let sig = signed(&[&key], b"m");
    for (name, good) in [
        ("app", true),
        ("app2", false),
        ("libssl3", true),
        ("x-1", true),
        ("x-12", false),
    ] {
        assert_eq!(
            verdict(&keyring, name, b"m", &sig).is_trusted(),
            good,
            "{name}"
        );
    }
    let out = verdict(&keyring, "other", b"m", &sig);
    assert!(out.against().contains("trusted for app lib* x-? only"));
}

#[test]
fn a_key_expires_at_the_end_of_its_day() {
    let key = secret(1);
    let sig = signed(&[&key], b"m");
    for (date, good) in [
        ("2027-01-14", false),
        ("2027-01-15", true),
        ("2027-01-15T07:59:59Z", false),
        ("2027-01-15T08:00:01Z", true),
    ] {
        let keyring = trusting(&key, &format!("expires: {date}\n"));
        let judged = verdict(&keyring, "app", b"m", &sig);
        assert_eq!(judged.is_trusted(), good, "{date}");
        if !good {
            assert!(judged.against().contains(date));
        }
    }
}

#[test]
fn one_key_may_be_trusted_for_different_things_by_different_files() {
    let key = secret(1);
    let text = key.public().to_text();
    let mut keyring = Keyring::default();
    keyring.file(
        "a.pub",
        &format!("{text}packages: app\nexpires: 2020-01-01\n"),
    );
    keyring.file("b.pub", &format!("{text}packages: lib*\n"));
    let sig = signed(&[&key], b"m");
    assert!(verdict(&keyring, "libx", b"m", &sig).is_trusted());
    let app = verdict(&keyring, "app", b"m", &sig);
    assert!(matches!(only(&app), Finding::Expired { .. }));
}

#[test]
fn while_keys_change_both_sign_and_either_is_enough() {
    let (old, new) = (secret(1), secret(2));
    let both = signed(&[&new, &old], b"m");
    assert_eq!(
        both,
        signed(&[&old, &new], b"m"),
        "the order of signing does not show"
    );
    for key in [&old, &new] {
        let judged = verdict(&trusting(key, ""), "app", b"m", &both);
        assert_eq!(judged.signers().len(), 1);
        assert_eq!(judged.signatures.len(), 2);
    }
    let mut left = Signatures::parse(&both).unwrap();
    assert!(left.remove(old.public().id()));
    assert!(!left.remove(old.public().id()));
    let left = left.to_bytes().unwrap();
    assert!(!verdict(&trusting(&old, ""), "app", b"m", &left).is_trusted());
    assert!(verdict(&trusting(&new, ""), "app", b"m", &left).is_trusted());
}

#[test]
fn a_revoked_key_counts_for_nothing_whatever_else_trusts_it() {
    let (bad, good) = (secret(1), secret(2));
    let mut keyring = trusting(&bad, "");
    keyring.file("z.revoked", &bad.public().to_text());
    let judged = verdict(&keyring, "app", b"m", &signed(&[&bad], b"m"));
    assert!(matches!(only(&judged), Finding::Revoked { file } if file == "z.revoked"));
    keyring.file("good.pub", &good.public().to_text());
    assert!(verdict(&keyring, "app", b"m", &signed(&[&bad, &good], b"m")).is_trusted());
    let (one, two) = (bad.public().id(), good.public().id());
    assert_eq!(keyring.revoked([&one]).map(|(id, _)| id), Some(one));
    assert_eq!(keyring.revoked([&one, &two]), None);
    assert_eq!(keyring.revoked([]), None);
}

#[test]
fn too_many_or_doubled_signatures_are_refused() {
    let mut all = Signatures::default();
    for number in 0..16 {
        all.sign(&secret(number), b"m").unwrap();
    }
    all.sign(&secret(3), b"m").unwrap();
    assert_eq!(all.sign(&secret(17), b"m"), Err(SignaturesError::TooMany));
    let bytes = all.to_bytes().unwrap();
    assert_eq!(Signatures::parse(&bytes), Ok(all));
    let one = signed(&[&secret(40)], b"m");
    assert_eq!(
        Signatures::parse(&[bytes, one.clone()].concat()),
        Err(SignaturesError::TooMany)
    );
    assert_eq!(
        Signatures::parse(&[one.clone(), one].concat()),
        Err(SignaturesError::Double(secret(40).public().id()))
    );
}

#[test]
fn a_key_file_that_is_not_understood_is_named_and_not_trusted() {
    let key = secret(1).public().to_text();
    for bad in [
        "packages:",
        "packages: App",
        "packages: a/b",
        "expires: tomorrow",
        "expires: 2027-02-30",
        "expires: 2027-01-01\nexpires: 2028-01-01",
        "scope: app",
        "anything",
    ] {
        let mut keyring = Keyring::default();
        keyring.file("bad.pub", &format!("{key}{bad}\n"));
        assert!(keyring.keys.is_empty(), "{bad}");
        assert!(keyring.problems[0].starts_with("key file bad.pub is not trusted: "));
    }
    let mut keyring = Keyring::default();
    keyring.file("bad.revoked", "nonsense");
    assert!(keyring.problems[0].starts_with("key file bad.revoked revokes nothing: "));
}

#[test]
fn only_files_that_nobody_else_can_write_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let own = std::os::unix::fs::MetadataExt::uid(&fs_err::metadata(dir.path()).unwrap());
    let write = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(&path, mode).unwrap();
    };
    write("good.pub", &secret(1).public().to_text(), 0o644);
    write("open.pub", &secret(2).public().to_text(), 0o664);
    write("long.pub", &"x".repeat(70_000), 0o644);
    write("README", "not a key", 0o666);
    fs_err::create_dir(dir.path().join("dir.pub")).unwrap();
    let keyring = read(dir.path(), &[own]);
    assert_eq!(keyring.keys.len(), 1);
    assert!(keyring.keys[0].file.ends_with("good.pub"));
    assert_eq!(keyring.problems.len(), 3, "{:?}", keyring.problems);
    assert_eq!(read(dir.path(), &[own + 1]).keys, []);
    assert_eq!(read(&dir.path().join("none"), &[own]), Keyring::default());
}

proptest! {
    #[test]
    fn no_bytes_but_the_signers_are_trusted(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let key = secret(1);
        let keyring = trusting(&key, "");
        let sig = signed(&[&key], b"m");
        prop_assert!(!verdict(&keyring, "app", b"m", &bytes).is_trusted());
        prop_assert_eq!(verdict(&keyring, "app", &bytes, &sig).is_trusted(), bytes == b"m");
        // Any flipped bit of the signature's own bytes.
        let mut changed = armour::open::<74>(std::str::from_utf8(&sig).unwrap()).unwrap().bytes;
        let place = at.index(changed.len());
        changed[place] ^= 1 << bit;
        let text = armour::close("x", &changed);
        prop_assert!(!verdict(&keyring, "app", b"m", text.as_bytes()).is_trusted());
        // And hostile texts do not panic.
        bytes.extend_from_slice(&sig);
        drop(verdict(&keyring, "app", b"m", &bytes));
        let text = String::from_utf8_lossy(&bytes);
        drop(SecretKey::parse(&text));
        drop(PublicKey::parse(&text));
    }
}
