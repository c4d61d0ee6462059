//! What must and what must not change a file's signature, shown with real compilers.
//!
//! Each row builds two files, `a` and `b`, by a shell script in a directory with the sources below.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod workshop;

use model::elf::{self, Verdict};
use model::{Digest, Signature};
use workshop::Workshop;

const SOURCES: [(&str, &str); 6] = [
    ("lib.c", LIB_C),
    ("lib.cpp", LIB_CPP),
    ("lib.rs", LIB_RS),
    (
        "main.c",
        "int work(int); int main(int n, char **v) { (void)v; return work(n); }\n",
    ),
    ("path.c", PATH_C),
    ("note.s", NOTE_S),
];

const LIB_C: &str = r#"#include <stdio.h>
#ifndef TABLE
#define TABLE 3
#endif
#ifndef VALUE
#define VALUE 7
#endif
#ifndef TEXT
#define TEXT "hello"
#endif
#ifndef SPACE
#define SPACE 100
#endif
#ifndef LOCAL
#define LOCAL 5
#endif
#ifndef HELPER
#define HELPER helper
#endif
#ifndef INLINE
#define INLINE inline
#endif
static const int table[64] = {1, 2, TABLE};
int initialised = VALUE;
char zeroed[SPACE];
__thread int local = LOCAL;
static INLINE int HELPER(int i) { return table[i & 63]; }
#ifdef EXPORT
int exported(void) { return 1; }
#endif
int work(int i) {
    puts(TEXT);
    return HELPER(i) + initialised + local + zeroed[i & 7];
}
"#;

const LIB_CPP: &str = r#"#include <map>
#include <stdexcept>
#include <string>
namespace {
struct Item { std::string name; int value; };
std::map<std::string, Item> items;
int look(const std::string &name) {
    auto found = items.find(name);
    if (found == items.end()) throw std::runtime_error("no " + name);
    return found->second.value;
}
}
extern "C" int work(int i) {
    items["x"] = Item{"x", i};
    try { return look("y"); } catch (const std::exception &) { return look("x"); }
}
"#;

const LIB_RS: &str = r#"
use std::collections::HashMap;
static TABLE: [u32; 4] = [1, 2, 3, 4];
#[unsafe(no_mangle)]
pub extern "C" fn work(i: i32) -> i32 {
    let mut map = HashMap::new();
    map.insert(i, TABLE[(i & 3) as usize]);
    println!("{map:?}");
    map.get(&i).map_or(0, |n| *n as i32)
}
"#;

const PATH_C: &str = r#"#include <stdio.h>
void work(void) { puts(__FILE__); puts(__DATE__ " " __TIME__); }
"#;

const NOTE_S: &str = r#"
    .section .note.package, "a", @note
    .balign 4
    .long 4, 2f - 1f, 0xcafe1a7e
    .asciz "FDO"
1:  .ascii NOTE
2:  .balign 4
    .section .note.GNU-stack, "", @progbits
"#;

/// Shortens the rows.
const PRELUDE: &str = r#"
cc() { gcc -O2 -shared -fPIC -ftls-model=global-dynamic -Wl,-soname,liblib.so.1 "$@"; }
two() { mkdir -p one two-longer-name; cp *.c *.cpp *.rs one; cp *.c *.cpp *.rs two-longer-name
    (cd one && eval "$1" && mv out ../a); (cd two-longer-name && eval "$1" && mv out ../b); }
package() { sed "s/NOTE/\"{\\\\\"version\\\\\":\\\\\"$1\\\\\"}\"/" note.s > "note-$1.s"; }
"#;

struct Row(&'static str, &'static str);

