//! Whose packages a node takes: keys are made, used, changed and revoked as an operator does it, and
//! everything that a stranger could try is refused by its name.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use model::Manifest;
use model::envelope::{Compressor, Limits, Reader, WritePackage, Writer};
use model::manifest;
use model::trust::{SecretKey, Signatures};
use tempfile::TempDir;
use tests::binaries;
use tests::builder::Workshop;
use tests::node::{Node, list};
use tests::wait;

/// A node that asks for signatures, and a place where packages and keys are made.
struct Scene {
    workshop: Workshop,
    desk: TempDir,
    node: Node,
}

impl Scene {
    fn new() -> Result<Self> {
        let scene = Self {
            workshop: Workshop::new()?,
            desk: tempfile::tempdir()?,
            node: Node::start_with(&["--require-signatures"])?,
        };
        scene.inside("mkdir -p \"$TRUST\"")?;
        Ok(scene)
    }

    /// Runs a line on the node; `$TRUST` is its directory of key files.
    fn inside(&self, line: &str) -> Result<String> {
        let line = format!("set -e; TRUST=$CHANGEOVER_ROOT/etc/changeover/trust.d; {line}");
        self.node.ok(&["sh", "-c", &line])
    }

    /// A key, and its two files.
    fn key(&self, name: &str, options: &[&str]) -> Result<PathBuf> {
        let key = self.desk.path().join(name);
        let mut words = vec![OsStr::new("keygen"), key.as_os_str()];
        words.extend(options.iter().map(OsStr::new));
        pkgtool(&words)?;
        Ok(key)
    }

    /// The node trusts the key.
    fn trust(&self, key: &Path) -> Result<()> {
        self.inside(&format!("cp {}.pub \"$TRUST\"", key.display()))
            .map(drop)
    }

    /// An unsigned package with one file.
    fn package(&self, name: &str, version: &str) -> Result<PathBuf> {
        let recipe = self.workshop.package(name, version)?;
        let text = format!("{name} {version}\n");
        let to = format!("/usr/share/{name}/");
        Ok(recipe.text("data", &text, &to)?.build()?.file)
    }

    fn signed(&self, name: &str, version: &str, keys: &[&Path]) -> Result<PathBuf> {
        let file = self.package(name, version)?;
        for key in keys {
            sign(&file, key)?;
        }
        Ok(file)
    }

    /// What the node says when it refuses the file; it must have taken nothing.
    fn refused(&self, file: &Path) -> Result<String> {
        let before = self.node.json(&["list"])?;
        let said = self
            .node
            .fails(1, &["pkgtool", "add", &file.to_string_lossy()])?;
        ensure!(self.node.json(&["list"])? == before, "it took something");
        Ok(said)
    }

    fn stored(&self, package: &str) -> Result<serde_json::Value> {
        let all = self.node.json(&["list"])?;
        let found = list(&all)?.iter().find(|one| one["package"] == package);
        found.cloned().with_context(|| format!("{package}: {all}"))
    }
}

fn pkgtool<S: AsRef<OsStr>>(words: &[S]) -> Result<String> {
    let output = Command::new(binaries::pkgtool()?).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    bail!("{text}{}", String::from_utf8_lossy(&output.stderr))
}

fn sign(file: &Path, key: &Path) -> Result<()> {
    let key = format!("{}.sec", key.display());
    let words = [
        "sign".as_ref(),
        file.as_os_str(),
        "--key".as_ref(),
        key.as_ref(),
    ];
    pkgtool(&words).map(drop)
}

fn secret(key: &Path) -> Result<SecretKey> {
    let text = fs_err::read_to_string(format!("{}.sec", key.display()))?;
    Ok(SecretKey::parse(&text)?)
}

fn id(key: &Path) -> Result<String> {
    Ok(secret(key)?.public().id().to_string())
}

/// Writes the one package of `file` anew, its manifest changed, its signature what `signature` says.
fn forge(
    file: &Path,
    change: impl FnOnce(&mut Manifest),
    signature: impl FnOnce(&[u8], Option<Vec<u8>>) -> Option<Vec<u8>>,
) -> Result<()> {
    let mut reader = Reader::open(fs_err::File::open(file)?, Limits::default())?;
    let package = reader.packages().first().context("no package")?.clone();
    let mut objects = Vec::new();
    while let Some(object) = reader.next_object()? {
        objects.push(object.into_bytes()?);
    }
    let mut manifest = package.manifest;
    change(&mut manifest);
    let bytes = manifest.to_bytes()?;
    let mut write = WritePackage::from_bytes(manifest, bytes.clone());
    if let Some(signature) = signature(&bytes, package.signature) {
        write = write.signed(signature);
    }
    let mut writer = Writer::new(Vec::new(), &[write])?;
    let mut compressor = Compressor::new()?;
    for object in objects {
        writer.object(&mut compressor, &object)?;
    }
    Ok(fs_err::write(file, writer.finish()?)?)
}

fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "{word:?} is not in {text:?}");
    }
    Ok(())
}

#[test]
fn what_no_trusted_key_has_signed_is_refused_and_the_reason_named() -> Result<()> {
    let scene = Scene::new()?;
    let (key, stranger) = (scene.key("key", &[])?, scene.key("stranger", &[])?);
    let old = scene.key("old", &["--expires", "2020-01-31"])?;
    let narrow = scene.key("narrow", &["--packages", "lib*", "--packages", "app"])?;
    for trusted in [&key, &old, &narrow] {
        scene.trust(trusted)?;
    }
    let unsigned = scene.refused(&scene.package("plain", "1")?)?;
    says(
        &unsigned,
        &["plain=1", "not signed", "--allow-unsigned", "trust.d"],
    )?;
    let by = |name: &str, key: &Path| scene.refused(&scene.signed(name, "1", &[key])?);
    says(
        &by("a", &stranger)?,
        &["a=1", "unknown key", &id(&stranger)?],
    )?;
    says(&by("b", &old)?, &["expired", "2020-01-31", &id(&old)?])?;
    says(
        &by("c", &narrow)?,
        &["out of scope", "lib* app", &id(&narrow)?],
    )?;

    for (name, key) in [("libx", &narrow), ("d", &key)] {
        let file = scene.signed(name, "1", &[key])?;
        scene.node.add(&[&file])?;
        let stored = scene.stored(&format!("{name}=1"))?;
        ensure!(stored["admitted"]["by"] == "keys", "{stored}");
        ensure!(stored["admitted"]["signers"][0]["key"] == id(key)?.as_str());
    }
    // A set is taken as a whole, or not at all.
    let set = scene.desk.path().join("set.pkg");
    let parts = [scene.signed("e", "1", &[])?, scene.signed("f", "1", &[])?];
    let toml = parts.map(|part| part.with_extension("").join("package.toml"));
    pkgtool(&[
        "build".as_ref(),
        toml[0].as_os_str(),
        toml[1].as_os_str(),
        "-o".as_ref(),
        set.as_os_str(),
        "--sign".as_ref(),
        format!("{}.sec", key.display()).as_ref(),
    ])?;
    scene.node.add(&[&set])?;
    scene.stored("e=1")?;
    scene.stored("f=1").map(drop)
}

#[test]
fn root_may_allow_one_and_that_stands_wherever_the_package_does() -> Result<()> {
    let scene = Scene::new()?;
    let file = scene.package("odd", "1")?;
    let path = file.to_string_lossy().into_owned();
    scene.refused(&file)?;
    let said = scene
        .node
        .ok(&["pkgtool", "add", "--allow-unsigned", &path])?;
    says(&said, &["odd=1", "allowed by root", "not signed"])?;
    let stored = scene.stored("odd=1")?;
    ensure!(stored["admitted"]["by"] == "person", "{stored}");
    says(&scene.node.ok(&["pkgtool", "list"])?, &["allowed by root"])?;
    let plan = scene.node.json(&["plan", "activate", "odd"])?.to_string();
    says(&plan, &["odd=1 was allowed by root"])?;
    scene.node.activate(&["odd"])?;
    let status = scene.node.json(&["status"])?["discrepancies"].to_string();
    says(&status, &["odd=1 is active and was allowed by root"])?;
    // Signed and added again, it is as if it had always been.
    let key = scene.key("key", &[])?;
    scene.trust(&key)?;
    sign(&file, &key)?;
    scene.node.add(&[&file])?;
    ensure!(scene.stored("odd=1")?["admitted"]["by"] == "keys");
    let status = scene.node.json(&["status"])?["discrepancies"].to_string();
    ensure!(!status.contains("odd=1"), "{status}");
    Ok(())
}

#[test]
fn keys_are_changed_without_a_gap() -> Result<()> {
    let scene = Scene::new()?;
    let (old, new) = (scene.key("old", &[])?, scene.key("new", &[])?);
    scene.trust(&old)?;
    let both = scene.signed("app", "1", &[&old, &new])?;
    scene.node.add(&[&both])?;
    scene.trust(&new)?;
    scene.inside("rm \"$TRUST/old.pub\"")?;
    scene.node.add(&[&both])?;
    let signers = scene.stored("app=1")?["admitted"]["signers"].to_string();
    ensure!(
        signers.contains(&id(&new)?) && !signers.contains(&id(&old)?),
        "{signers}"
    );
    scene.node.add(&[&scene.signed("app", "2", &[&new])?])?;
    says(
        &scene.refused(&scene.signed("app", "3", &[&old])?)?,
        &["unknown key"],
    )?;
    // The old signature can be taken out; what is left are the bytes that one key alone makes.
    let alone = scene.signed("other", "1", &[&new])?;
    let expected = fs_err::read(&alone)?;
    sign(&alone, &old)?;
    ensure!(fs_err::read(&alone)? != expected);
    pkgtool(&["sign", "--remove", &id(&old)?, &alone.to_string_lossy()])?;
    ensure!(fs_err::read(&alone)? == expected);
    Ok(())
}

