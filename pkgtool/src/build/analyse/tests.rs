#![expect(clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::process::Command;

use model::digest::Digest;
use model::envelope::{Limits, Reader};
use model::process::ProcessSpec;

use super::super::{collect, pack, spec};
use super::*;

/// Sources in a directory, built by the machine's own compiler.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs_err::write(self.path().join(name), text).unwrap();
        self
    }

    /// Runs gcc here.
    fn gcc(&self, arguments: &str) -> &Self {
        let mut gcc = Command::new("gcc");
        gcc.args(arguments.split_whitespace())
            .current_dir(self.path());
        assert!(gcc.status().unwrap().success(), "gcc {arguments}");
        self
    }

    /// `app`, which needs `libx.so.1`, which needs `liby.so.1`.
    fn application(&self, app_options: &str) -> &Self {
        self.write("y.c", "int y(void) { return 1; }")
            .write("x.c", "int y(void); int x(void) { return y(); }")
            .write("app.c", "#include <stdio.h>\nint x(void); int main(void) { printf(\"%d\", x()); }")
            .gcc("-shared -fPIC -Wl,-soname,liby.so.1 -o liby.so.1 y.c")
            .gcc("-shared -fPIC -Wl,-soname,libx.so.1 -Wl,-rpath,$ORIGIN -o libx.so.1 x.c ./liby.so.1")
            .gcc(&format!("-o app app.c ./libx.so.1 -Wl,--allow-shlib-undefined {app_options}"))
    }

    /// Analyses these files, `NAME` to `PATH`.
    fn analyse(&self, draft: Manifest, files: &[(&str, &str)]) -> Analysed {
        let staged = files
            .iter()
            .map(|(name, path)| staged(self.path().join(name), path));
        let mut spool = Spool::new(tempfile::tempfile().unwrap());
        analyse(draft, staged.collect(), &mut spool, &mut |_, _| {}).unwrap()
    }
}

fn staged(source: PathBuf, path: &str) -> Staged {
    Staged {
        path: path.parse().unwrap(),
        mode: 0o755,
        owner: Some("root".to_owned()),
        group: None,
        content: Content::File(source),
        declared: Declared::default(),
    }
}

fn draft() -> Manifest {
    Manifest::new("app".parse().unwrap(), "1.0".parse().unwrap())
}

fn with_process(exec: &str) -> Manifest {
    let mut draft = draft();
    draft.processes.push(ProcessSpec::new(
        "app".parse().unwrap(),
        vec![exec.to_owned()],
    ));
    draft
}

fn file<'a>(manifest: &'a Manifest, path: &str) -> &'a RegularFile {
    let entry = manifest
        .files
        .iter()
        .find(|entry| entry.path.as_str() == path)
        .unwrap();
    let Node::File(file) = &entry.node else {
        panic!("{path} is no file")
    };
    file
}

fn texts(analysed: &Analysed, severity: Severity) -> Vec<String> {
    let of = analysed
        .findings
        .iter()
        .filter(|finding| finding.severity == severity);
    of.map(ToString::to_string).collect()
}

const FILES: [(&str, &str); 3] = [
    ("app", "/usr/bin/app"),
    ("libx.so.1", "/usr/lib/app/libx.so.1"),
    ("liby.so.1", "/usr/lib/app/liby.so.1"),
];

#[test]
fn direct_and_transitive_use_is_found_and_the_rest_is_left_to_others() {
    let tree = Tree::new();
    tree.application("-Wl,-rpath,/usr/lib/app");
    let analysed = tree.analyse(draft(), &FILES);
    assert_eq!(texts(&analysed, Severity::Error), Vec::<String>::new());
    let manifest = &analysed.manifest;
    let uses = file(manifest, "/usr/bin/app").uses.clone().unwrap();
    assert_eq!(uses.direct, ["/usr/lib/app/libx.so.1".parse().unwrap()]);
    assert_eq!(uses.transitive, ["/usr/lib/app/liby.so.1".parse().unwrap()]);
    assert_eq!(uses.others, ["libc.so.6"]);
    let library = file(manifest, "/usr/lib/app/libx.so.1");
    assert_eq!(library.file_type, FileType::SharedLibrary);
    assert_eq!(
        file(manifest, "/usr/bin/app").file_type,
        FileType::Executable
    );
    let provided: Vec<&str> = manifest
        .provides_libraries
        .iter()
        .map(|need| need.soname.as_str())
        .collect();
    assert_eq!(provided, ["libx.so.1", "liby.so.1"]);
    let [libc] = &manifest.requires_libraries[..] else {
        panic!("{:?}", manifest.requires_libraries)
    };
    assert_eq!(libc.soname, "libc.so.6");
    assert!(
        libc.versions
            .iter()
            .any(|version| version.starts_with("GLIBC_2.")),
        "{libc:?}"
    );
    assert_eq!(
        manifest.architecture.as_deref(),
        Some(std::env::consts::ARCH)
    );
}

