use model::envelope::{Compressor, WritePackage, Writer};
use model::manifest::{FileEntry, FileType, Node, RegularFile};
use model::{Manifest, Signature};

use super::*;

/// A package of one file, and the file's bytes; `lie` is said of the signature instead.
fn package(version: &str, bytes: &[u8], lie: Option<&[u8]>) -> Manifest {
    let mut manifest = Manifest::new("one".parse().unwrap(), version.parse().unwrap());
    let digest = Digest::of(bytes);
    let said = lie.map_or(digest, Digest::of);
    manifest.files.push(FileEntry {
        path: "/usr/share/one".parse().unwrap(),
        mode: 0o644,
        owner: None,
        group: None,
        node: Node::File(Box::new(RegularFile {
            digest,
            size: bytes.len() as u64,
            signature: Signature::of_exact(said),
            file_type: FileType::Data,
            function: None,
            architecture: None,
            capabilities: None,
            provides_apis: Vec::new(),
            consumes_apis: Vec::new(),
            elf: None,
            uses: None,
            interpreter: None,
        })),
    });
    manifest
}

fn envelope(manifest: Manifest, bytes: &[u8]) -> Vec<u8> {
    let package = WritePackage::new(manifest).unwrap();
    let mut writer = Writer::new(Vec::new(), &[package]).unwrap();
    writer
        .object(&mut Compressor::new().unwrap(), bytes)
        .unwrap();
    writer.finish().unwrap()
}

struct Place(tempfile::TempDir, Shelf);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&dir.path().join("public"), &dir.path().join("private")).unwrap();
        Self(dir, shelf)
    }

    fn take(&self, envelope: &[u8]) -> Result<Vec<Taken>, Error> {
        take(envelope, &self.1, &BTreeMap::new(), self.0.path()).map(|(packages, _)| packages)
    }
}

#[test]
fn what_is_taken_is_on_the_shelf_with_its_manifest() {
    let place = Place::new();
    let taken = place
        .take(&envelope(package("1", b"bytes", None), b"bytes"))
        .unwrap();
    let one = &taken[0];
    assert_eq!(one.id.name_version(), "one=1");
    assert_eq!(one.size, 5);
    assert_eq!(place.1.size(&Digest::of(b"bytes")).unwrap(), Some(5));
    assert_eq!(place.1.size(&one.digest).unwrap(), Some(one.manifest_size));
}

#[test]
fn a_manifest_that_lies_is_refused_and_leaves_nothing_to_be_seen() {
    let place = Place::new();
    // A program, of which the manifest says that it is none.
    let program = fs_err::read("/bin/true").unwrap();
    let lying = envelope(package("1", &program, None), &program);
    let refused = place.take(&lying).unwrap_err().to_string();
    assert!(refused.contains("/usr/share/one of one=1"), "{refused}");
    assert!(!place.1.has(&Digest::of(&program)).unwrap());
    // Bytes that are there already do not help a later lie.
    let mut batch = place.1.begin();
    let size = program.len() as u64;
    batch
        .put(&Digest::of(&program), size, &program[..])
        .unwrap();
    batch.finish().unwrap();
    assert!(matches!(place.take(&lying), Err(Error::Lies(_))));
}

#[test]
fn each_module_is_new_of_the_same_substance_or_the_same() {
    use model::wire::ModuleVerdict::{New, SameBytes, SameSignature};
    let path = |verdicts: Vec<model::wire::ImportedFile>| verdicts[0].verdict;
    let (old, same) = (package("1", b"a", None), package("2", b"a", None));
    let (rebuilt, other) = (package("2", b"b", Some(b"a")), package("2", b"b", None));
    assert_eq!(path(verdicts(None, &old)), New);
    assert_eq!(path(verdicts(Some(&old), &same)), SameBytes);
    assert_eq!(path(verdicts(Some(&old), &rebuilt)), SameSignature);
    assert_eq!(path(verdicts(Some(&old), &other)), New);
}