#[test]
fn a_revoked_key_stops_what_comes_and_names_what_is_there() -> Result<()> {
    let scene = Scene::new()?;
    let (stolen, good) = (scene.key("stolen", &[])?, scene.key("good", &[])?);
    scene.trust(&stolen)?;
    scene.trust(&good)?;
    let two = scene.signed("app", "2", &[&stolen])?;
    scene
        .node
        .add(&[&scene.signed("app", "1", &[&stolen])?, &two])?;
    scene.node.activate(&["app=1"])?;
    scene.inside("mv \"$TRUST/stolen.pub\" \"$TRUST/stolen.revoked\"")?;
    says(
        &scene.refused(&scene.signed("app", "3", &[&stolen])?)?,
        &["revoked", "stolen.revoked"],
    )?;
    let status = scene.node.json(&["status"])?;
    says(
        &status["discrepancies"].to_string(),
        &["app=1 is active, but it rests on key", "stolen"],
    )?;
    ensure!(status["active"][0] == "app=1", "what runs stays: {status}");
    ensure!(scene.stored("app=2")?["revoked"].is_string());
    let said = scene
        .node
        .fails(1, &["pkgtool", "activate", "--yes", "app=2"])?;
    says(&said, &["app=2 cannot be activated", "stolen.revoked"])?;
    // Another key's word is enough, for what is stored too.
    sign(&two, &good)?;
    scene.node.add(&[&two])?;
    scene.node.activate(&["app=2"]).map(drop)
}

#[test]
fn what_was_altered_is_refused_even_where_root_allows_it() -> Result<()> {
    let scene = Scene::new()?;
    let key = scene.key("key", &[])?;
    scene.trust(&key)?;
    let refused = |file: &Path, words: &[&str]| -> Result<()> {
        says(&scene.refused(file)?, words)?;
        let path = file.to_string_lossy();
        let add = ["pkgtool", "add", "--allow-unsigned", &path];
        says(&scene.node.fails(1, &add)?, words)?;
        let trust = scene.desk.path().to_string_lossy();
        let verify = pkgtool(&["verify", "--trust", &trust, &path]);
        ensure!(verify.is_err(), "verify finds nothing wrong");
        Ok(())
    };
    let manifest = scene.signed("a", "1", &[&key])?;
    let trust = scene.desk.path().to_string_lossy().into_owned();
    pkgtool(&["verify", "--trust", &trust, &manifest.to_string_lossy()])?;
    forge(
        &manifest,
        |one| one.summary = "altered".to_owned(),
        |_, sig| sig,
    )?;
    refused(&manifest, &["a=1", "bad signature"])?;

    let object = scene.signed("b", "1", &[&key])?;
    let mut bytes = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&object)?;
    // The last object's bytes stand in the block before the two that end the envelope.
    let mut byte = [0];
    bytes.seek(SeekFrom::End(-(3 * 512) + 9))?;
    bytes.read_exact(&mut byte)?;
    bytes.seek(SeekFrom::Current(-1))?;
    bytes.write_all(&[byte[0] ^ 1])?;
    drop(bytes);
    refused(&object, &["object"])?;

    let (one, other) = (
        scene.signed("c", "1", &[&key])?,
        scene.signed("d", "1", &[&key])?,
    );
    let reader = Reader::open(fs_err::File::open(&one)?, Limits::default())?;
    let foreign = reader.packages()[0].signature.clone();
    forge(&other, |_| (), |_, _| foreign)?;
    refused(&other, &["d=1", "bad signature"])
}

#[test]
fn a_signed_lie_is_still_a_lie() -> Result<()> {
    let scene = Scene::new()?;
    let key = scene.key("key", &[])?;
    scene.trust(&key)?;
    let recipe = scene.workshop.package("liar", "1")?;
    let file = recipe
        .library("liblie.so.1", "int lie(void) { return 1; }\n", &[])?
        .build()?
        .file;
    scene
        .node
        .fails(1, &["pkgtool", "add", &file.to_string_lossy()])?;
    let honest = scene.desk.path().join("honest.pkg");
    fs_err::copy(&file, &honest)?;
    let secret = secret(&key)?;
    let lie = |manifest: &mut Manifest| {
        for entry in &mut manifest.files {
            if let manifest::Node::File(file) = &mut entry.node
                && let Some(facts) = &mut file.elf
            {
                facts.soname = Some("libtruth.so.1".to_owned());
            }
        }
    };
    forge(&file, lie, |bytes, _| {
        let mut all = Signatures::default();
        all.sign(&secret, bytes).ok()?;
        all.to_bytes()
    })?;
    let words = ["liblie.so.1 of liar=1", "soname", "libtruth.so.1"];
    says(&scene.refused(&file)?, &words)?;
    let said = pkgtool(&[
        "sign".as_ref(),
        file.as_os_str(),
        "--key".as_ref(),
        format!("{}.sec", key.display()).as_ref(),
    ]);
    says(&format!("{:?}", said.unwrap_err()), &["soname"])?;
    // Nor about bytes that the store has already.
    sign(&honest, &key)?;
    scene.node.add(&[&honest])?;
    says(&scene.refused(&file)?, &words)
}

