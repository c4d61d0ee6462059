//! The fuzzer's corpus, and changes of it by chance from a fixed seed, without a fuzzer: nothing
//! that comes from outside makes a reader panic, loop, or take memory without end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests; helpers too"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;
use std::time::{Duration, Instant};

/// Changes of the corpus for each target.
const MUTATIONS: u64 = 3_000;
/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(10);

/// A small generator of numbers (`xorshift64*`): the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = fs_err::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs_err::read(path).unwrap())
    });
    let mut all: Vec<_> = files.collect();
    all.sort();
    all
}

/// Calls a target; says which input it was that took too long. Which one panics, its name says.
fn call(target: &str, entry: fn(&[u8]), name: &str, bytes: &[u8]) {
    let began = Instant::now();
    let answered = std::panic::catch_unwind(|| entry(bytes));
    if answered.is_err() {
        let path = std::env::temp_dir().join(format!("fuzz-{target}-{}", std::process::id()));
        fs_err::write(&path, bytes).unwrap();
        panic!(
            "{target}: {name} panics; its bytes are in {}",
            path.display()
        );
    }
    assert!(
        began.elapsed() < LONGEST,
        "{target}: {name} takes {:?}",
        began.elapsed()
    );
}

fn mutated(numbers: &mut Numbers, one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = one.to_vec();
    for _ in 0..=numbers.below(6) {
        let (at, value) = (numbers.below(bytes.len()), numbers.next());
        let byte = value.to_le_bytes()[0];
        match numbers.below(6) {
            0 if !bytes.is_empty() => bytes[at] = byte,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << (value % 8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, byte),
            4 => {
                let from = numbers.below(other.len());
                let length = numbers.below(64).min(other.len() - from);
                let piece = other[from..from + length].iter().copied();
                bytes.splice(at..(at + length).min(bytes.len()), piece);
            }
            _ => {
                for byte in bytes.iter_mut().skip(at).take(8) {
                    *byte = [0, 0x7f, 0xff, b'9'][numbers.below(4)];
                }
            }
        }
    }
    bytes
}

fn replay(target: &str) {
    let (_, entry) = *fuzz::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .unwrap();
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{target} has no corpus");
    for (name, bytes) in &corpus {
        call(target, entry, name, bytes);
    }
    let mut numbers = Numbers(0x6368_616e_6765);
    for round in 0..MUTATIONS {
        let (one, other) = (numbers.below(corpus.len()), numbers.below(corpus.len()));
        let bytes = mutated(&mut numbers, &corpus[one].1, &corpus[other].1);
        call(
            target,
            entry,
            &format!("{} in round {round}", corpus[one].0),
            &bytes,
        );
    }
}

macro_rules! replays {
    ($($name:ident: $target:literal,)*) => {$(
        #[test]
        fn $name() {
            replay($target);
        }
    )*};
}

replays! {
    hostile_envelopes_are_refused: "envelope",
    hostile_manifests_are_refused: "manifest",
    hostile_elf_files_are_answered: "elf",
    hostile_debian_packages_are_refused: "deb",
    hostile_notifications_are_passed_over: "notify",
    hostile_words_on_the_bus_are_refused: "bus",
}
