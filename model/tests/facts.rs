//! The facts of ELF files, against real compilers and against `readelf`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod workshop;

use std::path::Path;

use model::Digest;
use model::elf::{self, DlopenNote, ElfFacts, Pin};
use model::manifest::LibraryNeed;
use workshop::{Workshop, shell};

fn facts(bytes: &[u8]) -> ElfFacts {
    elf::read(bytes).unwrap().unwrap()
}

/// The facts of the library that `gcc ARGUMENTS` makes of a C source.
fn built(source: &str, arguments: &str) -> ElfFacts {
    let workshop = Workshop::with(&[("x.c", source), ("x.cpp", source), ("x.map", MAP)]);
    facts(&workshop.make("out", &format!("{arguments} -o out")))
}

const MAP: &str = "NET_1.0 { global: one; local: *; };\nNET_2.0 { global: two; } NET_1.0;\n";

#[test]
fn a_library_says_what_it_is_needs_and_provides() {
    let facts = built(
        "#include <stdio.h>\nint one(void) { return puts(\"x\"); } int two(void) { return 2; }",
        "gcc -shared -fPIC -Wl,-soname,libnet.so.4 -Wl,--version-script=x.map \
         -Wl,-rpath,'$ORIGIN/../net:/opt/net' -Wl,--enable-new-dtags x.c",
    );
    assert_eq!(facts.machine, std::env::consts::ARCH);
    assert_eq!(facts.soname.as_deref(), Some("libnet.so.4"));
    assert_eq!(facts.needed, ["libc.so.6"]);
    assert_eq!(facts.runpath, ["$ORIGIN/../net", "/opt/net"]);
    assert_eq!(facts.rpath, [""; 0]);
    assert_eq!(facts.versions_provided, ["NET_1.0", "NET_2.0"]);
    let [LibraryNeed { soname, versions }] = &facts.versions_needed[..] else {
        panic!("{:?}", facts.versions_needed)
    };
    assert_eq!(soname, "libc.so.6");
    assert!(!versions.is_empty() && versions.iter().all(|version| version.starts_with("GLIBC_")));
    assert!(
        !facts.program && !facts.calls_dlopen && facts.pinned_by.is_empty(),
        "{facts:?}"
    );
    assert_eq!(facts.interpreter, None);
    assert_eq!(facts.build_id.unwrap().len(), 40);
}

#[test]
fn rpath_counts_only_without_runpath() {
    let source = "int one(void) { return 1; }";
    let old = built(
        source,
        "gcc -shared -fPIC -Wl,-rpath,/opt/a -Wl,--disable-new-dtags x.c",
    );
    assert_eq!(
        (old.rpath, old.runpath),
        (vec!["/opt/a".to_owned()], Vec::new())
    );
    let both = Workshop::with(&[("x.c", source)]);
    both.run("gcc -shared -fPIC -Wl,-rpath,/opt/a -Wl,--enable-new-dtags x.c -o out");
    let facts = facts(&both.bytes("out"));
    assert_eq!(
        (facts.rpath, facts.runpath),
        (Vec::new(), vec!["/opt/a".to_owned()])
    );
}

#[test]
fn programs_and_libraries_are_told_apart() {
    let main = "int main(void) { return 0; }";
    for (arguments, interpreter) in [
        ("gcc x.c", true),
        ("gcc -no-pie x.c", true),
        ("gcc -static x.c", false),
        ("gcc -static-pie x.c", false),
        ("gcc -rdynamic x.c", true),
    ] {
        let facts = built(main, arguments);
        assert!(facts.program, "{arguments}");
        assert_eq!(facts.interpreter.is_some(), interpreter, "{arguments}");
    }
    assert!(!built("int one;", "gcc -shared -fPIC x.c").program);
    let runnable = "const char interpreter[] __attribute__((section(\".interp\"))) = \"/lib/ld\";";
    let facts = built(runnable, "gcc -shared -fPIC -Wl,-soname,librun.so.1 x.c");
    assert_eq!(facts.interpreter.as_deref(), Some("/lib/ld"));
    assert!(
        !facts.program,
        "a library that can be run is still a library"
    );
}

#[test]
fn what_keeps_a_library_mapped_is_found() {
    let plain = "extern \"C\" int one() { return 1; }";
    let unique = "template <class T> struct Box { static T value; };
        template <class T> T Box<T>::value; extern \"C\" int one() { return Box<int>::value; }";
    let local =
        "struct Noisy { Noisy(); ~Noisy(); int n = 1; }; Noisy::Noisy() {} Noisy::~Noisy() {}
        thread_local Noisy noisy; extern \"C\" int one() { return noisy.n; }";
    for (source, arguments, pins) in [
        (plain, "g++ -shared -fPIC x.cpp", vec![]),
        (
            plain,
            "g++ -shared -fPIC -Wl,-z,nodelete x.cpp",
            vec![Pin::NoDelete],
        ),
        (unique, "g++ -shared -fPIC x.cpp", vec![Pin::UniqueSymbols]),
        (unique, "g++ -shared -fPIC -fno-gnu-unique x.cpp", vec![]),
        (
            local,
            "g++ -shared -fPIC x.cpp",
            vec![Pin::ThreadLocalDestructors],
        ),
        (
            unique,
            "g++ -shared -fPIC -Wl,--hash-style=sysv x.cpp",
            vec![Pin::UniqueSymbols],
        ),
    ] {
        assert_eq!(
            built(source, arguments).pinned_by,
            pins,
            "{arguments} of {source}"
        );
    }
}

