//! `import-deb` on packages that dpkg-deb built, on hostile ones, and on Debian's own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use model::Manifest;
use model::envelope::{Limits, Reader};
use model::manifest::{FileEntry, FileType, Node};
use model::process::Ready;
use pkgtool::build::debian::{self, DebError, archive};

const UNIT: &str = "\
[Unit]
Description=a daemon
After=network.target other.service
[Service]
Type=notify
ExecStart=/sbin/demod --flag 'two words'
User=demo
StateDirectory=demo
Restart=on-failure
NoNewPrivileges=true
[Install]
WantedBy=multi-user.target
";

/// A tree for dpkg-deb: one of everything that an import treats differently.
fn demo_tree(root: &Path) {
    let put = |path: &str, mode: u32, text: &str| {
        let at = root.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
        fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    put(
        "DEBIAN/control",
        0o644,
        "Package: demo\nVersion: 1:2.0-3\nArchitecture: all\n\
        Maintainer: a <a@example.org>\nPre-Depends: libc6 (>= 2.34)\nDepends: other (<< 3) | virtual\n\
        Provides: virtual-demo (= 2)\nConflicts: rival\nDescription: a demo\n More.\n",
    );
    put("DEBIAN/conffiles", 0o644, "/etc/demo.conf\n");
    put(
        "DEBIAN/postinst",
        0o755,
        "#!/bin/sh\ntouch /tmp/import-deb-ran-a-script\n",
    );
    put("sbin/demod", 0o755, "#!/bin/sh\nexec sleep 1000\n");
    put("usr/bin/demo", 0o755, "#!/bin/sh\n");
    put("usr/lib/demo/data", 0o640, "data");
    put("usr/share/doc/demo/copyright", 0o644, "free");
    put("etc/demo.conf", 0o640, "x=1\n");
    put("lib/systemd/system/demo.service", 0o644, UNIT);
    put(
        "usr/lib/tmpfiles.d/demo.conf",
        0o644,
        "d /run/demo 0750 demo demo -\n",
    );
    put(
        "usr/lib/sysusers.d/demo.conf",
        0o644,
        "u demo - \"A demo\" /var/lib/demo\n",
    );
    fs::create_dir_all(root.join("var/log/demo")).unwrap();
    fs::hard_link(
        root.join("usr/lib/demo/data"),
        root.join("usr/lib/demo/same"),
    )
    .unwrap();
    std::os::unix::fs::symlink("demo", root.join("usr/bin/alias")).unwrap();
}

fn build(root: &Path, packing: &str) -> PathBuf {
    let deb = root.with_extension(format!("{packing}.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", &format!("-Z{packing}"), "--build"])
        .arg(root)
        .arg(&deb);
    let output = dpkg.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    deb
}

fn import(arguments: &[&str], packages: &[&Path]) -> Output {
    let mut pkgtool = Command::new(env!("CARGO_BIN_EXE_pkgtool"));
    pkgtool
        .arg("import-deb")
        .args(arguments)
        .args(packages)
        .output()
        .unwrap()
}

fn manifests(file: &Path) -> Vec<Manifest> {
    let mut reader = Reader::open(fs::File::open(file).unwrap(), Limits::default()).unwrap();
    while let Some(object) = reader.next_object().unwrap() {
        object.into_bytes().unwrap();
    }
    reader
        .packages()
        .iter()
        .map(|package| package.manifest.clone())
        .collect()
}

fn entry<'a>(manifest: &'a Manifest, path: &str) -> &'a FileEntry {
    manifest
        .files
        .iter()
        .find(|entry| entry.path.as_str() == path)
        .unwrap()
}

#[test]
fn a_package_is_the_same_however_it_was_compressed() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("demo");
    demo_tree(&root);
    let mut seen: Option<Manifest> = None;
    for packing in ["none", "gzip", "xz", "zstd"] {
        let deb = build(&root, packing);
        let out = place.path().join(packing);
        let output = import(&["-o", out.to_str().unwrap()], &[&deb]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut manifest = manifests(&out.join("demo_1%3a2.0-3.pkg")).remove(0);
        // The first note names the very file that it came from.
        manifest.notes.remove(0);
        assert_eq!(
            *seen.get_or_insert_with(|| manifest.clone()),
            manifest,
            "{packing}"
        );
    }
    let manifest = seen.unwrap();
    check_demo(&manifest);
    assert!(!Path::new("/tmp/import-deb-ran-a-script").exists());
}

