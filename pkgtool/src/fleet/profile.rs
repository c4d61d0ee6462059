//! Where the operator's profile is, and reading it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use model::wire::Profile;

use super::Master;
use crate::outcome::{CommandError, Kind};

/// Where an operator's profile is to be read from.
#[derive(Debug, Clone, Default)]
pub struct ProfileFile(Option<PathBuf>);

impl ProfileFile {
    /// This file; `~/.config/changeover/fleet.toml` where absent.
    pub fn new(path: Option<&std::path::Path>) -> Self {
        Self(path.map(std::path::Path::to_owned))
    }

    /// Reads it and gets ready to speak with the master that it names.
    pub fn connect(&self) -> Result<Master, CommandError> {
        Master::new(&self.read()?)
    }

    fn path(&self) -> Result<PathBuf, CommandError> {
        if let Some(path) = &self.0 {
            return Ok(path.clone());
        }
        let home = |name: &str| {
            std::env::var_os(name)
                .filter(|text| !text.is_empty())
                .map(PathBuf::from)
        };
        home("XDG_CONFIG_HOME")
            .or_else(|| home("HOME").map(|home| home.join(".config")))
            .map(|config| config.join("changeover/fleet.toml"))
            .ok_or_else(|| {
                CommandError::usage("no HOME, and no profile named")
                    .hint("name it: --profile FILE, or CHANGEOVER_FLEET=FILE")
            })
    }

    fn read(&self) -> Result<Profile, CommandError> {
        let path = self.path()?;
        let shown = path.display();
        let missing = |error: std::io::Error| {
            let error = CommandError::from(error).context("could not read the fleet's profile");
            error
                .hint(format!(
                    "`masterd init` writes the first one, `pkgtool fleet operators add` the others; put it at {shown}"
                ))
                .hint("or name it: --profile FILE, or CHANGEOVER_FLEET=FILE")
        };
        let text = fs_err::read_to_string(&path).map_err(missing)?;
        let mode = fs_err::metadata(&path).map_err(missing)?.permissions();
        if mode.mode() & 0o077 != 0 {
            let words = format!("{shown}: others can read the token in it");
            return Err(CommandError::new(Kind::NotAllowed, anyhow::Error::msg(words))
                .hint(format!("chmod 600 {shown}"))
                .hint("and if others have had the time to: pkgtool fleet operators add NAME gives a new token"));
        }
        toml::from_str(&text).map_err(|error| {
            CommandError::from(error)
                .context(format!("{shown} is not a fleet's profile"))
                .hint("it has three lines: master, token, ca")
        })
    }
}
