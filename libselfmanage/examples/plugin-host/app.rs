//! The application: its plugins, and what it does about changes.

#![expect(unsafe_code, reason = "it calls functions of plugins, which are C")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_char, c_ulong};
use std::path::PathBuf;

use selfmanage::manager::Application;
use selfmanage::plugins::PluginError;
use selfmanage::reload::{Outcome, Quiet, Reached};
use selfmanage::{Announcement, Asked, Ended, Event, PluginId, Plugins, Reason, Trust};

/// `plugin.h`
type Answer = unsafe extern "C" fn(*const c_char, *mut c_char, usize);
type Save = unsafe extern "C" fn() -> c_ulong;
type Restore = unsafe extern "C" fn(c_ulong);

/// What the program knows besides its clients and its plugins.
#[derive(Debug)]
pub(crate) struct App {
    directory: PathBuf,
    answered: u64,
    reloads: u64,
    veto: Option<Reason>,
    saved: BTreeMap<PluginId, c_ulong>,
    /// Requests wait while this is so.
    pub(crate) paused: bool,
    /// It never says *done*.
    pub(crate) silent: bool,
}

impl App {
    pub(crate) fn new(directory: PathBuf) -> Self {
        let setting = |name| std::env::var(name).unwrap_or_default();
        Self {
            directory,
            answered: 0,
            reloads: 0,
            veto: Reason::new(&setting("PLUGIN_HOST_VETO")).ok(),
            saved: BTreeMap::new(),
            paused: false,
            silent: !setting("PLUGIN_HOST_SILENT").is_empty(),
        }
    }

    /// Opens all that the directory holds.
    pub(crate) fn open_plugins(&self) -> Result<Plugins, PluginError> {
        // SAFETY: the plugins of this program keep `plugin.h`: they start no thread, and this
        // program keeps no address of theirs between two requests.
        let mut plugins = Plugins::new(unsafe { Trust::promised() });
        for path in self.paths() {
            plugins.open(path)?;
        }
        Ok(plugins)
    }

    /// Opens what a change has brought.
    pub(crate) fn open_more(&self, plugins: &mut Plugins) {
        for path in self.paths() {
            if let Err(error) = plugins.open(path) {
                eprintln!("plugin-host: {}", model::report::Chain(&error));
            }
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = fs_err::read_dir(&self.directory).into_iter().flatten();
        let path = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> = path
            .filter(|path| path.extension() == Some(OsStr::new("so")))
            .collect();
        paths.sort();
        paths
    }

    /// The answer to one request.
    pub(crate) fn answer(&mut self, plugins: &Plugins, request: &str) -> String {
        self.answered += 1;
        let (word, rest) = request.split_once(' ').unwrap_or((request, ""));
        match word {
            "status" => self.status(plugins),
            "busy" => match Reason::new(rest) {
                Ok(reason) => {
                    self.veto = Some(reason);
                    "busy".to_owned()
                }
                Err(error) => error.to_string(),
            },
            "idle" => {
                self.veto = None;
                "idle".to_owned()
            }
            word => match named(plugins, word).and_then(|plugin| ask(plugins, plugin, rest)) {
                Some(answer) => answer,
                None => format!("there is no plugin {word:?}"),
            },
        }
    }

    fn status(&self, plugins: &Plugins) -> String {
        let open = plugins.open_ids().count();
        let pid = std::process::id();
        format!(
            "pid={pid} answered={} plugins={open} reloads={}",
            self.answered, self.reloads
        )
    }
}

fn named(plugins: &Plugins, word: &str) -> Option<PluginId> {
    plugins
        .open_ids()
        .find(|id| plugins.path(*id).file_stem() == Some(OsStr::new(word)))
}

fn ask(plugins: &Plugins, plugin: PluginId, request: &str) -> Option<String> {
    let library = plugins.library(plugin).ok()?;
    let request = CString::new(request).ok()?;
    let mut answer: [c_char; 512] = [0; 512];
    // SAFETY: `plugin.h` gives the type, and the function writes no more than it is told.
    unsafe {
        let function = library.symbol::<Answer>(c"plugin_answer").ok()?;
        function(request.as_ptr(), answer.as_mut_ptr(), answer.len() - 1);
    }
    // SAFETY: the last byte of `answer` is 0 whatever the plugin wrote before it.
    let answer = unsafe { CStr::from_ptr(answer.as_ptr()) };
    Some(answer.to_string_lossy().into_owned())
}

impl Quiet for App {
    fn quiesce(&mut self, plugins: &Plugins, affected: &[PluginId]) -> Result<(), Reason> {
        for plugin in affected {
            let library = plugins.library(*plugin);
            // SAFETY: `plugin.h` gives the type.
            let save = library
                .as_ref()
                .ok()
                .map(|one| unsafe { one.symbol::<Save>(c"plugin_save") });
            if let Some(Ok(save)) = save {
                // SAFETY: as above.
                self.saved.insert(*plugin, unsafe { save() });
            }
        }
        Ok(())
    }

    fn restore(&mut self, plugins: &Plugins, affected: &[PluginId]) {
        for plugin in affected {
            let (Ok(library), Some(saved)) = (plugins.library(*plugin), self.saved.remove(plugin))
            else {
                continue;
            };
            // SAFETY: `plugin.h` gives the type.
            if let Ok(restore) = unsafe { library.symbol::<Restore>(c"plugin_restore") } {
                // SAFETY: as above.
                unsafe { restore(saved) };
            }
        }
    }
}

impl Application for App {
    fn evaluate(
        &mut self,
        _announcement: &Announcement,
        _asked: &Asked,
        reached: &[Reached],
    ) -> Result<(), Reason> {
        for one in reached {
            eprintln!("plugin-host: {one}");
        }
        self.veto.clone().map_or(Ok(()), Err)
    }

    fn pause(&mut self, _announcement: &Announcement) -> Result<(), Reason> {
        self.paused = true;
        Ok(())
    }

    fn resume(&mut self, happened: Option<(&Announcement, &Outcome)>) {
        self.paused = false;
        match happened {
            Some((announcement, outcome)) => {
                self.reloads += u64::from(matches!(outcome, Outcome::Reloaded(_)));
                eprintln!("plugin-host: change {}: {outcome}", announcement.change);
            }
            None => eprintln!("plugin-host: called off"),
        }
    }

    fn ended(&mut self, ended: &Ended) {
        eprintln!(
            "plugin-host: change {} has ended: {}",
            ended.change, ended.detail
        );
    }

    fn disconnected(&mut self) {
        eprintln!("plugin-host: nobody tells of changes any more");
    }
}

/// An event in words.
pub(crate) fn describe(event: &Event) -> String {
    match event {
        Event::Evaluate(announcement, asked) => {
            format!(
                "asked about change {}: {}",
                announcement.change, asked.verdict
            )
        }
        Event::Prepare(announcement) => {
            format!("change {} is going to happen", announcement.change)
        }
        Event::Changed(change) => format!("change {change} has happened"),
        Event::Ended(ended) => format!("change {} is over", ended.change),
        Event::Disconnected | _ => "nobody is at the other end".to_owned(),
    }
}
