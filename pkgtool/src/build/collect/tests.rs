use std::os::unix::fs::symlink;

use model::manifest::FileType;

use super::super::spec::parse;
use super::*;

/// A tree with these files; those that end in '/' are directories.
fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        if file.ends_with('/') {
            fs_err::create_dir_all(path).unwrap();
        } else {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, file).unwrap();
        }
    }
    dir
}

fn collected(dir: &Path, files: &str) -> Result<Vec<Staged>, Mistakes> {
    let text = format!("[package]\nname = \"a\"\nversion = \"1\"\n[files]\n{files}");
    let mut spec = parse(&dir.join("package.toml"), &text).unwrap();
    collect(&mut spec)
}

fn paths(staged: &[Staged]) -> Vec<&str> {
    staged.iter().map(|staged| staged.path.as_str()).collect()
}

#[track_caller]
fn refused(dir: &Path, files: &str, word: &str) {
    let mistakes = collected(dir, files).unwrap_err().to_string();
    assert!(mistakes.contains(word), "{word:?} is not in {mistakes}");
}

#[test]
fn names_patterns_and_directories_find_their_files() {
    let dir = tree(&[
        "bin/a",
        "lib/x.so.1",
        "lib/y.so",
        "lib/z.txt",
        "share/d/e",
        "share/empty/",
    ]);
    let staged = collected(
        dir.path(),
        "\"bin/a\" = \"/usr/bin/b\"\n\"lib/*.so*\" = \"/usr/lib/\"\n\"share\" = \"/usr/share/a\"",
    );
    assert_eq!(
        paths(&staged.unwrap()),
        [
            "/usr/bin/b",
            "/usr/lib/x.so.1",
            "/usr/lib/y.so",
            "/usr/share/a/d/e",
            "/usr/share/a/empty"
        ]
    );
}

#[test]
fn a_name_says_more_than_a_pattern_about_the_same_file() {
    let dir = tree(&["lib/x", "lib/y"]);
    let staged = collected(
        dir.path(),
        "\"lib/*\" = \"/usr/lib/\"\n\"lib/x\" = { to = \"/usr/lib/\", type = \"parser\" }",
    )
    .unwrap();
    let types: Vec<_> = staged
        .iter()
        .map(|staged| staged.declared.file_type)
        .collect();
    assert_eq!(types, [Some(FileType::Parser), None]);
}

#[test]
fn one_path_from_two_sources_is_refused_with_both() {
    let dir = tree(&["a/x", "b/x"]);
    refused(
        dir.path(),
        "\"a/x\" = \"/usr/\"\n\"b/x\" = \"/usr/\"",
        "/usr/x is there twice",
    );
    refused(
        dir.path(),
        "\"a/x\" = \"/usr/\"\n\"b/x\" = \"/usr/\"",
        ":6:",
    );
    refused(dir.path(), "\"*/x\" = \"/usr/\"", "twice");
}

#[test]
fn what_is_not_there_and_what_cannot_be_one_path_is_refused() {
    let dir = tree(&["a/x", "a/y"]);
    refused(dir.path(), "\"b/*\" = \"/usr/\"", "nothing matches \"b/*\"");
    refused(dir.path(), "\"a/*\" = \"/usr/z\"", "end it with '/'");
}

#[test]
fn links_are_kept_and_not_followed() {
    let dir = tree(&["lib/x.so.1", "elsewhere/file"]);
    symlink("x.so.1", dir.path().join("lib/x.so")).unwrap();
    symlink("../elsewhere", dir.path().join("lib/directory")).unwrap();
    symlink("nowhere", dir.path().join("lib/dangling")).unwrap();
    let staged = collected(dir.path(), "\"lib/*\" = \"/usr/lib/\"").unwrap();
    let links: Vec<_> = staged
        .iter()
        .filter(|staged| matches!(staged.content, Content::Link(_)))
        .map(|staged| staged.path.file_name())
        .collect();
    assert_eq!(links, ["dangling", "directory", "x.so"]);
    assert_eq!(staged.len(), 4);
}

#[test]
fn a_set_id_source_is_refused_unless_its_mode_is_spelled_out() {
    let dir = tree(&["su"]);
    let path = dir.path().join("su");
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o4755)).unwrap();
    refused(dir.path(), "\"su\" = \"/usr/bin/\"", "mode = \"4755\"");
    let staged = collected(
        dir.path(),
        "\"su\" = { to = \"/usr/bin/\", mode = \"4711\" }",
    );
    assert_eq!(staged.unwrap()[0].mode, 0o4711);
}

#[test]
fn modes_are_those_of_a_package_and_not_of_a_umask() {
    let dir = tree(&["program", "data"]);
    for (name, mode) in [("program", 0o700), ("data", 0o600)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(dir.path().join(name), permissions).unwrap();
    }
    let staged = collected(dir.path(), "\"*\" = \"/usr/\"").unwrap();
    let modes: Vec<u32> = staged.iter().map(|staged| staged.mode).collect();
    assert_eq!(modes, [0o644, 0o755]);
}

#[test]
fn devices_pipes_and_sockets_are_refused() {
    let dir = tree(&["x/"]);
    let at = |name: &str| dir.path().join("x").join(name);
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    refused(dir.path(), "\"x/pipe\" = \"/usr/\"", "is a pipe");
    refused(dir.path(), "\"x\" = \"/usr/x\"", "is a socket");
    refused(
        Path::new("/"),
        "\"dev/null\" = \"/usr/\"",
        "is a device node",
    );
}
