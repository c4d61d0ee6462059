//! Damaged and hostile ELF files: an answer or an error, never a panic, never much work.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod workshop;

use std::sync::LazyLock;

use model::Digest;
use model::elf;
use proptest::prelude::*;
use workshop::Workshop;

/// Small real files: a library with versions and a C++ one with notes, a program.
static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let workshop = Workshop::with(&[
        (
            "x.c",
            "int puts(const char *); int one(void) { return puts(\"/tmp/x\"); }",
        ),
        (
            "m.c",
            "void *dlopen(const char *, int); int main(void) { return !dlopen(\"x\", 1); }",
        ),
        ("x.map", "V_1 { global: one; local: *; };"),
    ]);
    let flags = "-Wl,-z,max-page-size=4096 -Wl,-z,noseparate-code";
    workshop.run(&format!(
        "gcc -shared -fPIC {flags} -Wl,-soname,libx.so.1 -Wl,--version-script=x.map x.c -o a; \
         gcc -shared -fPIC {flags} -Wl,--hash-style=sysv x.c -o b; gcc {flags} m.c -o c; strip a b c"
    ));
    ["a", "b", "c"].map(|name| workshop.bytes(name)).to_vec()
});

/// Everything that can be asked of a file; that it returns is the point.
fn ask_everything(bytes: &[u8], other: &[u8]) {
    let digest = Digest::of(b"");
    let facts = elf::read(bytes);
    let signature = elf::signature(bytes, digest);
    let examined = elf::examine(bytes, digest);
    assert_eq!(examined.signature, signature);
    assert_eq!(examined.facts.is_ok(), facts.is_ok());
    let difference = elf::explain(bytes, other);
    assert!(!difference.to_string().is_empty());
}

#[test]
fn a_file_cut_at_any_byte_is_answered() {
    for file in FILES.iter() {
        for length in 0..file.len() {
            ask_everything(&file[..length], &file[..length / 2]);
        }
    }
}

