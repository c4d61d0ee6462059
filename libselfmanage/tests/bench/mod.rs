//! Trees of freshly compiled libraries, and a process of its own for each test.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeSet;
use std::ffi::{OsString, c_int};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use selfmanage::reload::{Outcome, Quiet, prepare};
use selfmanage::{Announcement, ChangeId, ChangedFile, PluginId, Plugins, Reason, Trust};

const ROW: &str = "SELFMANAGE_ROW";
const DIR: &str = "SELFMANAGE_ROW_DIR";

/// A library's source: `x_version` answers this number.
pub(crate) fn x(version: u32) -> String {
    format!("int x_version(void) {{ return {version}; }}")
}

/// A plugin's source: its own version, and that of the library below it.
pub(crate) fn plugin(version: u32) -> String {
    format!(
        "int x_version(void); int p_version(void) {{ return {version}; }} \
         int p_x(void) {{ return x_version(); }}"
    )
}

/// The static of an inline function is a symbol that the loader keeps unique, and forever.
pub(crate) fn cpp_with_unique(version: u32) -> String {
    format!(
        "inline int &one() {{ static int v = {version}; return v; }} \
         extern \"C\" int x_version() {{ return one(); }}"
    )
}

/// A plugin whose own thread calls the library below it, and ends when the plugin is closed: by
/// then the loader has already found the library in use.
pub(crate) fn plugin_with_a_thread(version: u32) -> String {
    let code = "#include <pthread.h>
        #include <semaphore.h>
        int x_version(void);
        static int x; static pthread_t thread; static sem_t made, end;
        static void *work(void *none) {
            x = x_version(); sem_post(&made); sem_wait(&end); return none;
        }
        int p_version(void) {
            if (!x) {
                sem_init(&made, 0, 0); sem_init(&end, 0, 0);
                pthread_create(&thread, 0, work, 0); sem_wait(&made);
            }
            return VERSION;
        }
        int p_x(void) { return x; }
        __attribute__((destructor)) static void stop(void) {
            if (x) { sem_post(&end); pthread_join(thread, 0); }
        }";
    code.replace("VERSION", &version.to_string())
}

/// A thread-local object with a destructor, made when `x_version` is first called in a thread.
pub(crate) fn cpp_with_thread_local(version: u32) -> String {
    format!(
        "struct D {{ volatile int v; ~D() {{ v = 0; }} }}; thread_local D d {{ {version} }}; \
         extern \"C\" int x_version() {{ return d.v; }}"
    )
}

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the libraries are the tests' own"
)]
pub(crate) fn trust() -> Trust {
    unsafe { Trust::promised() }
}

/// What the plugin and the library below it answer.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the libraries are the tests' own"
)]
pub(crate) fn versions(plugins: &Plugins, id: PluginId) -> (c_int, c_int) {
    let library = plugins.library(id).unwrap();
    unsafe {
        let p = library
            .symbol::<unsafe extern "C" fn() -> c_int>(c"p_version")
            .unwrap();
        let x = library
            .symbol::<unsafe extern "C" fn() -> c_int>(c"p_x")
            .unwrap();
        (p(), x())
    }
}

/// An application that notes what it was asked.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) refuse: Option<Reason>,
    pub(crate) quiesced: Vec<PluginId>,
    pub(crate) restored: Vec<PluginId>,
}

impl Quiet for App {
    fn quiesce(&mut self, _plugins: &Plugins, affected: &[PluginId]) -> Result<(), Reason> {
        self.quiesced.extend(affected);
        self.refuse.take().map_or(Ok(()), Err)
    }

    fn restore(&mut self, _plugins: &Plugins, affected: &[PluginId]) {
        self.restored.extend(affected);
    }
}

/// A directory of trees.
#[derive(Debug)]
pub(crate) struct Bench {
    dir: PathBuf,
}

/// Runs `test` in a fresh process with a mount namespace. The values of `env` are paths in the
/// bench's directory; a library that they
/// name is compiled beforehand, with version 1.
pub(crate) fn in_its_own_process(name: &str, env: &[(&str, &str)], test: impl FnOnce(&Bench)) {
    if std::env::var_os(ROW).is_some() {
        unshare(CloneFlags::CLONE_NEWNS).expect("needs root");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        test(&Bench {
            dir: std::env::var_os(DIR).unwrap().into(),
        });
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench {
        dir: dir.path().to_owned(),
    };
    for (_, value) in env {
        match value.split_once('/') {
            Some((tree, name)) => bench.cc(tree, name, &x(1), &[]),
            // The loader looks only once whether a directory of its search path is there.
            None => fs_err::create_dir(dir.path().join(value)).unwrap(),
        }
    }
    let env = env
        .iter()
        .map(|(key, value)| (*key, dir.path().join(value)));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROW, name)
        .env(DIR, dir.path())
        .envs(env)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}\n{text}",
        output.status
    );
}

