use std::cell::RefCell;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::rc::Rc;

use model::envelope::{Limits, Reader};

use super::*;
use crate::outcome::Kind;

/// What was printed.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A package `name` of one file below `directory`, with these further lines.
fn package(directory: &Path, name: &str, more: &str) -> PathBuf {
    let directory = directory.join(name);
    fs_err::create_dir_all(&directory).unwrap();
    fs_err::write(directory.join("data"), name).unwrap();
    let text = format!(
        "[package]\nname = \"{name}\"\nversion = \"1:2-3\"\n[files]\n\
         \"data\" = \"/usr/share/{name}/\"\n{more}"
    );
    fs_err::write(directory.join("package.toml"), text).unwrap();
    directory
}

/// Runs the command; what it printed.
fn build(sources: &[&Path], output: Option<PathBuf>) -> Result<String, CommandError> {
    let paper = Paper::default();
    let out = Box::new(paper.clone());
    let mut show = Show::into_writers(out, Box::new(std::io::sink()), Look::plain(80), false);
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    let sign = None;
    run(
        &BuildArgs {
            sources,
            output,
            sign,
        },
        &mut show,
    )?;
    let bytes = paper.0.borrow().clone();
    Ok(String::from_utf8(bytes).unwrap())
}

#[track_caller]
fn refused(more: &str, prepare: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let source = package(dir.path(), "a", more);
    prepare(&source);
    let out = dir.path().join("out.pkg");
    let error = build(&[&source], Some(out.clone())).unwrap_err();
    assert_eq!(error.kind, Kind::Failed);
    assert!(!out.exists(), "a refused package was written");
    let text = error.error.to_string();
    text.replace(&format!("{}/", source.display()), "")
}

#[test]
fn one_package_and_a_set_are_built_and_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (package(dir.path(), "a", ""), package(dir.path(), "b", ""));
    let out = dir.path().join("set.pkg");
    let text = build(&[&a, &b.join("package.toml")], Some(out.clone())).unwrap();
    assert!(
        text.starts_with("a 1:2-3: 1 B in 1 file\nb 1:2-3: 1 B in 1 file\n"),
        "{text}"
    );
    let reader = Reader::open(fs_err::File::open(&out).unwrap(), Limits::default()).unwrap();
    let names: Vec<String> = reader
        .packages()
        .iter()
        .map(|package| package.id.name_version())
        .collect();
    assert_eq!(names, ["a=1:2-3", "b=1:2-3"]);
    let error = build(&[&a, &b], None).unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
}

#[test]
fn the_name_of_a_package_file_has_no_colon() {
    let manifest = Manifest::new("a".parse().unwrap(), "1:2-3".parse().unwrap());
    assert_eq!(file_name(&manifest), "a_1%3a2-3.pkg");
}

#[test]
fn what_the_files_show_is_refused_with_file_and_line_all_at_once() {
    let more = "\"link\" = \"/usr/lib/\"\n\"sub/../evil\" = \"/usr/lib/data/x\"\n\
                [[process]]\nname = \"p\"\nexec = [\"/usr/share/a/data\"]\nafter = [\"q\"]\n\
                [[process]]\nname = \"q\"\nexec = [\"q\"]\nafter = [\"p\"]\n\
                [[dlopen]]\nfile = \"/usr/lib/nothing\"\nlibraries = []\n";
    let text = refused(more, |source| {
        symlink("../../../home/user", source.join("link")).unwrap();
        fs_err::create_dir(source.join("sub")).unwrap();
        fs_err::write(source.join("evil"), "").unwrap();
    });
    insta::assert_snapshot!(text, @r#"
    package.toml has 5 mistakes
      package.toml:6: /usr/lib/link: links to "../../../home/user", which is outside of /usr, /opt, /etc, /run, /var and /dev/null
      package.toml:8: process p: 'exec' is /usr/share/a/data, a file of this package that has no execute permission
      package.toml:8: process p: is started after itself: p after q after p
      package.toml:12: process q: 'exec' begins with "q", which is no absolute path
      package.toml:16: dlopen of /usr/lib/nothing: the package has no such file
    "#);
}

#[test]
fn a_program_of_another_architecture_than_the_package_names_is_refused() {
    let text = refused("\"sh\" = \"/usr/bin/\"\n", |source| {
        fs_err::copy("/bin/sh", source.join("sh")).unwrap();
        let toml = source.join("package.toml");
        let text = fs_err::read_to_string(&toml).unwrap();
        let text = text.replace("[files]", "architecture = \"m68k\"\n[files]");
        fs_err::write(toml, text).unwrap();
    });
    assert!(
        text.starts_with("package.toml:7: /usr/bin/sh: is for "),
        "{text}"
    );
    assert!(text.ends_with("in a package for m68k"), "{text}");
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = build(&[dir.path()], None).unwrap_err();
    assert!(
        error.error.to_string().contains("package.toml"),
        "{:?}",
        error.error
    );
    assert!(!error.hints.is_empty());
}
