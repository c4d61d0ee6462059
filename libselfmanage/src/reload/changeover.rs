//! The reload itself: close, prove, open, prove, or go back to what was there.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use fs_err::File;
use model::report::Chain;

use super::{Decision, Obstacle, Steps, decide, old_libraries};
use crate::link::{self, Graph, Object, maps};
use crate::plugins::{PluginId, Plugins};
use crate::session::Reason;
use crate::sys::loader::{self, Library, LoaderError};
use crate::{Announcement, ChangedFile, PackagePath};

/// Libraries of the C library that do nothing by themselves and that hardly anything still uses.
const STUBS: [&CStr; 5] = [
    c"libutil.so.1",
    c"libanl.so.1",
    c"librt.so.1",
    c"libdl.so.2",
    c"libBrokenLocale.so.1",
];

/// The application's part in a reload.
pub trait Quiet {
    /// Makes the plugins quiet and saves what they hold: when it returns, no thread runs in any of
    /// `affected`, their threads have been joined, and no address in them is kept. A refusal means
    /// a restart.
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    fn quiesce(&mut self, plugins: &Plugins, affected: &[PluginId]) -> Result<(), Reason>;

    /// Takes the plugins into use again: looks their symbols up and gives back what was saved. They
    /// are the new ones, or the old ones where the reload failed; one whose file is gone is not open.
    fn restore(&mut self, plugins: &Plugins, affected: &[PluginId]);
}

/// How a reload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of the change is loaded here.
    Untouched,
    /// These plugins, and all below them, run on the new files, proven from `/proc/self/maps`.
    Reloaded(Vec<PluginId>),
    /// Only a restart brings the new files; until then the old ones run.
    Restart(Reason),
}

/// A change that this process is ready for: what was announced, and the files to go back to.
#[derive(Debug)]
pub struct Prepared {
    announcement: Announcement,
    originals: Vec<Original>,
}

/// A file that an object was loaded from, to open it again should the change not work out.
#[derive(Debug)]
struct Original {
    file: OwnedFd,
    plugin: Option<PluginId>,
}

/// Makes ready for a change: to be called before saying *ready and waiting*, while paths still
/// name the old files. Dropping the answer is all that an aborted change needs.
///
/// # Errors
///
/// `/proc/self/maps` cannot be read.
pub fn prepare(plugins: &Plugins, announcement: &Announcement) -> io::Result<Prepared> {
    let graph = link::snapshot()?;
    let roots = plugins.roots(&graph);
    let originals = match decide(&graph, &old_libraries(announcement), &roots) {
        Decision::Reload(steps) => originals(&graph, &roots, &steps),
        Decision::Untouched | Decision::Restart(_) => Vec::new(),
    };
    Ok(Prepared {
        announcement: announcement.clone(),
        originals,
    })
}

/// The files of the plugins to be closed and of all that comes with them, in opening order. A
/// file that is no longer at its path is left out: what cannot be held cannot be gone back to.
fn originals(graph: &Graph, roots: &[(PluginId, usize)], steps: &Steps) -> Vec<Original> {
    let stays: BTreeSet<usize> = graph.closure(0).into_iter().collect();
    let closed = roots
        .iter()
        .filter(|(plugin, _)| steps.close.contains(plugin));
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for at in closed.flat_map(|(_, root)| graph.closure(*root)) {
        if stays.contains(&at) || !seen.insert(at) {
            continue;
        }
        let plugin = roots
            .iter()
            .find(|(_, root)| *root == at)
            .map(|(plugin, _)| *plugin);
        let object = graph.objects().get(at);
        if let Some(file) = object.and_then(hold) {
            all.push(Original { file, plugin });
        }
    }
    all
}

/// The file of an object. Its paths are only where to look: the file itself is what counts.
fn hold(object: &Object) -> Option<OwnedFd> {
    let at = |path: &PathBuf| {
        let file = File::open(path).ok()?;
        let found = file.metadata().ok()?;
        (Some((found.dev(), found.ino())) == object.identity).then(|| file.into_file().into())
    };
    // What was mapped from a tree that has been taken away has lost the front of its path in maps.
    [&object.path, &object.name].into_iter().find_map(at)
}

/// The change as it stands at this moment, from what is gone to what is there: where it has been
/// taken back, the old files are there and the new ones are gone.
fn settled(mut announcement: Announcement) -> Announcement {
    for file in &mut announcement.files {
        let found = fs_err::metadata(file.path.as_str()).ok();
        let here = found.map(|found| (found.dev(), found.ino()));
        if here == file.old && here != file.new {
            std::mem::swap(&mut file.old, &mut file.new);
        }
    }
    announcement
}

impl Prepared {
    /// What was announced.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Swaps the plugins: to be called when told that the change has happened, when paths name
    /// the new files, or the old ones again where it was taken back. Whatever the outcome, the
    /// plugins can be used when it returns.
    pub fn changeover(mut self, plugins: &mut Plugins, app: &mut (impl Quiet + ?Sized)) -> Outcome {
        self.announcement = settled(self.announcement);
        let steps = match plugins.decide(&self.announcement) {
            Ok(Decision::Untouched) => return Outcome::Untouched,
            Ok(Decision::Restart(obstacle)) => return Outcome::Restart((&obstacle).into()),
            Ok(Decision::Reload(steps)) => steps,
            Err(error) => return restart(&Failure::Maps(error)),
        };
        if let Err(reason) = app.quiesce(plugins, &steps.close) {
            return Outcome::Restart(reason);
        }
        let outcome = match self.swap(plugins, &steps) {
            Ok(()) => Outcome::Reloaded(steps.close.clone()),
            Err(failure) => {
                self.go_back(plugins, &steps);
                restart(&failure)
            }
        };
        app.restore(plugins, &steps.close);
        outcome
    }