const SAME: &[Row] = &[
    Row("the same build twice", "cc lib.c -o a; cc lib.c -o b"),
    Row(
        "C with -g in another directory",
        "two 'cc -g $PWD/lib.c -o out'",
    ),
    Row(
        "C++ with -g in another directory",
        "two 'g++ -O2 -g -shared -fPIC $PWD/lib.cpp -o out'",
    ),
    Row(
        "C++ with link-time optimisation in another directory",
        "two 'g++ -O2 -g -flto -shared -fPIC lib.cpp -o out'",
    ),
    Row(
        "Rust, debug, in another directory",
        "two 'rustc --edition 2024 -g --crate-type cdylib --crate-name lib lib.rs -o out'",
    ),
    Row(
        "Rust, release, in another directory",
        "two 'rustc --edition 2024 -O --crate-type cdylib --crate-name lib lib.rs -o out'",
    ),
    Row(
        "a program in another directory",
        "two 'gcc -O2 -g $PWD/main.c $PWD/lib.c -o out'",
    ),
    Row(
        "a program at a fixed address",
        "two 'gcc -O2 -g -no-pie $PWD/main.c $PWD/lib.c -o out'",
    ),
    Row(
        "a static program",
        "two 'gcc -O2 -g -static $PWD/main.c $PWD/lib.c -o out'",
    ),
    Row("-g against none", "cc -g lib.c -o a; cc lib.c -o b"),
    Row("-g against -g3", "cc -g lib.c -o a; cc -g3 lib.c -o b"),
    Row(
        "compressed debug sections",
        "cc -g lib.c -o a; cc -g -gz lib.c -o b",
    ),
    Row("strip", "cc -g lib.c -o a; strip -o b a"),
    Row(
        "strip --strip-debug",
        "cc -g lib.c -o a; strip --strip-debug -o b a",
    ),
    Row(
        "strip of C++",
        "g++ -g -shared -fPIC lib.cpp -o a; strip -o b a",
    ),
    Row(
        "strip of a program",
        "gcc -g main.c lib.c -o a; strip -o b a",
    ),
    Row(
        "strip of Rust",
        "rustc --edition 2024 -g --crate-type cdylib lib.rs -o a; strip -o b a",
    ),
    Row("eu-strip", "cc -g lib.c -o a; eu-strip -o b a"),
    Row(
        "eu-strip -f",
        "cc -g lib.c -o a; eu-strip -f b.debug -o b a",
    ),
    Row(
        "objcopy -R .comment",
        "cc -g lib.c -o a; objcopy -R .comment a b",
    ),
    Row(
        "debug information split off and linked to",
        "cc -g lib.c -o a; objcopy --only-keep-debug a b.debug; strip -o b a;
         objcopy --add-gnu-debuglink=b.debug b",
    ),
    Row(
        "-frecord-gcc-switches",
        "cc lib.c -o a; cc -frecord-gcc-switches lib.c -o b",
    ),
    Row(
        "relocations kept by the linker, then stripped",
        "cc -g -Wl,--emit-relocs lib.c -o a; strip -o b a",
    ),
    Row(
        "an unused -D",
        "cc lib.c -o a; cc -DNOBODY_ASKS=1 lib.c -o b",
    ),
    Row(
        "comments and blank lines",
        "cc -g lib.c -o a; (echo '/* why */'; echo; cat lib.c) > other.c; cp other.c lib.c;
         cc -g lib.c -o b",
    ),
    Row(
        "a renamed inlined function",
        "cc -g lib.c -o a; cc -g -DHELPER=aid lib.c -o b",
    ),
    Row(
        "package metadata of the same length",
        "package 1.0; package 1.1; cc lib.c note-1.0.s -o a; cc lib.c note-1.1.s -o b",
    ),
    Row(
        "__FILE__ in another directory with a prefix map, dates pinned",
        "export SOURCE_DATE_EPOCH=1;
         two 'cc -g -ffile-prefix-map=$PWD=. $PWD/path.c -o out'",
    ),
    Row(
        "another build-id of the same length",
        "cc lib.c -o a; cc -Wl,--build-id=0x$(printf %040d 7) lib.c -o b",
    ),
];