#[test]
fn a_program_that_cannot_find_its_own_library_is_refused_with_the_way_out() {
    let tree = Tree::new();
    tree.application("");
    let analysed = tree.analyse(draft(), &FILES);
    let errors = texts(&analysed, Severity::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("/usr/bin/app: needs libx.so.1"),
        "{errors:?}"
    );
    assert!(errors[0].contains("-Wl,-rpath,/usr/lib/app"), "{errors:?}");
    assert!(!analysed.is_sound());
}

#[test]
fn a_library_in_a_default_directory_needs_no_run_path() {
    let tree = Tree::new();
    tree.application("");
    let files = [
        FILES[0],
        ("libx.so.1", "/usr/lib/libx.so.1"),
        ("liby.so.1", "/usr/lib/liby.so.1"),
    ];
    assert!(tree.analyse(draft(), &files).is_sound());
}

#[test]
fn a_process_that_reaches_an_unannotated_dlopen_is_reported_and_an_annotation_settles_it() {
    let tree = Tree::new();
    tree.write(
        "p.c",
        "#include <dlfcn.h>\nint main(int c, char **v) { return !dlopen(v[1], 1); }",
    );
    tree.gcc("-o p p.c");
    let files = [("p", "/usr/sbin/p")];
    let reported = tree.analyse(with_process("/usr/sbin/p"), &files);
    let warnings = texts(&reported, Severity::Warning);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("process app: reaches dlopen in /usr/sbin/p"),
        "{warnings:?}"
    );
    assert_eq!(reported.manifest.notes, warnings);
    let mut annotated = with_process("/usr/sbin/p");
    let file = "/usr/sbin/p".parse().unwrap();
    annotated.dlopen.push(manifest::DlopenUse {
        file,
        libraries: Vec::new(),
    });
    assert_eq!(tree.analyse(annotated, &files).findings, []);
}

#[test]
fn a_library_that_cannot_unload_is_reported() {
    let tree = Tree::new();
    tree.write("l.c", "int l;")
        .gcc("-shared -fPIC -Wl,-z,nodelete -o l.so l.c");
    let analysed = tree.analyse(draft(), &[("l.so", "/usr/lib/l.so")]);
    let warnings = texts(&analysed, Severity::Warning);
    assert!(
        warnings[0].contains("NODELETE flag: /usr/lib/l.so"),
        "{warnings:?}"
    );
}

#[test]
fn a_symbol_version_that_the_packages_own_library_lacks_is_refused() {
    let tree = Tree::new();
    tree.write("v1", "V1 { global: f; };")
        .write("v2", "V1 { global: g; }; V2 { global: f; };");
    tree.write("l.c", "int f(void) { return 1; } int g(void) { return 2; }");
    tree.write("p.c", "int f(void); int main(void) { return f(); }");
    tree.gcc("-shared -fPIC -Wl,-soname,libl.so -Wl,--version-script,v2 -o libl.so l.c");
    tree.gcc("-o p p.c ./libl.so");
    tree.gcc("-shared -fPIC -Wl,-soname,libl.so -Wl,--version-script,v1 -o libl.so l.c");
    let analysed = tree.analyse(
        draft(),
        &[("p", "/usr/bin/p"), ("libl.so", "/usr/lib/libl.so")],
    );
    let errors = texts(&analysed, Severity::Error);
    assert!(
        errors[0].contains("V2") && errors[0].contains("/usr/lib/libl.so"),
        "{errors:?}"
    );
}

#[test]
fn files_of_two_architectures_are_refused() {
    let tree = Tree::new();
    tree.write("l.c", "int l;")
        .gcc("-shared -fPIC -o own.so l.c");
    let mut bytes = fs_err::read(tree.path().join("own.so")).unwrap();
    // e_machine: EM_AARCH64, or EM_X86_64 on such a machine.
    bytes[18] = if cfg!(target_arch = "x86_64") {
        183
    } else {
        62
    };
    fs_err::write(tree.path().join("other.so"), bytes).unwrap();
    let files = [
        ("own.so", "/usr/lib/own.so"),
        ("other.so", "/usr/lib/other.so"),
    ];
    let errors = texts(&tree.analyse(draft(), &files), Severity::Error);
    assert!(errors[0].contains("one architecture"), "{errors:?}");
    let mut of_one = draft();
    of_one.architecture = Some(std::env::consts::ARCH.to_owned());
    let errors = texts(&tree.analyse(of_one, &files), Severity::Error);
    assert!(
        errors[0].contains("/usr/lib/other.so: is for"),
        "{errors:?}"
    );
}