fn check_demo(manifest: &Manifest) {
    let requires: Vec<String> = manifest.requires.iter().map(ToString::to_string).collect();
    assert_eq!(requires, ["libc6 >= 2.34", "other < 3 | virtual"]);
    assert_eq!(manifest.provides[0].name.as_str(), "virtual-demo");
    assert_eq!(entry(manifest, "/usr/sbin/demod").mode, 0o755);
    let Node::File(config) = &entry(manifest, "/etc/demo.conf").node else {
        panic!("no file")
    };
    assert_eq!(config.file_type, FileType::Config);
    assert_eq!(entry(manifest, "/etc/demo.conf").mode, 0o640);
    let (Node::File(one), Node::File(two)) = (
        &entry(manifest, "/usr/lib/demo/data").node,
        &entry(manifest, "/usr/lib/demo/same").node,
    ) else {
        panic!("hard links are two files")
    };
    assert_eq!(one.digest, two.digest);
    assert_eq!(
        entry(manifest, "/usr/bin/alias").node,
        Node::Link {
            target: "demo".into()
        }
    );
    let process = &manifest.processes[0];
    assert_eq!(process.exec, ["/usr/sbin/demod", "--flag", "two words"]);
    assert_eq!(process.ready, Ready::Notify);
    assert_eq!(process.after, ["other".parse().unwrap()]);
    assert_eq!(
        manifest.setup.users[0].home.as_deref(),
        Some("/var/lib/demo")
    );
    let directories: Vec<&str> = manifest
        .setup
        .directories
        .iter()
        .map(|one| one.path.as_str())
        .collect();
    assert_eq!(directories, ["/var/log/demo", "/run/demo"]);
    for note in [
        "Conflicts: rival",
        "not run: postinst",
        "NoNewPrivileges=true",
        "After=network.target",
    ] {
        assert!(
            manifest.notes.iter().any(|one| one.contains(note)),
            "{note}: {:?}",
            manifest.notes
        );
    }
}

#[test]
fn what_is_there_already_is_not_made_again_unless_the_rules_changed() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("demo");
    demo_tree(&root);
    let deb = build(&root, "none");
    let out = place.path().join("out");
    let rules = place.path().join("rules");
    fs::create_dir_all(&rules).unwrap();
    let run = || {
        let arguments = [
            "--json",
            "-o",
            out.to_str().unwrap(),
            "--overrides",
            rules.to_str().unwrap(),
        ];
        let output = import(&arguments, &[&deb]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["packages"][0]["unchanged"].as_bool().unwrap()
    };
    assert!(!run());
    assert!(run());
    fs::write(
        rules.join("demo.toml"),
        "[process.demo]\nset = { stop-timeout = '3s' }\n",
    )
    .unwrap();
    assert!(!run());
    assert!(run());
    let file = out.join("demo_1%3a2.0-3.pkg");
    assert_eq!(
        manifests(&file)[0].processes[0].stop_timeout,
        "3s".parse().unwrap()
    );
    fs::write(&file, "truncated").unwrap();
    assert!(!run());
}

#[test]
fn a_set_holds_all_packages_in_one_file() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("demo");
    demo_tree(&root);
    let first = build(&root, "none");
    let control = fs::read_to_string(root.join("DEBIAN/control")).unwrap();
    fs::write(
        root.join("DEBIAN/control"),
        control.replace("2.0-3", "2.0-4"),
    )
    .unwrap();
    let second = build(&root, "gzip");
    let set = place.path().join("all.pkg");
    let output = import(&["--set", set.to_str().unwrap()], &[&first, &second]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let versions: Vec<String> = manifests(&set)
        .iter()
        .map(|manifest| manifest.version.to_string())
        .collect();
    assert_eq!(versions, ["1:2.0-3", "1:2.0-4"]);
}

