//! Everything that reads bytes from outside, one function each: what the fuzzer calls, and what
//! the ordinary tests call with the corpus.
//!
//! Each takes any bytes and returns; a panic, an endless loop or too much memory is what is looked
//! for. The limits on an envelope and a package are small here, so that a hostile one is refused
//! soon and the fuzzer does not spend its time on reading large ones.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzzer hears of a mistake"
)]

use std::io::{self, Cursor, Write};

use model::bus;
use model::change::{HistoryFilter, PackageRef, Request, Thoroughness};
use model::envelope::{Limits, Reader};
use model::transition::{Ask, Ended, Prepare, Transition};
use model::{Digest, Manifest, ProcessName, elf};
use pkgtool::build::debian;
use serde::de::DeserializeOwned;

/// A target: its name, and what it does with an input.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// The targets by name.
pub(crate) const TARGETS: [Target; 6] = [
    ("envelope", envelope),
    ("manifest", manifest),
    ("elf", elf_file),
    ("deb", deb),
    ("notify", notify),
    ("bus", bus_arguments),
];

/// Counts what it is given, and refuses to be given more than a reader may.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        assert!(self.0 <= 16 << 20, "an object is longer than its limit");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An envelope, read to its end or to the first mistake.
pub(crate) fn envelope(bytes: &[u8]) {
    let limits = Limits {
        packages: 64,
        index: 1 << 20,
        manifest: 4 << 20,
        manifests: 8 << 20,
        files: 10_000,
        object: 16 << 20,
        total: 32 << 20,
        free_expansion: 1 << 20,
        ..Limits::default()
    };
    let Ok(mut reader) = Reader::open(Cursor::new(bytes), limits) else {
        return;
    };
    while let Ok(Some(object)) = reader.next_object() {
        if object.copy_to(&mut Sink(0)).is_err() {
            return;
        }
    }
}

/// A manifest: one that is read is written and read again, and is the same.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<Manifest>(bytes) else {
        return;
    };
    drop(model::manifest::check(&read));
    let written = read.to_bytes().expect("a manifest can be written");
    let again: Manifest = serde_json::from_slice(&written).expect("what was written is read");
    assert_eq!(again, read, "a manifest is read as it was written");
}

/// An ELF file: its facts, its signature, and how it differs from another.
pub(crate) fn elf_file(bytes: &[u8]) {
    let digest = Digest::of(b"");
    drop(elf::read(bytes));
    let examined = elf::examine(bytes, digest);
    assert_eq!(examined.signature, elf::signature(bytes, digest));
    // Comparing is dear: an input in eight is compared, with itself changed in its middle.
    if bytes.len().is_multiple_of(8) {
        let mut other = bytes.to_vec();
        let middle = other.len() / 2;
        if let Some(byte) = other.get_mut(middle) {
            *byte ^= 1;
        }
        drop(elf::explain(bytes, &other).to_string());
    }
}

/// A Debian package, and its control file.
pub(crate) fn deb(bytes: &[u8]) {
    let limits = debian::Limits {
        expanded: 16 << 20,
        entries: 1_000,
        control: 1 << 20,
    };
    let spool = tempfile::tempdir().expect("there is room for a spool");
    if let Ok(package) = debian::archive::read_from(Cursor::new(bytes), spool.path(), limits) {
        let length = package.control.len() as u64;
        assert!(length <= limits.control, "its control file is too long");
        drop(debian::control::parse(&package.control));
        for entry in package.entries {
            assert!(entry.path.starts_with('/'), "{:?}", entry.path);
            assert!(
                !entry.path.split('/').any(|part| part == ".."),
                "{:?}",
                entry.path
            );
        }
    }
}

/// A notification of a process.
pub(crate) fn notify(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let news = sysmgrd::sys::notify_socket::parse(text);
    if let Some(status) = news.status {
        assert!(status.len() <= 2048, "a status is kept short");
        assert!(!status.contains(char::is_control), "{status:?}");
    }
}

/// What callers say over the bus.
pub(crate) fn bus_arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    document::<Request>(text);
    document::<HistoryFilter>(text);
    document::<Thoroughness>(text);
    document::<Ask>(text);
    document::<Prepare>(text);
    document::<Transition>(text);
    document::<Ended>(text);
    if let Ok(reference) = text.parse::<PackageRef>() {
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
    if let Ok(name) = text.parse::<ProcessName>() {
        let part = bus::path_part(name.as_str());
        assert!(
            part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'),
            "{part}"
        );
    }
}

/// One that is read is written, and read again.
fn document<T: DeserializeOwned + serde::Serialize>(text: &str) {
    if let Ok(read) = bus::decode_short::<T>(text, 1 << 20) {
        let written = bus::encode(&read).expect("what was read can be written");
        assert!(bus::decode::<T>(&written).is_ok(), "{written}");
    }
}