#[test]
fn a_damaged_elf_file_is_refused_by_name() {
    let tree = Tree::new();
    tree.write("l.c", "int l;").gcc("-shared -fPIC -o l.so l.c");
    let bytes = fs_err::read(tree.path().join("l.so")).unwrap();
    fs_err::write(tree.path().join("cut.so"), &bytes[..bytes.len() / 8]).unwrap();
    let analysed = tree.analyse(draft(), &[("cut.so", "/usr/lib/cut.so")]);
    let seen = file(&analysed.manifest, "/usr/lib/cut.so");
    // Either it is said to be damaged, or it is data and nothing for the loader.
    assert!(!analysed.is_sound() || seen.elf.is_none(), "{analysed:?}");
}

#[test]
fn scripts_and_data_are_known_by_their_bytes() {
    let tree = Tree::new();
    tree.write("s", "#! /usr/bin/python3 -E\n")
        .write("d", "#include");
    let analysed = tree.analyse(draft(), &[("s", "/usr/bin/s"), ("d", "/usr/share/d")]);
    let script = file(&analysed.manifest, "/usr/bin/s");
    assert_eq!(script.interpreter.as_deref(), Some("/usr/bin/python3"));
    assert_eq!(script.file_type, FileType::Executable);
    assert_eq!(
        file(&analysed.manifest, "/usr/share/d").file_type,
        FileType::Data
    );
}

/// Builds the package.toml in `tree` as the command does, and gives the envelope's bytes.
fn build(tree: &Path) -> Vec<u8> {
    let path = tree.join("package.toml");
    let mut spec = spec::parse(&path, &fs_err::read_to_string(&path).unwrap()).unwrap();
    let staged = collect::collect(&mut spec).unwrap();
    let out = tree.join("out.pkg");
    let mut spool = pack::spool(&out).unwrap();
    let analysed = analyse(spec.draft.clone(), staged, &mut spool, &mut |_, _| {}).unwrap();
    assert!(analysed.is_sound(), "{:?}", analysed.findings);
    let ids = pack::pack(vec![analysed.manifest], &spool, &out).unwrap();
    assert_eq!(ids.len(), 1);
    fs_err::read(out).unwrap()
}

#[test]
fn the_same_inputs_in_two_places_give_the_same_package_byte_for_byte() {
    let built: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let tree = Tree::new();
            // Several frames, so that threads may finish in any order.
            tree.write("large", &"changeover ".repeat(600_000))
                .write("small", "small");
            tree.write(
                "package.toml",
                "[package]\nname = \"a\"\nversion = \"1\"\n[files]\n\
                 \"large\" = \"/usr/share/a/\"\n\"small\" = \"/usr/share/a/\"\n",
            );
            build(tree.path())
        })
        .collect();
    assert!(built[0] == built[1]);
}

#[test]
fn what_a_package_was_built_from_comes_out_of_it() {
    let tree = Tree::new();
    tree.application("-Wl,-rpath,/usr/lib/app");
    tree.write(
        "package.toml",
        "[package]\nname = \"app\"\nversion = \"1\"\n[files]\n\"app\" = \"/usr/bin/\"\n\
         \"lib*.so.1\" = \"/usr/lib/app/\"\n[[process]]\nname = \"app\"\nexec = [\"/usr/bin/app\"]\n",
    );
    let bytes = build(tree.path());
    let mut reader = Reader::open(&bytes[..], Limits::default()).unwrap();
    let manifest = reader.packages()[0].manifest.clone();
    assert_eq!(manifest.processes.len(), 1);
    let mut objects = Vec::new();
    while let Some(object) = reader.next_object().unwrap() {
        objects.push(object.digest());
    }
    for name in ["app", "libx.so.1", "liby.so.1"] {
        let digest = Digest::of(&fs_err::read(tree.path().join(name)).unwrap());
        assert!(objects.contains(&digest), "{name}");
    }
    assert_eq!(objects.len(), 3);
}