#[test]
fn each_byte_of_the_tables_may_be_the_largest_or_zero() {
    for file in FILES.iter() {
        for at in (0..file.len().min(4096)).chain(file.len().saturating_sub(2048)..file.len()) {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = file.clone();
                bytes[at] = value;
                ask_everything(&bytes, b"");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_flipped_anywhere_are_answered(
        which in 0_usize..3,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..24),
    ) {
        let mut bytes = FILES[which].clone();
        for (place, value, early) in flips {
            let range = if early { bytes.len().min(1024) } else { bytes.len() };
            let at = place.index(range);
            bytes[at] = value;
        }
        ask_everything(&bytes, &FILES[which]);
    }

    #[test]
    fn arbitrary_bytes_behind_a_real_beginning_are_answered(
        class in 1_u8..3, order in 1_u8..3, rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', class, order, 1, 0];
        bytes.extend(rest);
        ask_everything(&bytes, b"x");
    }
}

/// A little ELF library in any of the four forms, by hand: one loaded segment, a dynamic section
/// with a name, a need and a search path.
fn little_library(wide: bool, big: bool, machine: u16) -> Vec<u8> {
    let mut out = Writer {
        bytes: Vec::new(),
        wide,
        big,
    };
    let header = if wide { 64 } else { 52 };
    let entry = if wide { 56 } else { 32 };
    let strings = header + 2 * entry;
    let text = b"\0libbig.so.7\0libc.so.6\0/opt/x\0";
    let dynamic = strings + 32;
    let word = if wide { 8 } else { 4 };
    let end = dynamic + 6 * 2 * word;
    out.bytes.extend([
        0x7f,
        b'E',
        b'L',
        b'F',
        1 + u8::from(wide),
        1 + u8::from(big),
        1,
        0,
    ]);
    out.bytes.extend([0; 8]);
    out.half(3);
    out.half(machine);
    out.number(1);
    for value in [0, header, 0] {
        out.word(value);
    }
    out.number(0);
    for value in [header, entry, 2, 0, 0, 0] {
        out.half(u16::try_from(value).unwrap());
    }
    out.segment(1, 0, end);
    out.segment(2, dynamic, end - dynamic);
    out.bytes.extend(text);
    out.bytes.resize(usize::try_from(dynamic).unwrap(), 0);
    for (tag, value) in [(5, strings), (10, 30), (14, 1), (1, 13), (29, 23), (0, 0)] {
        out.word(tag);
        out.word(value);
    }
    out.bytes
}

struct Writer {
    bytes: Vec<u8>,
    wide: bool,
    big: bool,
}

impl Writer {
    fn put(&mut self, value: u64, size: usize) {
        let bytes = value.to_le_bytes();
        let mut bytes = bytes[..size].to_vec();
        if self.big {
            bytes.reverse();
        }
        self.bytes.extend(bytes);
    }

    fn half(&mut self, value: u16) {
        self.put(value.into(), 2);
    }

    fn number(&mut self, value: u32) {
        self.put(value.into(), 4);
    }

    fn word(&mut self, value: u64) {
        self.put(value, if self.wide { 8 } else { 4 });
    }

    fn segment(&mut self, kind: u32, at: u64, size: u64) {
        self.number(kind);
        if self.wide {
            self.number(5);
        }
        for value in [at, at, at, size, size] {
            self.word(value);
        }
        if !self.wide {
            self.number(5);
        }
        self.word(4096);
    }
}

#[test]
fn both_widths_and_both_byte_orders_are_read_alike() {
    for (wide, big, number, machine) in [
        (true, false, 62, "x86_64"),
        (false, false, 3, "i386"),
        (true, true, 22, "s390x"),
        (false, true, 8, "mips"),
        (true, true, 21, "ppc64"),
        (true, false, 183, "aarch64"),
    ] {
        let bytes = little_library(wide, big, number);
        let facts = elf::read(&bytes).unwrap().unwrap();
        assert_eq!(facts.machine, machine);
        assert_eq!(facts.soname.as_deref(), Some("libbig.so.7"), "{machine}");
        assert_eq!(facts.needed, ["libc.so.6"], "{machine}");
        assert_eq!(facts.runpath, ["/opt/x"], "{machine}");
        let mut changed = bytes.clone();
        let last = changed.iter().rposition(|byte| *byte == b'x').unwrap();
        changed[last] = b'y';
        let sign = |bytes: &[u8]| elf::signature(bytes, Digest::of(bytes));
        assert_ne!(sign(&bytes), sign(&changed), "{machine}");
        assert_ne!(
            sign(&bytes).as_bytes(),
            Digest::of(&bytes).as_bytes(),
            "{machine}"
        );
    }
    assert_eq!(
        elf::read(&little_library(true, true, 62)).unwrap(),
        None,
        "no such x86_64"
    );
    assert_eq!(
        elf::read(&little_library(true, false, 247)).unwrap(),
        None,
        "BPF: no loader's"
    );
}

/// Puts a number over the bytes at `at`.
fn with(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    bytes
}

#[test]
fn headers_count_though_no_segment_maps_them() {
    // The loaded segment begins behind the headers: only the recipe itself brings them in.
    let mut bare = little_library(true, false, 62);
    let size = u8::try_from(bare.len() - 176).unwrap();
    for (at, value) in [(8, 176), (16, 176), (32, size), (40, size)] {
        bare[64 + at..64 + at + 8].copy_from_slice(&u64::from(value).to_le_bytes());
    }
    let sign = |bytes: &[u8]| elf::signature(bytes, Digest::of(bytes));
    assert_ne!(
        sign(&bare).as_bytes(),
        Digest::of(&bare).as_bytes(),
        "it is read as a library"
    );
    for (what, at, value) in [
        ("system", 7, 3),
        ("its version", 8, 1),
        ("machine's flags", 0x30, 1),
        ("entry", 0x18, 1),
        ("a segment's flags", 64 + 4, 7),
        ("a segment's size in memory", 64 + 42, 1),
        ("a segment's alignment", 64 + 49, 32),
        ("another segment's kind", 64 + 56, 4),
    ] {
        let changed = with(&bare, at, value);
        assert_ne!(sign(&changed), sign(&bare), "{what} counts");
        assert_ne!(
            elf::explain(&bare, &changed).verdict,
            elf::Verdict::Rebuilt,
            "{what}"
        );
    }
    for (what, at) in [
        ("a physical address", 64 + 24),
        ("where sections are", 0x28),
    ] {
        assert_eq!(
            sign(&with(&bare, at, 9)),
            sign(&bare),
            "{what} does not count"
        );
    }
}

#[test]
fn a_note_cannot_hide_code_from_the_signature() {
    // A build-id as long as a function, and metadata that is no JSON: both count as substance.
    for (owner, kind, text) in [
        ("GNU", "3", "X".repeat(65)),
        ("FDO", "0xcafe1a7e", "X".repeat(40)),
    ] {
        let source = |text: &str| {
            format!(
                ".section .note.x, \"a\", @note\n.balign 4\n.long 4, 2f - 1f, {kind}\n\
                 .asciz \"{owner}\"\n1: .ascii \"{text}\"\n2: .balign 4\n\
                 .section .note.GNU-stack, \"\", @progbits\n"
            )
        };
        let (one, two) = (source(&text), source(&text.replace('X', "Y")));
        let workshop = Workshop::with(&[("one.s", &one), ("two.s", &two)]);
        workshop.run("gcc -shared -nostdlib -Wl,--build-id=none one.s -o a");
        workshop.run("gcc -shared -nostdlib -Wl,--build-id=none two.s -o b");
        let sign = |bytes: &[u8]| elf::signature(bytes, Digest::of(bytes));
        assert_ne!(
            sign(&workshop.bytes("a")),
            sign(&workshop.bytes("b")),
            "{owner} {kind}"
        );
    }
}