const CHANGED: &[Row] = &[
    Row(
        "a value in a constant table",
        "cc lib.c -o a; cc -DTABLE=4 lib.c -o b",
    ),
    Row(
        "an initialised global",
        "cc lib.c -o a; cc -DVALUE=8 lib.c -o b",
    ),
    Row(
        "a string",
        r#"cc lib.c -o a; cc '-DTEXT="hallo"' lib.c -o b"#,
    ),
    Row(
        "the size of .bss",
        "cc lib.c -o a; cc -DSPACE=100000 lib.c -o b",
    ),
    Row(
        "a thread-local value",
        "cc lib.c -o a; cc -DLOCAL=6 lib.c -o b",
    ),
    Row("a new export", "cc lib.c -o a; cc -DEXPORT lib.c -o b"),
    Row(
        "no inlining",
        "cc lib.c -o a; cc '-DINLINE=__attribute__((noinline))' lib.c -o b",
    ),
    Row("other optimisation", "cc lib.c -o a; cc -O0 lib.c -o b"),
    Row(
        "DT_NEEDED",
        "cc lib.c -o a; cc lib.c -Wl,--no-as-needed -lm -o b",
    ),
    Row(
        "RUNPATH",
        "cc lib.c -o a; cc -Wl,-rpath,/usr/lib/x lib.c -o b",
    ),
    Row(
        "soname",
        "cc lib.c -o a; cc -Wl,-soname,liblib.so.2 lib.c -o b",
    ),
    Row(
        "an executable stack",
        "cc lib.c -o a; cc -z execstack lib.c -o b",
    ),
    Row("-z now", "cc lib.c -o a; cc -Wl,-z,now lib.c -o b"),
    Row(
        "-z nodelete",
        "cc lib.c -o a; cc -Wl,-z,nodelete lib.c -o b",
    ),
    Row(
        "patchelf --set-rpath",
        "cc lib.c -o a; cp a b; patchelf --set-rpath /opt/x b",
    ),
    Row(
        "patchelf --set-soname",
        "cc lib.c -o a; cp a b; patchelf --set-soname liblib.so.9 b",
    ),
    Row(
        "bytes appended",
        "cc lib.c -o a; cp a b; printf payload >> b",
    ),
    Row(
        "other bytes appended",
        "cc lib.c -o a; cp a b; printf one >> a; printf two >> b",
    ),
    Row(
        "an unknown unmapped section",
        "cc lib.c -o a; echo one > s; objcopy --add-section pydata=s a b",
    ),
    Row(
        "an unknown unmapped section's contents",
        "cc lib.c -o c; echo one > s; objcopy --add-section pydata=s c a;
         echo two > s; objcopy --add-section pydata=s c b",
    ),
    Row(
        "no build-id",
        "cc lib.c -o a; cc -Wl,--build-id=none lib.c -o b",
    ),
    Row(
        "a build-id of another length",
        "cc lib.c -o a; cc -Wl,--build-id=md5 lib.c -o b",
    ),
    Row(
        "package metadata for the first time",
        "package 1.0; cc lib.c -o a; cc lib.c note-1.0.s -o b",
    ),
    Row(
        "package metadata of another length",
        "package 1.0; package 1.10.10; cc lib.c note-1.0.s -o a; cc lib.c note-1.10.10.s -o b",
    ),
    Row(
        "__FILE__ in another directory",
        "export SOURCE_DATE_EPOCH=1; two 'cc $PWD/path.c -o out'",
    ),
    Row(
        "__DATE__ on another day",
        "SOURCE_DATE_EPOCH=1 cc path.c -o a; SOURCE_DATE_EPOCH=100000000 cc path.c -o b",
    ),
    Row(
        "one constant in Rust",
        "rustc --edition 2024 -O --crate-type cdylib lib.rs -o a; sed -i 's/3, 4/3, 5/' lib.rs;
         rustc --edition 2024 -O --crate-type cdylib lib.rs -o b",
    ),
    Row(
        "another machine",
        "cc lib.c -o a; cp a b; printf '\\267' | dd of=b bs=1 seek=18 conv=notrunc",
    ),
];

/// Files that no loader takes: their bytes are their substance.
const BY_BYTES: &[Row] = &[
    Row("an object", "gcc -c -fPIC -g lib.c -o a; gcc -c -fPIC lib.c -o b"),
    Row("a relocatable link, as kernel modules are", "gcc -c -g lib.c -o x.o; ld -r x.o -o a; strip -g -o b a"),
    Row(
        "a debug-only file by objcopy",
        "cc -g lib.c -o c; objcopy --only-keep-debug c a; cc -g3 lib.c -o c;
         objcopy --only-keep-debug c b",
    ),
    Row(
        "a debug-only file by eu-strip",
        "cc -g lib.c -o c; eu-strip -f a -o x c; cc -g3 lib.c -o c; eu-strip -f b -o x c",
    ),
    Row(
        "a foreign machine",
        "cc -g lib.c -o a; printf '\\367\\000' | dd of=a bs=1 seek=18 conv=notrunc; strip -g -o b a || {
         cp a b; printf x >> b; }",
    ),
    Row(
        "a foreign system",
        "cc -g lib.c -o a; printf '\\011' | dd of=a bs=1 seek=7 conv=notrunc; cp a b; printf x >> b",
    ),
    Row(
        "a machine with its bytes the wrong way round",
        "cc -g lib.c -o a; printf '\\002' | dd of=a bs=1 seek=5 conv=notrunc; cp a b; printf x >> b",
    ),
    Row("a file cut short", "cc lib.c -o c; head -c 9000 c > a; head -c 9001 c > b"),
    Row("an archive", "gcc -c lib.c -o x.o; ar rD a x.o; gcc -c -g lib.c -o x.o; ar rD b x.o"),
    Row("text", "echo one > a; echo two > b"),
    Row("nothing at all", ": > a; echo > b"),
];

fn signature(bytes: &[u8]) -> Signature {
    elf::signature(bytes, Digest::of(bytes))
}

/// The two files of a row.
fn build(row: &Row) -> (Vec<u8>, Vec<u8>) {
    let workshop = Workshop::with(&SOURCES);
    workshop.run(&format!("{PRELUDE}\n{}", row.1));
    (workshop.bytes("a"), workshop.bytes("b"))
}

