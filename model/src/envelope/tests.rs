#![expect(clippy::indexing_slicing, reason = "tests")]

use std::io::{self, Read};

use proptest::prelude::*;

use super::*;
use crate::digest::{Digest, Signature};
use crate::manifest::{FileEntry, FileType, Manifest, Node, RegularFile};

/// A package with these files, in any order.
fn package(name: &str, files: &[(&str, &[u8])]) -> Manifest {
    let mut manifest = Manifest::new(name.parse().unwrap(), "1.0-1".parse().unwrap());
    manifest.files = files
        .iter()
        .map(|(path, bytes)| {
            let digest = Digest::of(bytes);
            FileEntry {
                path: path.parse().unwrap(),
                mode: 0o644,
                owner: None,
                group: None,
                node: Node::File(Box::new(RegularFile {
                    digest,
                    size: bytes.len() as u64,
                    signature: Signature::of_exact(digest),
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
            }
        })
        .collect();
    manifest.files.sort_by(|one, two| one.path.cmp(&two.path));
    manifest
}

/// An envelope of packages, through a spool, as `pkgtool` makes them.
fn write(packages: &[(Manifest, Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut spool = Spool::new(tempfile::tempfile().unwrap());
    let mut manifests = Vec::new();
    for (manifest, contents) in packages {
        let sources: Vec<Source> = contents.iter().cloned().map(Source::Bytes).collect();
        let filled = spool
            .fill(&sources, &|_, bytes, _| bytes.len(), &mut |_, _| {})
            .unwrap();
        for (filled, bytes) in filled.iter().zip(contents) {
            assert_eq!(
                (filled.digest, filled.seen),
                (Digest::of(bytes), bytes.len())
            );
        }
        manifests.push(WritePackage::new(manifest.clone()).unwrap());
    }
    spool
        .finish(Writer::new(Vec::new(), &manifests).unwrap())
        .unwrap()
}

fn simple() -> Vec<u8> {
    let (one, two) = (b"one".to_vec(), vec![7; 5000]);
    write(&[(
        package("a", &[("/usr/a", &one), ("/usr/b", &two)]),
        vec![one, two],
    )])
}

/// Everything in an envelope: manifests, then objects by digest.
fn read_all(bytes: impl Read, limits: Limits) -> Result<Vec<(Digest, Vec<u8>)>, ReadError> {
    let mut reader = Reader::open(bytes, limits)?;
    let mut objects = Vec::new();
    while let Some(object) = reader.next_object()? {
        let digest = object.digest();
        let mut bytes = Vec::new();
        object.copy_to(&mut bytes)?;
        objects.push((digest, bytes));
    }
    Ok(objects)
}

fn refused(bytes: &[u8]) -> ReadError {
    read_all(bytes, Limits::default()).unwrap_err()
}

fn message(error: &ReadError) -> String {
    crate::report::Chain(error).to_string()
}

#[test]
fn one_component_a_package_and_a_set_come_back_as_they_went_in() {
    let component = (package("c", &[("/usr/c", b"c")]), vec![b"c".to_vec()]);
    let whole = (
        package("p", &[("/usr/p", b"p"), ("/opt/q", b""), ("/usr/r", b"c")]),
        vec![b"p".to_vec(), Vec::new(), b"c".to_vec()],
    );
    for set in [
        vec![component.clone()],
        vec![whole.clone()],
        vec![component, whole],
    ] {
        let bytes = write(&set);
        let reader = Reader::open(&bytes[..], Limits::default()).unwrap();
        let manifests: Vec<&Manifest> = reader.packages().iter().map(|p| &p.manifest).collect();
        assert_eq!(
            manifests,
            set.iter().map(|(manifest, _)| manifest).collect::<Vec<_>>()
        );
        let mut expected: Vec<Vec<u8>> = set.into_iter().flat_map(|(_, bytes)| bytes).collect();
        expected.sort();
        expected.dedup();
        let found = read_all(&bytes[..], Limits::default()).unwrap();
        let mut plain: Vec<Vec<u8>> = found.into_iter().map(|(_, bytes)| bytes).collect();
        plain.sort();
        assert_eq!(plain, expected);
    }
}

#[test]
fn any_tar_lists_it_in_the_order_of_the_format() {
    let bytes = simple();
    let mut archive = tar::Archive::new(&bytes[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "envelope.json".to_owned(),
            "packages/a_1.0-1/manifest.json".to_owned(),
            format!("objects/{}.zst", Digest::of(b"one")),
            format!("objects/{}.zst", Digest::of(&vec![7; 5000])),
        ]
    );
}

#[test]
fn an_object_of_many_frames_is_the_same_through_spool_and_writer() {
    // Not compressible to nothing, and not a multiple of the frame.
    let words = 0..u32::try_from(FRAME * 3 / 4 + 77).unwrap();
    let large: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    let manifest = package("a", &[("/usr/large", &large), ("/usr/same", &large)]);
    let spooled = write(&[(manifest.clone(), vec![large.clone(), large.clone()])]);
    let packed = WritePackage::new(manifest).unwrap();
    let mut writer = Writer::new(Vec::new(), &[packed]).unwrap();
    writer
        .object(&mut Compressor::new().unwrap(), &large)
        .unwrap();
    assert_eq!(writer.finish().unwrap(), spooled);
    assert_eq!(
        read_all(&spooled[..], Limits::default()).unwrap()[0].1,
        large
    );
}

#[test]
fn a_signature_stands_beside_its_manifest_and_comes_back() {
    let package = package("a", &[]);
    let signed = WritePackage::new(package).unwrap().signed(vec![1, 2, 3]);
    let bytes = Writer::new(Vec::new(), &[signed])
        .unwrap()
        .finish()
        .unwrap();
    let reader = Reader::open(&bytes[..], Limits::default()).unwrap();
    assert_eq!(
        reader.packages()[0].signature.as_deref(),
        Some(&[1, 2, 3][..])
    );
}

#[test]
fn an_envelope_that_is_cut_anywhere_is_refused() {
    let bytes = simple();
    for end in 0..bytes.len() {
        read_all(&bytes[..end], Limits::default()).unwrap_err();
    }
    let cut = refused(&bytes[..600]);
    assert!(matches!(cut, ReadError::Truncated { .. }), "{cut:?}");
}

/// Whether damaged bytes were refused, or were such as have no meaning to the decompressor (a bit
/// that zstd keeps for later), so that every object still came out as its name says.
fn harmless(bytes: &[u8], whole: &[(Digest, Vec<u8>)]) -> bool {
    read_all(bytes, Limits::default()).map_or(true, |found| found == whole)
}

#[test]
fn any_flipped_bit_is_refused_or_changes_nothing() {
    let bytes = simple();
    let whole = read_all(&bytes[..], Limits::default()).unwrap();
    let objects = bytes
        .windows(8)
        .position(|window| window == b"objects/")
        .unwrap();
    for place in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[place] ^= 1 << (place % 8);
        assert!(harmless(&bad, &whole), "byte {place} may be anything");
        if place < objects {
            refused(&bad);
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = simple();
    bytes.push(0);
    assert!(matches!(refused(&bytes), ReadError::Trailing));
}

#[test]
fn a_missing_a_doubled_and_a_foreign_object_are_refused_by_name() {
    let bytes = simple();
    let at = |digest: Digest| {
        let name = format!("objects/{digest}.zst");
        bytes
            .windows(name.len())
            .position(|window| window == name.as_bytes())
            .unwrap()
    };
    let (first, second) = (at(Digest::of(b"one")), at(Digest::of(&vec![7; 5000])));
    let missing = refused(&[&bytes[..first], &bytes[second..]].concat());
    assert!(
        matches!(missing, ReadError::Missing { digest } if digest == Digest::of(b"one")),
        "{missing:?}"
    );
    let doubled = refused(&[&bytes[..second], &bytes[first..]].concat());
    assert!(matches!(doubled, ReadError::Foreign { .. }), "{doubled:?}");
    let last = refused(&[&bytes[..second], &[0; 1024]].concat());
    assert!(matches!(last, ReadError::Missing { .. }), "{last:?}");
}

#[test]
fn objects_that_the_reader_has_may_be_absent_and_are_not_handed_out() {
    let bytes = simple();
    let mut reader = Reader::open(&bytes[..], Limits::default()).unwrap();
    reader.already_has(|digest| *digest == Digest::of(b"one"));
    let object = reader.next_object().unwrap().unwrap();
    assert_eq!(object.into_bytes().unwrap(), vec![7; 5000]);
    assert!(reader.next_object().unwrap().is_none());
}

#[test]
fn an_object_that_is_dropped_unread_is_passed_over() {
    let bytes = simple();
    let mut reader = Reader::open(&bytes[..], Limits::default()).unwrap();
    let mut count = 0;
    while let Some(mut object) = reader.next_object().unwrap() {
        count += object.read(&mut [0; 2]).unwrap();
    }
    assert_eq!(count, 4);
}

#[test]
fn the_last_byte_of_a_damaged_object_is_never_handed_out() {
    let (good, bad) = (vec![1_u8; 4000], vec![2_u8; 4000]);
    let manifest = package("a", &[("/usr/a", &good)]);
    let mut writer = Writer::new(Vec::new(), &[WritePackage::new(manifest).unwrap()]).unwrap();
    let mut packed = Vec::new();
    Compressor::new()
        .unwrap()
        .object(&bad, &mut packed)
        .unwrap();
    writer
        .compressed(Digest::of(&good), packed.len() as u64, &packed[..])
        .unwrap();
    let bytes = writer.finish().unwrap();
    let mut reader = Reader::open(&bytes[..], Limits::default()).unwrap();
    let mut object = reader.next_object().unwrap().unwrap();
    let error = object.read_exact(&mut [0; 4000]).unwrap_err();
    let error = ReadError::from_io(error);
    assert!(matches!(error, ReadError::WrongDigest { .. }), "{error:?}");
}

#[test]
fn an_object_longer_or_shorter_than_its_manifest_says_is_refused() {
    let good = vec![1_u8; 4000];
    for wrong in [3999, 4001, 0, 100_000] {
        let manifest = package("a", &[("/usr/a", &good)]);
        let mut writer = Writer::new(Vec::new(), &[WritePackage::new(manifest).unwrap()]).unwrap();
        let mut packed = Vec::new();
        Compressor::new()
            .unwrap()
            .object(&vec![1; wrong], &mut packed)
            .unwrap();
        writer
            .compressed(Digest::of(&good), packed.len() as u64, &packed[..])
            .unwrap();
        let error = refused(&writer.finish().unwrap());
        assert!(
            matches!(error, ReadError::WrongSize { .. }),
            "{wrong}: {error:?}"
        );
    }
}

#[test]
fn every_limit_is_kept_and_named() {
    type Lower = fn(&mut Limits);
    let bytes = simple();
    let cases: [(Lower, &str); 8] = [
        (|limits| limits.packages = 0, "number of packages"),
        (|limits| limits.index = 10, "envelope.json"),
        (|limits| limits.manifest = 10, "manifest.json"),
        (|limits| limits.manifests = 10, "manifest.json"),
        (|limits| limits.files = 1, "number of files"),
        (|limits| limits.object = 4999, "object"),
        (|limits| limits.total = 5002, "size of all objects"),
        (
            |limits| (limits.free_expansion, limits.expansion) = (100, 2),
            "expansion",
        ),
    ];
    for (lower, word) in cases {
        let mut limits = Limits::default();
        lower(&mut limits);
        let error = read_all(&bytes[..], limits).unwrap_err();
        assert!(
            matches!(error, ReadError::OverLimit { .. }),
            "{word}: {error:?}"
        );
        assert!(
            message(&error).contains(word),
            "{word}: {}",
            message(&error)
        );
    }
    let enough = Limits {
        files: 2,
        object: 5000,
        total: 5003,
        ..Limits::default()
    };
    read_all(&bytes[..], enough).unwrap();
}

#[test]
fn a_size_that_is_only_claimed_costs_no_memory() {
    // A header that promises 60 MiB of manifest and an input that ends after it.
    let mut bytes = simple();
    let header = entry::Entry {
        name: "envelope.json".to_owned(),
        size: 4 << 20,
    }
    .header()
    .unwrap();
    bytes.truncate(512);
    bytes[..512].copy_from_slice(&header);
    assert!(matches!(refused(&bytes), ReadError::Truncated { .. }));
}

#[test]
fn an_index_that_lies_about_a_manifest_is_refused() {
    let bytes = simple();
    let digest = {
        let reader = Reader::open(&bytes[..], Limits::default()).unwrap();
        Digest::of(&reader.packages()[0].bytes).to_string()
    };
    let other = Digest::of(b"other").to_string();
    let at = bytes
        .windows(64)
        .position(|window| window == digest.as_bytes())
        .unwrap();
    let mut bad = bytes;
    bad[at..at + 64].copy_from_slice(other.as_bytes());
    assert!(matches!(refused(&bad), ReadError::WrongManifest { .. }));
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused_with_all_its_problems() {
    let mut manifest = package("a", &[("/usr/a", b"a"), ("/usr/b", b"b")]);
    manifest.files.swap(0, 1);
    manifest.files[0].mode = 0o666;
    let packed = WritePackage::new(manifest).unwrap();
    let mut writer = Writer::new(Vec::new(), &[packed]).unwrap();
    for bytes in [b"b", b"a"] {
        writer
            .object(&mut Compressor::new().unwrap(), bytes)
            .unwrap();
    }
    let ReadError::BadManifest { problems, .. } = refused(&writer.finish().unwrap()) else {
        panic!("another error");
    };
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn a_newer_format_is_called_so() {
    let text = br#"{"format": 9, "something": "new"}"#;
    let header = entry::Entry {
        name: "envelope.json".to_owned(),
        size: text.len() as u64,
    };
    let bytes = [&header.header().unwrap()[..], text].concat();
    assert!(matches!(
        refused(&bytes),
        ReadError::Format { found: 9, .. }
    ));
}

#[test]
fn nothing_that_is_not_an_envelope_is_taken_for_one() {
    for bytes in [
        &b""[..],
        b"!<arch>\ndebian-binary",
        &[0; 1024],
        &[0xff; 4096],
    ] {
        refused(bytes);
    }
    let mut other = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    other
        .append_data(&mut header, "../../etc/passwd", io::empty())
        .unwrap_err();
    other
        .append_data(&mut header, "etc/passwd", &b"abc"[..])
        .unwrap();
    refused(&other.into_inner().unwrap());
}

#[test]
fn a_writer_takes_only_what_must_come() {
    let manifest = package("a", &[("/usr/a", b"a")]);
    let packed = WritePackage::new(manifest).unwrap();
    assert!(matches!(
        Writer::new(Vec::new(), &[]),
        Err(WriteError::Empty)
    ));
    let twice = [packed.clone(), packed.clone()];
    assert!(matches!(
        Writer::new(Vec::new(), &twice),
        Err(WriteError::DuplicatePackage { .. })
    ));
    let mut writer = Writer::new(Vec::new(), &[packed]).unwrap();
    let wrong = writer.object(&mut Compressor::new().unwrap(), b"b");
    assert!(matches!(wrong, Err(WriteError::Order { .. })));
}

#[test]
fn a_source_that_grows_after_it_was_measured_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel says 0 bytes for such files and then gives some.
    let path = std::path::PathBuf::from("/proc/self/cmdline");
    let mut spool = Spool::new(tempfile::tempfile_in(dir.path()).unwrap());
    let error = spool
        .fill(&[Source::Path(path)], &|_, _, _| (), &mut |_, _| {})
        .unwrap_err();
    assert!(matches!(error, SpoolError::Changed { .. }), "{error:?}");
}

fn contents() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        (any::<u8>(), 0..100_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop::collection::vec(one, 0..12)
}

fn many(prefix: &str, contents: &[Vec<u8>]) -> Manifest {
    let names: Vec<String> = (0..contents.len())
        .map(|i| format!("/usr/{prefix}/{i}"))
        .collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(String::as_str)
        .zip(contents.iter().map(Vec::as_slice))
        .collect();
    package(prefix, &files)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_written_is_read_back_and_written_the_same_again(
        one in contents(),
        two in contents(),
    ) {
        let set = [(many("one", &one), one), (many("two", &two), two)];
        let bytes = write(&set);
        prop_assert_eq!(&bytes, &write(&set));
        for (digest, plain) in read_all(&bytes[..], Limits::default()).unwrap() {
            prop_assert_eq!(digest, Digest::of(&plain));
        }
    }

    #[test]
    fn damage_anywhere_is_an_error_and_no_panic(
        one in contents(),
        cut in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in 1..=255_u8,
    ) {
        let bytes = write(&[(many("one", &one), one)]);
        let whole = read_all(&bytes[..], Limits::default()).unwrap();
        prop_assert!(read_all(&bytes[..cut.index(bytes.len())], Limits::default()).is_err());
        let mut bad = bytes;
        let place = place.index(bad.len());
        bad[place] ^= byte;
        prop_assert!(harmless(&bad, &whole));
    }
}

#[test]
fn other_signatures_change_nothing_else() {
    let (one, two) = (b"one".to_vec(), vec![7; 3 << 20]);
    let set = [
        (package("a", &[("/usr/a", &one)]), vec![one.clone()]),
        (package("b", &[("/usr/b", &two)]), vec![two.clone()]),
    ];
    let plain = write(&set);
    let again = |bytes: &[u8], signature: &dyn Fn(&str) -> Option<Vec<u8>>| {
        let reader = Reader::open(bytes, Limits::default()).unwrap();
        resign(reader, Vec::new(), &mut |package| {
            signature(package.id.name.as_str())
        })
    };
    let signed = again(&plain, &|name| (name == "b").then(|| vec![9; 200])).unwrap();
    let reader = Reader::open(&*signed, Limits::default()).unwrap();
    let found: Vec<_> = reader
        .packages()
        .iter()
        .map(|one| one.signature.clone())
        .collect();
    assert_eq!(found, [None, Some(vec![9; 200])]);
    assert_eq!(
        read_all(&*signed, Limits::default()).unwrap(),
        read_all(&*plain, Limits::default()).unwrap()
    );
    assert_eq!(again(&signed, &|_| None).unwrap(), plain);
    again(&plain[..plain.len() - 2000], &|_| None).unwrap_err();
}

mod images {
    use super::*;

    const BOOT: &[u8] = b"a kernel, say";

    fn image() -> Image {
        Image {
            format: IMAGE_FORMAT,
            name: "site".parse().unwrap(),
            version: "1".parse().unwrap(),
            summary: String::new(),
            boot: vec![BootImage {
                node_type: Some("router".parse().unwrap()),
                arch: "x86-64".to_owned(),
                version: "6.1".parse().unwrap(),
                object: Digest::of(BOOT),
                size: BOOT.len() as u64,
            }],
            nodes: vec![ImageNode {
                name: "n1".parse().unwrap(),
                node_type: None,
                location: None,
                classes: vec!["edge".parse().unwrap()],
                labels: std::collections::BTreeMap::default(),
            }],
            assign: vec![ImageAssignment {
                scope: crate::wire::Scope::Class("edge".parse().unwrap()),
                assignment: crate::wire::Assignment {
                    packages: vec!["a".parse().unwrap()],
                    ..crate::wire::Assignment::default()
                },
            }],
        }
    }

    fn envelope(name: &str, contents: &[&[u8]]) -> Vec<u8> {
        let paths: Vec<String> = (0..contents.len())
            .map(|number| format!("/usr/share/{name}/{number}"))
            .collect();
        let files: Vec<(&str, &[u8])> = (paths.iter().map(String::as_str))
            .zip(contents.iter().copied())
            .collect();
        let contents = contents.iter().map(|bytes| bytes.to_vec()).collect();
        write(&[(package(name, &files), contents)])
    }

    fn combined(image: &Image) -> Vec<u8> {
        // `b` shares an object with `a`, and `a` comes twice.
        let envelopes = [
            envelope("a", &[b"one", b"two"]),
            envelope("b", &[b"two", b"three"]),
            envelope("a", &[b"one", b"two"]),
        ];
        let readers = (envelopes.iter())
            .map(|bytes| Reader::open(&bytes[..], Limits::default()).unwrap())
            .collect();
        let mut packed = Vec::new();
        let mut compressor = Compressor::new().unwrap();
        compressor.object(BOOT, &mut packed).unwrap();
        let write = WriteImage::new(image.clone())
            .unwrap()
            .signed(b"sig".to_vec());
        combine(readers, &write, Vec::new(), &mut |digest| {
            assert_eq!(*digest, Digest::of(BOOT));
            Ok((packed.len() as u64, io::Cursor::new(packed.clone())))
        })
        .unwrap()
    }

    #[test]
    fn packages_of_several_envelopes_and_boot_images_are_one_image() {
        let bytes = combined(&image());
        let mut reader = Reader::open(&bytes[..], Limits::default()).unwrap();
        let read = reader.image().unwrap();
        assert_eq!(
            (&read.image, read.signature.as_deref()),
            (&image(), Some(&b"sig"[..]))
        );
        let names: Vec<String> = (reader.packages().iter())
            .map(|one| one.id.name.to_string())
            .collect();
        assert_eq!(names, ["a", "b"]);
        let mut contents = Vec::new();
        while let Some(object) = reader.next_object().unwrap() {
            contents.push(object.into_bytes().unwrap());
        }
        assert_eq!(contents, [&b"one"[..], b"two", b"three", BOOT]);
    }

    #[test]
    fn new_signatures_leave_the_image_as_it_is() {
        let bytes = combined(&image());
        let reader = Reader::open(&bytes[..], Limits::default()).unwrap();
        let again = resign(reader, Vec::new(), &mut |_| None).unwrap();
        assert_eq!(again, bytes);
    }

    #[test]
    fn an_image_that_contradicts_itself_or_was_changed_is_refused() {
        let mut twice = image();
        twice.nodes.push(twice.nodes[0].clone());
        let bytes = combined(&twice);
        let refused = Reader::open(&bytes[..], Limits::default()).unwrap_err();
        assert!(matches!(refused, ReadError::BadImage { .. }), "{refused}");
        let mut changed = combined(&image());
        let place = changed.windows(4).position(|part| part == b"edge").unwrap();
        changed[place] = b'f';
        let refused = Reader::open(&changed[..], Limits::default()).unwrap_err();
        assert!(matches!(refused, ReadError::WrongImage), "{refused}");
    }
}