/// A `.deb` of these two tar archives.
fn deb(control: &[u8], data: (&str, &[u8])) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar", control),
        data,
    ] {
        writeln!(
            bytes,
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
            0,
            0,
            0,
            100_644,
            content.len()
        )
        .unwrap();
        bytes.extend_from_slice(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn control_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let text = b"Package: evil\nVersion: 1\nArchitecture: all\nDescription: evil\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "./control", text.as_slice())
        .unwrap();
    tar.into_inner().unwrap()
}

/// Kind, name as it is, link.
type RawTar<'a> = (tar::EntryType, &'a str, &'a str);

/// A tar archive of raw entries.
fn data_tar(entries: &[RawTar<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn read(bytes: &[u8], limits: debian::Limits) -> Result<debian::RawPackage, DebError> {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("evil.deb");
    fs::write(&file, bytes).unwrap();
    let spool = place.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let read = archive::read(&file, &spool, limits);
    assert!(
        fs::read_dir(place.path()).unwrap().count() == 2,
        "something was written beside the spool"
    );
    read
}

#[test]
fn hostile_entries_are_refused_by_name() {
    use tar::EntryType as Kind;
    let cases: [(&[RawTar<'_>], &str); 9] = [
        (&[(Kind::Regular, "./usr/../../etc/passwd", "")], "'..'"),
        (&[(Kind::Regular, "/etc/passwd", "")], "relative"),
        (&[(Kind::Char, "./dev/null", "")], "no devices"),
        (&[(Kind::Block, "./usr/sda", "")], "no devices"),
        (&[(Kind::Fifo, "./usr/pipe", "")], "no devices"),
        (&[(Kind::Link, "./usr/a", "/etc/shadow")], "relative"),
        (
            &[(Kind::Link, "./usr/a", "./etc/shadow")],
            "no earlier file",
        ),
        (
            &[
                (Kind::Regular, "./usr/a", ""),
                (Kind::Regular, "./usr/a", ""),
            ],
            "twice",
        ),
        (&[(Kind::Regular, "./usr/a\nb", "")], "control characters"),
    ];
    for (entries, reason) in cases {
        let bytes = deb(&control_tar(), ("data.tar", &data_tar(entries)));
        let error = read(&bytes, debian::Limits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{entries:?}: {error}");
    }
}

#[test]
fn a_file_below_a_link_is_refused_and_nothing_is_made() {
    use tar::EntryType as Kind;
    let place = tempfile::tempdir().unwrap();
    let entries = [
        (Kind::Symlink, "./usr/lib/evil", "/etc"),
        (Kind::Regular, "./usr/lib/evil/passwd", ""),
    ];
    let file = place.path().join("evil.deb");
    fs::write(
        &file,
        deb(&control_tar(), ("data.tar", &data_tar(&entries))),
    )
    .unwrap();
    let out = place.path().join("out");
    let output = import(&["-o", out.to_str().unwrap()], &[&file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/usr/lib/evil/passwd"));
    assert_eq!(fs::read_dir(out).map_or(0, Iterator::count), 0);
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0_u8; 4 << 20];
    let packed = zstd::encode_all(zeros.as_slice(), 19).unwrap();
    let small = debian::Limits {
        expanded: 1 << 20,
        ..debian::Limits::default()
    };
    // A tar archive ends at two blocks of zeros; a file's bytes go on.
    let mut header = tar::Header::new_gnu();
    header.set_path("usr/zeros").unwrap();
    header.set_size(zeros.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let plain = [header.as_bytes().as_slice(), &zeros].concat();
    let bomb = zstd::encode_all(plain.as_slice(), 19).unwrap();
    assert!(bomb.len() < 8192 && packed.len() < 8192);
    let error = read(&deb(&control_tar(), ("data.tar.zst", &bomb)), small).unwrap_err();
    assert!(
        error.to_string().contains("expands to more than"),
        "{error}"
    );
    let few = debian::Limits {
        entries: 2,
        ..debian::Limits::default()
    };
    let many = data_tar(&[
        (tar::EntryType::Directory, "./a", ""),
        (tar::EntryType::Directory, "./b", ""),
        (tar::EntryType::Directory, "./c", ""),
    ]);
    let error = read(&deb(&control_tar(), ("data.tar", &many)), few).unwrap_err();
    assert!(error.to_string().contains("archive entries"), "{error}");
}

#[test]
fn a_long_name_is_bounded_before_it_is_read() {
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(8 << 30);
    header.set_cksum();
    let bytes = deb(&control_tar(), ("data.tar", header.as_bytes()));
    let error = read(&bytes, debian::Limits::default()).unwrap_err();
    assert!(error.to_string().contains("bytes of a name"), "{error}");
}

#[test]
fn broken_packages_are_errors_and_never_panics() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("demo");
    demo_tree(&root);
    for packing in ["none", "gzip", "xz", "zstd"] {
        let whole = fs::read(build(&root, packing)).unwrap();
        read(&whole, debian::Limits::default()).unwrap();
        for cut in (0..whole.len().saturating_sub(600)).step_by(61) {
            read(&whole[..cut], debian::Limits::default()).unwrap_err();
        }
        for at in (0..whole.len()).step_by(37) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            // Some flips are in padding or contents: then it reads, else it says why not.
            drop(read(&flipped, debian::Limits::default()));
        }
    }
    for (bytes, reason) in [
        (b"".as_slice(), "shorter"),
        (b"not an archive at all", "ar archive"),
        (b"!<arch>\n", "debian-binary"),
    ] {
        let error = read(bytes, debian::Limits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    let odd = deb(&control_tar(), ("data.tar.lz4", b"x"));
    let error = read(&odd, debian::Limits::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("repack"), "{error}");
}

#[test]
fn an_unknown_package_is_an_error_that_names_the_next_step() {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let mut pkgtool = Command::new(env!("CARGO_BIN_EXE_pkgtool"));
    pkgtool.args([
        "import-deb",
        "--cache",
        cache.to_str().unwrap(),
        "no-such-package-anywhere",
    ]);
    let output = pkgtool.current_dir(place.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no-such-package-anywhere") && said.contains("apt-get update"),
        "{said}"
    );
}

#[test]
fn an_installed_package_is_read_from_the_machine() {
    let place = tempfile::tempdir().unwrap();
    let mut pkgtool = Command::new(env!("CARGO_BIN_EXE_pkgtool"));
    pkgtool
        .args(["import-deb", "--json", "--installed", "libc-bin", "-o"])
        .arg(place.path());
    let output = pkgtool.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = PathBuf::from(report["packages"][0]["file"].as_str().unwrap());
    let manifest = manifests(&file).remove(0);
    assert_eq!(entry(&manifest, "/usr/sbin/ldconfig").mode & 0o777, 0o755);
}

/// What `import-deb --closure memcached --json` says, with its packages below `place`.
fn closure_of_memcached(place: &Path) -> serde_json::Value {
    let known = Command::new("apt-cache")
        .args(["show", "memcached"])
        .output()
        .unwrap();
    assert!(
        known.status.success(),
        "apt does not know memcached here: apt-get update"
    );
    let (out, cache) = (place.join("out"), place.join("cache"));
    let mut pkgtool = Command::new(env!("CARGO_BIN_EXE_pkgtool"));
    pkgtool.args([
        "import-deb",
        "--json",
        "--closure",
        "memcached",
        "--without-docs",
    ]);
    pkgtool.arg("--cache").arg(&cache).arg("-o").arg(&out);
    let output = pkgtool.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Debian's own memcached with its closure: complete, and with the process as its unit has it.
#[test]
fn a_real_closure_is_complete() {
    let place = tempfile::tempdir().unwrap();
    let report = closure_of_memcached(place.path());
    assert_eq!(report["missing-libraries"], serde_json::json!([]));
    assert_eq!(report["missing-programs"], serde_json::json!([]));
    let packages = report["packages"].as_array().unwrap();
    for name in ["memcached", "libc6", "perl", "bash", "coreutils"] {
        assert!(
            packages.iter().any(|package| package["name"] == name),
            "{name}"
        );
    }
    let memcached = packages
        .iter()
        .find(|package| package["name"] == "memcached")
        .unwrap();
    let manifest = manifests(Path::new(memcached["file"].as_str().unwrap())).remove(0);
    let requires = |wanted: &str| {
        manifest
            .requires
            .iter()
            .any(|one| one.to_string() == wanted)
    };
    assert!(
        requires("dash") && requires("coreutils"),
        "a shell and the basic tools"
    );
    let process = &manifest.processes[0];
    assert_eq!(
        process.exec[0],
        "/usr/share/memcached/scripts/systemd-memcached-wrapper"
    );
    assert_eq!(manifest.dlopen[0].libraries, ["/usr/bin/memcached"]);
    assert!(
        manifest
            .files
            .iter()
            .any(|file| file.path.as_str() == "/etc/memcached.conf")
    );
    assert!(
        manifest
            .setup
            .users
            .iter()
            .any(|user| user.name == "memcache")
    );
}