/// Goes through all rows and names each that fails.
fn check(rows: &[Row], fails: impl Fn(&[u8], &[u8]) -> Option<String>) {
    let mut failed = Vec::new();
    for row in rows {
        let (a, b) = build(row);
        if let Some(complaint) = fails(&a, &b) {
            failed.push(format!("{}: {complaint}\n{}", row.0, elf::explain(&a, &b)));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} rows:\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
}

#[test]
fn a_rebuild_elsewhere_or_without_debug_information_keeps_the_signature() {
    check(SAME, |a, b| {
        let exact = signature(a) == Signature::of_exact(Digest::of(a));
        let verdict = elf::explain(a, b).verdict;
        if exact {
            return Some("its bytes were taken as its substance".to_owned());
        }
        if signature(a) != signature(b) {
            return Some("its signature changed".to_owned());
        }
        let unexplained = !matches!(verdict, Verdict::Identical | Verdict::Rebuilt);
        unexplained.then(|| "the explanation contradicts the signature".to_owned())
    });
}

#[test]
fn every_change_of_substance_changes_the_signature_and_is_explained() {
    check(CHANGED, |a, b| {
        if signature(a) == signature(b) {
            return Some("its signature stayed".to_owned());
        }
        let verdict = elf::explain(a, b).verdict;
        let unexplained = matches!(verdict, Verdict::Identical | Verdict::Rebuilt);
        unexplained.then(|| "the explanation found nothing".to_owned())
    });
}

#[test]
fn what_no_loader_takes_is_signed_by_its_bytes() {
    check(BY_BYTES, |a, b| {
        let exact = |bytes: &[u8]| signature(bytes) == Signature::of_exact(Digest::of(bytes));
        if !exact(a) || !exact(b) {
            return Some("its signature is not that of its bytes".to_owned());
        }
        if a == b {
            return Some("the row built the same bytes twice and shows nothing".to_owned());
        }
        matches!(elf::read(a), Ok(Some(_))).then(|| "it was read as a linked file".to_owned())
    });
}

#[test]
fn a_file_without_section_headers_keeps_its_signature() {
    let workshop = Workshop::with(&SOURCES);
    let whole = workshop.make("a", &format!("{PRELUDE}\ncc lib.c -o a; strip a"));
    // What sstrip does: the header's fields for sections cleared, the file cut behind the last
    // byte that is mapped (here all that lies behind is .comment and the tables).
    let mut bare = whole.clone();
    bare[0x28..0x30].fill(0);
    bare[0x3a..0x40].fill(0);
    let end = last_loaded_byte(&whole);
    bare.truncate(end);
    assert_eq!(signature(&bare), signature(&whole));
    let (with, without) = (
        elf::read(&whole).unwrap().unwrap(),
        elf::read(&bare).unwrap().unwrap(),
    );
    assert_eq!(with, without, "the facts do not hang on section headers");
    assert_eq!(without.soname.as_deref(), Some("liblib.so.1"));
}

fn last_loaded_byte(bytes: &[u8]) -> usize {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let start = usize::try_from(number(0x20)).unwrap();
    let count = usize::from(u16::from_le_bytes([bytes[0x38], bytes[0x39]]));
    let headers = (0..count).map(|index| start + index * 56);
    let loaded = headers.filter(|at| bytes[*at] == 1 && bytes[*at + 1..*at + 4] == [0; 3]);
    let ends = loaded.map(|at| number(at + 8) + number(at + 32));
    usize::try_from(ends.max().unwrap()).unwrap()
}

#[test]
fn a_change_in_paths_or_dates_alone_is_called_that() {
    let row = Row(
        "a path of the same length",
        "export SOURCE_DATE_EPOCH=1; mkdir aaaa bbbb; cp path.c aaaa; cp path.c bbbb;
         (cd aaaa; cc $PWD/path.c -o ../a); (cd bbbb; cc $PWD/path.c -o ../b)",
    );
    let date = Row(
        "a date",
        "SOURCE_DATE_EPOCH=1 cc path.c -o a; SOURCE_DATE_EPOCH=100000000 cc path.c -o b",
    );
    for row in [row, date] {
        let (a, b) = build(&row);
        assert_ne!(signature(&a), signature(&b), "{}", row.0);
        let difference = elf::explain(&a, &b);
        assert_eq!(
            difference.verdict,
            Verdict::PathsAndDates,
            "{}: {difference}",
            row.0
        );
        assert!(difference.to_string().contains(".rodata"), "{difference}");
    }
    let (a, b) = build(&CHANGED[2]);
    let difference = elf::explain(&a, &b);
    assert_eq!(
        difference.verdict,
        Verdict::Substance,
        "\"hello\" is no path: {difference}"
    );
}