#[test]
fn a_dropped_file_passes_the_same_gate() -> Result<()> {
    let scene = Scene::new()?;
    let key = scene.key("key", &[])?;
    scene.trust(&key)?;
    let incoming = scene.node.root().join("var/lib/changeover/incoming");
    fs_err::copy(scene.package("bad", "1")?, incoming.join("bad.pkg"))?;
    fs_err::copy(
        scene.signed("good", "1", &[&key])?,
        incoming.join("good.pkg"),
    )?;
    let reason = incoming.join("refused/bad.pkg.reason");
    let text = wait::until("the reason stands beside the file", || {
        Ok(fs_err::read_to_string(&reason)
            .ok()
            .filter(|text| text.ends_with('\n')))
    })?;
    says(&text, &["bad=1", "not signed"])?;
    wait::until("the good one is stored", || Ok(scene.stored("good=1").ok())).map(drop)
}

#[test]
fn key_files_that_cannot_be_relied_on_are_named_and_nothing_more() -> Result<()> {
    let scene = Scene::new()?;
    let key = scene.key("key", &[])?;
    let file = scene.signed("app", "1", &[&key])?;
    let path = scene.desk.path().join("key.pub");
    scene.inside(&format!(
        "install -m 666 {0} \"$TRUST/open.pub\"; echo nonsense >\"$TRUST/broken.pub\"; \
         (cat {0}; echo 'expires: some day') >\"$TRUST/vague.pub\"",
        path.display()
    ))?;
    says(&scene.refused(&file)?, &["unknown key"])?;
    let status = scene.node.json(&["status"])?["discrepancies"].to_string();
    says(
        &status,
        &[
            "open.pub",
            "chmod go-w",
            "broken.pub",
            "vague.pub",
            "line 3",
        ],
    )
}

#[test]
fn a_secret_key_is_its_owners_and_is_never_written_over() -> Result<()> {
    let scene = Scene::new()?;
    let key = scene.key("key", &[])?;
    let secret = format!("{}.sec", key.display());
    let mode = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs_err::set_permissions(&secret, mode)
    };
    let file = scene.package("a", "1")?;
    let meta = fs_err::metadata(&secret)?;
    ensure!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777 == 0o600);
    mode(0o640)?;
    let said = sign(&file, &key).unwrap_err().to_string();
    says(&said, &["0640", "chmod 600"])?;
    mode(0o600)?;
    let again = scene.key("key", &[]).unwrap_err().to_string();
    says(&again, &["never written over"])
}

#[test]
fn signify_verifies_what_we_sign_and_signs_with_our_keys() -> Result<()> {
    let scene = Scene::new()?;
    let key = scene.key("key", &["--packages", "app*"])?;
    let file = scene.signed("app", "1", &[&key])?;
    let reader = Reader::open(fs_err::File::open(&file)?, Limits::default())?;
    let package = &reader.packages()[0];
    let at = |name: &str| scene.desk.path().join(name);
    fs_err::write(
        at("m.sig"),
        package.signature.as_deref().unwrap_or_default(),
    )?;
    fs_err::write(
        at("m"),
        [b"changeover manifest 1\n", &*package.bytes].concat(),
    )?;
    let signify = |words: &[&str]| -> Result<()> {
        let output = Command::new("signify-openbsd")
            .current_dir(scene.desk.path())
            .args(words)
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    };
    signify(&["-V", "-q", "-p", "key.pub", "-x", "m.sig", "-m", "m"])?;
    signify(&["-S", "-s", "key.sec", "-x", "theirs.sig", "-m", "m"])?;
    let theirs = Signatures::parse(&fs_err::read(at("theirs.sig"))?)?;
    ensure!(
        Some(theirs)
            == package
                .signature
                .as_deref()
                .map(Signatures::parse)
                .transpose()?
    );
    fs_err::write(at("m"), b"something else")?;
    ensure!(signify(&["-V", "-q", "-p", "key.pub", "-x", "m.sig", "-m", "m"]).is_err());
    Ok(())
}