    fn swap(&self, plugins: &mut Plugins, steps: &Steps) -> Result<(), Failure> {
        for plugin in &steps.close {
            close(plugins, *plugin);
        }
        let pinned = self.still_mapped()?;
        if !pinned.is_empty() {
            // Thread-local destructors keep a library until the loader looks again after their
            // thread has ended, which it does only when something else is closed.
            sweep();
            let pinned = self.still_mapped()?;
            if !pinned.is_empty() {
                return Err(Failure::Pinned(Obstacle::Pinned(pinned)));
            }
        }
        let mut below = Vec::new();
        let opened = self
            .open_new(plugins, steps, &mut below)
            .and_then(|()| self.verify(plugins));
        // The plugins hold what they need now; a handle too many would pin it at the next change.
        for library in below {
            let _closed = library.close();
        }
        opened
    }

    /// Opens the changed libraries by absolute path, which beats every search rule, then plugins.
    fn open_new(
        &self,
        plugins: &mut Plugins,
        steps: &Steps,
        below: &mut Vec<Library>,
    ) -> Result<(), Failure> {
        let trust = plugins.trust;
        for path in steps
            .libraries
            .iter()
            .filter(|path| self.stays(path.as_str().as_ref()))
        {
            let is_plugin = plugins
                .all
                .iter()
                .any(|plugin| plugin.path == Path::new(path.as_str()));
            if !is_plugin {
                below.push(open(path.as_str().as_ref(), trust)?);
            }
        }
        for plugin in steps.close.iter().rev() {
            if let Some(plugin) = plugins.all.get_mut(plugin.0)
                && self.stays(&plugin.path)
            {
                plugin.library = Some(open(&plugin.path, trust)?);
            }
        }
        Ok(())
    }

    /// Whether there is a file at this path after the change.
    fn stays(&self, path: &Path) -> bool {
        !self
            .file(path)
            .is_some_and(|file| file.new.is_none() && file.old.is_some())
    }

    fn file(&self, path: &Path) -> Option<&ChangedFile> {
        self.announcement
            .files
            .iter()
            .find(|file| Path::new(file.path.as_str()) == path)
    }

    /// Proof that no old file is loaded and that what came from a changed path is the new file.
    fn verify(&self, plugins: &Plugins) -> Result<(), Failure> {
        let pinned = self.still_mapped()?;
        if !pinned.is_empty() {
            return Err(Failure::Pinned(Obstacle::Pinned(pinned)));
        }
        let graph = link::snapshot().map_err(Failure::Maps)?;
        let roots = plugins.roots(&graph);
        for at in roots.iter().flat_map(|(_, root)| graph.closure(*root)) {
            let Some(object) = graph.objects().get(at) else {
                continue;
            };
            let expected = self.file(&object.path).and_then(|file| file.new);
            if expected.is_some() && object.identity != expected {
                return Err(Failure::OtherFile(object.path.clone()));
            }
        }
        Ok(())
    }

    /// Changed libraries whose old file is mapped.
    fn still_mapped(&self) -> Result<Vec<PackagePath>, Failure> {
        let old = old_libraries(&self.announcement);
        let maps = maps::read().map_err(Failure::Maps)?;
        let mapped: BTreeSet<&PackagePath> = maps
            .iter()
            .filter_map(|mapping| old.get(&mapping.identity))
            .collect();
        Ok(mapped.into_iter().cloned().collect())
    }

    /// Opens the old files again. What did not go away is found by its file and stays itself.
    fn go_back(self, plugins: &mut Plugins, steps: &Steps) {
        for plugin in &steps.close {
            close(plugins, *plugin);
        }
        let mut below = Vec::new();
        for original in self.originals {
            let path = PathBuf::from(format!("/proc/self/fd/{}", original.file.as_raw_fd()));
            let library = Library::open(&path, plugins.trust).ok();
            // The loader knows the object by this name from now on: the number must stay taken.
            plugins.held.push(original.file);
            let plugin = original
                .plugin
                .and_then(|plugin| plugins.all.get_mut(plugin.0));
            match (plugin, library) {
                (Some(plugin), library) => plugin.library = library,
                (None, Some(library)) => below.push(library),
                (None, None) => {}
            }
        }
        for library in below {
            let _closed = library.close();
        }
    }
}

fn close(plugins: &mut Plugins, plugin: PluginId) {
    let library = plugins
        .all
        .get_mut(plugin.0)
        .and_then(|plugin| plugin.library.take());
    // What `dlclose` answers says nothing about what is loaded; maps do.
    let _closed = library.map(Library::close);
}

fn open(path: &Path, trust: crate::Trust) -> Result<Library, Failure> {
    Library::open(path, trust).map_err(|source| Failure::Open {
        path: path.to_owned(),
        source,
    })
}

/// Makes the loader look for what may go: it does so when a library really goes.
fn sweep() {
    let _swept = STUBS
        .iter()
        .find(|stub| !loader::is_loaded(stub) && loader::open_and_close(stub));
}

fn restart(failure: &Failure) -> Outcome {
    Outcome::Restart(Reason::clipped(&Chain(failure).to_string()))
}

/// Why a reload did not work out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("could not read what is mapped")]
    Maps(#[source] io::Error),
    #[error("{0}")]
    Pinned(Obstacle),
    #[error("could not open {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: LoaderError,
    },
    #[error("{0} is not the file that was announced")]
    OtherFile(PathBuf),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => f.write_str("untouched"),
            Self::Reloaded(plugins) => write!(f, "reloaded {} plugins", plugins.len()),
            Self::Restart(reason) => write!(f, "needs a restart: {reason}"),
        }
    }
}