#[test]
fn a_call_of_dlopen_is_seen_in_libraries_and_programs() {
    let library = "void *dlopen(const char *, int); void *one(void) { return dlopen(\"x\", 1); }";
    let program = "void *dlopen(const char *, int); int main(void) { return !dlopen(\"x\", 1); }";
    let other =
        "void *dlmopen(long, const char *, int); void *one(void) { return dlmopen(0, 0, 1); }";
    assert!(built(library, "gcc -shared -fPIC x.c").calls_dlopen);
    assert!(built(library, "gcc -shared -fPIC -Wl,--hash-style=sysv x.c").calls_dlopen);
    assert!(
        built(program, "gcc x.c").calls_dlopen,
        "a program exports nothing: no hash table"
    );
    assert!(built(other, "gcc -shared -fPIC x.c").calls_dlopen);
    let own = "int dlopen(void) { return 1; } int dlopener(void);int one(void){return dlopener();}";
    assert!(
        !built(own, "gcc -shared -fPIC x.c").calls_dlopen,
        "its own, and a longer name"
    );
}

const DLOPEN: &str = r#"
    .section .note.dlopen, "FLAGS", @note
    .balign 4
    .long 4, 2f - 1f, 0x407c0c0a
    .asciz "FDO"
1:  .asciz "[{\"soname\":[\"libzstd.so.1\",\"libzstd.so.2\"],\"feature\":\"zstd\",\"priority\":\"suggested\",\"description\":\"x\"}]"
2:  .balign 4
    .long 4, 4f - 3f, 0x407c0c0a
    .asciz "FDO"
3:  .asciz "[{\"soname\":[\"liblz4.so.1\"]}]"
4:  .balign 4
    .section .note.GNU-stack, "", @progbits
"#;

#[test]
fn dlopen_notes_are_read_mapped_or_not() {
    let wanted = [
        DlopenNote {
            feature: Some("zstd".to_owned()),
            priority: Some("suggested".to_owned()),
            soname: vec!["libzstd.so.1".to_owned(), "libzstd.so.2".to_owned()],
        },
        DlopenNote {
            feature: None,
            priority: None,
            soname: vec!["liblz4.so.1".to_owned()],
        },
    ];
    for flags in ["a", ""] {
        let note = DLOPEN.replace("FLAGS", flags);
        let workshop = Workshop::with(&[("x.c", "int one;"), ("note.s", &note)]);
        let bytes = workshop.make("out", "gcc -shared -fPIC x.c note.s -o out");
        assert_eq!(facts(&bytes).dlopen_notes, wanted, "flags {flags:?}");
    }
    let broken = DLOPEN.replace("FLAGS", "a").replace("[{", "{");
    let workshop = Workshop::with(&[("x.c", "int one;"), ("note.s", &broken)]);
    let error =
        elf::read(&workshop.make("out", "gcc -shared -fPIC x.c note.s -o out")).unwrap_err();
    assert!(error.to_string().contains(".note.dlopen"), "{error}");
}

/// What `readelf -d` says: needed, soname, runpath or rpath.
fn by_readelf(path: &Path) -> (Vec<String>, Option<String>, Option<String>) {
    let script = format!("readelf -dW '{}'", path.display());
    let text = shell(Path::new("/"), &script).unwrap();
    let field = |tag: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains(tag));
        let inner = |line: &str| {
            line.split_once('[')?
                .1
                .rsplit_once(']')
                .map(|p| p.0.to_owned())
        };
        lines.filter_map(inner).collect()
    };
    let path = field("(RUNPATH)").pop().or_else(|| field("(RPATH)").pop());
    (field("(NEEDED)"), field("(SONAME)").pop(), path)
}

#[test]
fn the_machines_own_libraries_are_read_as_readelf_reads_them() {
    let mut seen = 0;
    for directory in [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/bin",
    ] {
        let Ok(entries) = fs_err::read_dir(directory) else {
            continue;
        };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.is_file() && !path.is_symlink());
        paths.sort();
        for path in paths.iter().step_by(paths.len() / 60 + 1) {
            let bytes = fs_err::read(path).unwrap();
            let digest = Digest::of(&bytes);
            let Some(facts) = elf::read(&bytes).unwrap() else {
                continue;
            };
            seen += 1;
            let search = [&facts.runpath[..], &facts.rpath[..]].concat().join(":");
            let ours = (
                facts.needed.clone(),
                facts.soname.clone(),
                (!search.is_empty()).then_some(search),
            );
            assert_eq!(ours, by_readelf(path), "{}", path.display());
            let file = fs_err::File::open(path).unwrap();
            let stored = elf::examine_file(file.file(), digest).unwrap();
            assert_eq!(stored.facts.unwrap(), Some(facts), "{}", path.display());
            assert_eq!(
                stored.signature,
                elf::signature(&bytes, digest),
                "{}",
                path.display()
            );
        }
    }
    assert!(seen > 20, "only {seen} ELF files were found to compare");
}
