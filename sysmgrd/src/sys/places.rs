//! One path, two sides: where this daemon finds what a supervised process sees.
//!
//! On a machine they are the same. In a sandbox the node's `/etc`, `/var` and `/run` are
//! directories elsewhere, laid over the machine's in every view.

use std::path::{Path, PathBuf};

use crate::config::{Bind, Config};

/// The two sides of every path outside `/usr` and `/opt`.
#[derive(Debug, Clone)]
pub struct Places {
    /// This daemon's own directory.
    pub run_dir: PathBuf,
    /// What is laid over the machine's directories in every view.
    pub binds: Vec<Bind>,
    machine_root: PathBuf,
}

impl Places {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        Self {
            run_dir: config.run_dir.clone(),
            binds: config.bind.clone(),
            machine_root: config.machine_root.clone(),
        }
    }

    /// Where this daemon finds the path `seen` by a process in a view.
    pub fn outside(&self, seen: &Path) -> PathBuf {
        let found = self.binds.iter().filter_map(|bind| {
            let rest = seen.strip_prefix(&bind.to).ok()?;
            Some((bind.to.as_os_str().len(), join(&bind.from, rest)))
        });
        match found.max_by_key(|(length, _)| *length) {
            Some((_, path)) => path,
            None => join(&self.machine_root, seen.strip_prefix("/").unwrap_or(seen)),
        }
    }

    /// How a process in a view sees the path that is `here` for this daemon.
    pub fn inside(&self, here: &Path) -> PathBuf {
        let found = self.binds.iter().filter_map(|bind| {
            let rest = here.strip_prefix(&bind.from).ok()?;
            Some((bind.from.as_os_str().len(), join(&bind.to, rest)))
        });
        found
            .max_by_key(|(length, _)| *length)
            .map_or_else(|| here.to_owned(), |(_, path)| path)
    }
}

/// `Path::join`, but nothing joined leaves no slash behind.
fn join(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> Places {
        let bind = |from: &str, to: &str| Bind {
            from: from.into(),
            to: to.into(),
        };
        Places::new(&Config {
            run_dir: "/s/run/changeover".into(),
            machine_root: "/s/root".into(),
            bind: vec![
                bind("/s/run", "/run"),
                bind("/s/lib", "/var/lib"),
                bind("/s/v", "/var"),
            ],
            ..Config::default()
        })
    }

    #[test]
    fn the_longest_bind_wins_in_both_directions() {
        let places = sandbox();
        let pairs = [
            ("/run/x.pid", "/s/run/x.pid"),
            ("/var/lib/a", "/s/lib/a"),
            ("/var/b", "/s/v/b"),
        ];
        for (inside, outside) in pairs {
            assert_eq!(places.outside(Path::new(inside)), Path::new(outside));
            assert_eq!(places.inside(Path::new(outside)), Path::new(inside));
        }
        assert_eq!(
            places.outside(Path::new("/etc/passwd")),
            Path::new("/s/root/etc/passwd")
        );
        assert_eq!(places.outside(Path::new("/run")), Path::new("/s/run"));
    }

    #[test]
    fn on_the_machine_itself_both_sides_are_the_same() {
        let places = Places::new(&Config::default());
        let path = Path::new("/var/lib/x");
        assert_eq!(
            (places.outside(path), places.inside(path)),
            (path.into(), path.into())
        );
    }
}
