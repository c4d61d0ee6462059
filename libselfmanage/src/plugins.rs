//! The shared libraries that a program opens itself, so that they can be closed and opened again.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::Announcement;
use crate::link::{self, Graph};
use crate::reload::{self, Decision, Reached};
use crate::sys::loader::{Library, LoaderError, Trust};

/// One plugin for as long as its [`Plugins`] lives; the same before and after it is reloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId(pub(crate) usize);

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// A path that depends on search rules or the working directory says nothing about a file.
    #[error("plugin path {0} is not absolute: give the path that the package installs it at")]
    NotAbsolute(PathBuf),
    /// The loader's refusal.
    #[error("could not open plugin {path}")]
    Open {
        /// The plugin.
        path: PathBuf,
        /// What the loader says.
        #[source]
        source: LoaderError,
    },
    /// It was closed, and could not be opened again.
    #[error("plugin {0} is not open")]
    NotOpen(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) path: PathBuf,
    pub(crate) library: Option<Library>,
}

/// The plugins of a program. Dropping it closes none of them.
#[derive(Debug)]
pub struct Plugins {
    pub(crate) trust: Trust,
    pub(crate) all: Vec<Plugin>,
    /// Files that objects were opened from by descriptor: the loader knows these by a name that
    /// holds only while the descriptor is open.
    pub(crate) held: Vec<OwnedFd>,
}

impl Plugins {
    /// None yet.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            all: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Opens a plugin by its absolute path, all symbols bound now and none given to others
    /// (`RTLD_NOW | RTLD_LOCAL`). A second call for the same path gives the same plugin.
    ///
    /// # Errors
    ///
    /// The path is not absolute, or the loader refuses.
    pub fn open(&mut self, path: impl AsRef<Path>) -> Result<PluginId, PluginError> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(PluginError::NotAbsolute(path.to_owned()));
        }
        let known = self.all.iter().position(|plugin| plugin.path == path);
        let index = known.unwrap_or_else(|| {
            self.all.push(Plugin {
                path: path.to_owned(),
                library: None,
            });
            self.all.len() - 1
        });
        match self.all.get_mut(index) {
            Some(plugin) if plugin.library.is_none() => match Library::open(path, self.trust) {
                Ok(library) => plugin.library = Some(library),
                Err(source) if known.is_none() => {
                    self.all.pop();
                    return Err(PluginError::Open {
                        path: path.to_owned(),
                        source,
                    });
                }
                Err(source) => {
                    return Err(PluginError::Open {
                        path: path.to_owned(),
                        source,
                    });
                }
            },
            _ => {}
        }
        Ok(PluginId(index))
    }

    /// The plugins that are open.
    pub fn open_ids(&self) -> impl Iterator<Item = PluginId> {
        let open =
            |(index, plugin): (usize, &Plugin)| plugin.library.is_some().then_some(PluginId(index));
        self.all.iter().enumerate().filter_map(open)
    }

    /// The path of a plugin, as it was given.
    pub fn path(&self, id: PluginId) -> &Path {
        self.all
            .get(id.0)
            .map_or(Path::new(""), |plugin| &plugin.path)
    }

    /// The plugin's library, for its symbols. Ask again after each change.
    ///
    /// # Errors
    ///
    /// The plugin is not open: a reload could not bring it back.
    pub fn library(&self, id: PluginId) -> Result<&Library, PluginError> {
        let library = self
            .all
            .get(id.0)
            .and_then(|plugin| plugin.library.as_ref());
        library.ok_or_else(|| PluginError::NotOpen(self.path(id).to_owned()))
    }

    /// Which libraries of this process a change reaches, static ones and plugins', each with the
    /// chain that leads to it.
    ///
    /// # Errors
    ///
    /// `/proc/self/maps` cannot be read.
    pub fn reached(&self, announcement: &Announcement) -> io::Result<Vec<Reached>> {
        let graph = link::snapshot()?;
        let roots = self.roots(&graph);
        Ok(reload::reached(
            &graph,
            &reload::old_libraries(announcement),
            &roots,
        ))
    }

    /// What this process has to do about a change.
    ///
    /// # Errors
    ///
    /// `/proc/self/maps` cannot be read.
    pub fn decide(&self, announcement: &Announcement) -> io::Result<Decision> {
        let graph = link::snapshot()?;
        let roots = self.roots(&graph);
        Ok(reload::decide(
            &graph,
            &reload::old_libraries(announcement),
            &roots,
        ))
    }

    /// Each open plugin's object.
    pub(crate) fn roots(&self, graph: &Graph) -> Vec<(PluginId, usize)> {
        let root = |(index, plugin): (usize, &Plugin)| {
            Some((
                PluginId(index),
                graph.at(plugin.library.as_ref()?.dynamic())?,
            ))
        };
        self.all.iter().enumerate().filter_map(root).collect()
    }
}