impl Bench {
    /// The directory of all trees.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self, tree: &str, name: &str) -> PathBuf {
        self.dir.join(tree).join(name)
    }

    fn compile(&self, compiler: &str, to: (&str, &str), source: &str, flags: &[&str]) {
        let (tree, name) = to;
        let directory = self.dir.join(tree);
        fs_err::create_dir_all(&directory).unwrap();
        // A file of its own each time: what is mapped is never written over.
        let output = directory.join(format!("{name}.new"));
        let language = if compiler == "g++" { "c++" } else { "c" };
        let input = self.dir.join(format!("source.{language}"));
        fs_err::write(&input, source).unwrap();
        let status = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-x", language])
            .arg(&input)
            .args(["-x", "none", "-o"])
            .arg(&output)
            .arg(format!("-Wl,-soname,{name}"))
            .arg(format!("-L{}", directory.display()))
            .args(flags)
            .env_remove("LD_PRELOAD")
            .env_remove("LD_LIBRARY_PATH")
            .status()
            .unwrap();
        assert!(status.success(), "{compiler} could not make {name}");
        fs_err::rename(output, directory.join(name)).unwrap();
    }

    /// Compiles a library of this soname, with RUNPATH `$ORIGIN`.
    pub(crate) fn cc(&self, tree: &str, name: &str, source: &str, flags: &[&str]) {
        let flags = [&["-Wl,-rpath,$ORIGIN"], flags].concat();
        self.compile("gcc", (tree, name), source, &flags);
    }

    /// Compiles a library that leaves all to the loader's search path.
    pub(crate) fn cc_without_runpath(&self, tree: &str, name: &str, source: &str, flags: &[&str]) {
        self.compile("gcc", (tree, name), source, flags);
    }

    /// Compiles a C++ library.
    pub(crate) fn cpp(&self, tree: &str, name: &str, source: &str) {
        self.compile("g++", (tree, name), source, &[]);
    }

    /// The same files in another tree.
    pub(crate) fn keep(&self, from: &str, to: &str, names: &[&str]) {
        fs_err::create_dir_all(self.dir.join(to)).unwrap();
        for name in names {
            fs_err::hard_link(self.file(from, name), self.file(to, name)).unwrap();
        }
    }

    /// Moves files of one tree over those of another.
    pub(crate) fn rename_over(&self, from: &str, to: &str, names: &[&str]) {
        for name in names {
            fs_err::rename(self.file(from, name), self.file(to, name)).unwrap();
        }
    }

    pub(crate) fn remove(&self, tree: &str, name: &str) {
        fs_err::remove_file(self.file(tree, name)).unwrap();
    }

    /// Mounts a tree at `/opt`, on top of what is there.
    pub(crate) fn show(&self, tree: &str) {
        let none = None::<&str>;
        mount(
            Some(&self.dir.join(tree)),
            "/opt",
            none,
            MsFlags::MS_BIND,
            none,
        )
        .unwrap();
    }

    /// Shows a tree and opens a plugin of it; a plugin above a library answers 1 and 1.
    pub(crate) fn start(&self, tree: &str, path: &str) -> (Plugins, PluginId) {
        self.show(tree);
        let mut plugins = Plugins::new(trust());
        let id = plugins.open(path).unwrap();
        if path.ends_with("/p.so") {
            assert_eq!(versions(&plugins, id).0, 1);
            assert!([1, 9].contains(&versions(&plugins, id).1));
        }
        (plugins, id)
    }

    /// What changes between two trees.
    pub(crate) fn announcement(&self, old: &str, new: &str) -> Announcement {
        let file = |name: OsString| {
            let old = identity(&self.dir.join(old).join(&name));
            let new = identity(&self.dir.join(new).join(&name));
            let path = format!("/opt/{}", name.display()).parse().unwrap();
            (old != new).then_some(ChangedFile {
                path,
                old,
                new,
                library: true,
            })
        };
        let names: BTreeSet<OsString> = [old, new]
            .iter()
            .flat_map(|tree| self.names(tree))
            .collect();
        Announcement {
            change: ChangeId(1),
            entering: Vec::new(),
            leaving: Vec::new(),
            files: names.into_iter().filter_map(file).collect(),
        }
    }

    fn names(&self, tree: &str) -> Vec<OsString> {
        let entries = fs_err::read_dir(self.dir.join(tree)).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    /// The whole change: announced, prepared, shown, carried out.
    pub(crate) fn change(
        &self,
        old: &str,
        new: &str,
        plugins: &mut Plugins,
        app: &mut App,
    ) -> Outcome {
        let prepared = prepare(plugins, &self.announcement(old, new)).unwrap();
        self.show(new);
        prepared.changeover(plugins, app)
    }

    /// Proves from `/proc/self/maps`, by inode, that these files are not mapped.
    pub(crate) fn assert_unmapped(&self, tree: &str, names: &[&str]) {
        let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
        for name in names {
            let Some((_, inode)) = identity(&self.file(tree, name)) else {
                continue;
            };
            let inode = inode.to_string();
            let mapped = maps
                .lines()
                .any(|line| line.split(' ').nth(4) == Some(inode.as_str()));
            assert!(!mapped, "{tree}/{name} is still mapped:\n{maps}");
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs_err::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}
