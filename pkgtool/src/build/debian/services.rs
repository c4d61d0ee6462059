//! The units that a package ships: which of them become processes, and with which sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use model::path::{PackagePath, merged_usr};
use model::process::ProcessSpec;

use super::files::PlacedFile;
use super::overrides::{Overrides, ProcessOverride};
use super::specifiers::UnitName;
use super::unit::Unit;
use super::{DebError, RawNode, Result, process, sockets};

/// Where units lie, once `/usr` is merged.
const DIRECTORY: &str = "/usr/lib/systemd/system/";
/// Most bytes of a unit file.
pub(super) const TEXT_LIMIT: u64 = 1 << 20;
/// Units wanted by one of these are started with the machine.
const STARTED: [&str; 4] = [
    "multi-user.target",
    "graphical.target",
    "default.target",
    "network-online.target",
];

/// The processes of a package and what of its units is not carried over.
#[derive(Debug, Default)]
pub struct Services {
    /// In the order of their units' names.
    pub processes: Vec<ProcessSpec>,
    /// Each line begins with the unit's name.
    pub notes: Vec<String>,
}

type Files = BTreeMap<PackagePath, PlacedFile>;

/// Reads the units among `files` of the package `package`, whose `postinst` enables some of them.
pub fn read(
    package: &str,
    files: &Files,
    postinst: &str,
    overrides: &Overrides,
) -> Result<Services> {
    let mut units = Units::collect(files)?;
    units.enabled = enabled(postinst);
    let mut services = Services {
        processes: Vec::new(),
        notes: std::mem::take(&mut units.notes),
    };
    let has = |path: &str| {
        path.parse()
            .is_ok_and(|path: PackagePath| files.contains_key(&path))
    };
    let nothing = ProcessOverride::default();
    for (name, unit) in &units.services {
        let changes = overrides.process.get(&name.stem).unwrap_or(&nothing);
        let why = units.why_not(name, unit, changes);
        let why = why.or_else(|| unmet_condition(unit, changes, &has));
        if let Some(why) = why {
            services
                .notes
                .push(format!("{}: not carried over: {why}", name.full));
            continue;
        }
        services.add(&units, name, unit, &has);
    }
    for (stem, changes) in &overrides.process {
        if let Some(template) = &changes.instance_of {
            let name = UnitName::new(&format!("{stem}.service"));
            let unit = units
                .services
                .iter()
                .find(|(known, _)| known.full == *template);
            let (_, unit) = unit.ok_or_else(|| DebError::Overrides {
                file: format!("{package}.toml"),
                reason: format!("process {stem}: the package has no {template}"),
            })?;
            services.add(&units, &name, unit, &has);
        }
    }
    services.change(package, overrides)?;
    Ok(services)
}

impl Services {
    fn add(&mut self, units: &Units, name: &UnitName, unit: &Unit, has: &dyn Fn(&str) -> bool) {
        let converted = process::convert(name, unit, has);
        self.notes.extend(converted.notes);
        let Some(mut process) = converted.process else {
            return;
        };
        for socket in units
            .sockets
            .iter()
            .filter(|socket| socket.service == name.full)
        {
            process.sockets.extend(socket.sockets.iter().cloned());
        }
        self.processes.push(process);
    }

    fn change(&mut self, package: &str, overrides: &Overrides) -> Result<()> {
        let wrong = |name: &str, reason: String| DebError::Overrides {
            file: format!("{package}.toml"),
            reason: format!("process {name}: {reason}"),
        };
        for (name, changes) in overrides
            .process
            .iter()
            .filter(|(_, changes)| !changes.drop)
        {
            let at = self
                .processes
                .iter_mut()
                .find(|process| process.name.as_str() == name);
            let process = at.ok_or_else(|| wrong(name, "no unit of the package is it".into()))?;
            *process = changes
                .apply(process)
                .map_err(|reason| wrong(name, reason))?;
        }
        Ok(())
    }
}

/// The units of a package, read.
#[derive(Default)]
struct Units {
    services: Vec<(UnitName, Unit)>,
    sockets: Vec<sockets::SocketUnit>,
    /// Services whose socket unit is started with the machine.
    by_socket: BTreeSet<String>,
    /// Services that a link in a target's `.wants` enables.
    wanted: BTreeSet<String>,
    /// Units that the package enables when it is installed; `None` where it leaves that open.
    enabled: Option<BTreeSet<String>>,
    notes: Vec<String>,
}

impl Units {
    fn collect(files: &Files) -> Result<Self> {
        let mut units = Self::default();
        let mut drop_ins: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (path, file) in files {
            let Some(name) = path.as_str().strip_prefix(DIRECTORY) else {
                continue;
            };
            match (name.split_once('/'), &file.node) {
                (Some((directory, file_name)), node) => {
                    if let (Some(unit), RawNode::File { .. }) = (directory.strip_suffix(".d"), node)
                    {
                        drop_ins.entry(unit).or_default().push(text(file)?);
                    } else {
                        units.link_in(directory, file_name, file);
                    }
                }
                (None, RawNode::Link(target)) => units.alias(name, target),
                (None, RawNode::File { .. } | RawNode::Directory) => {}
            }
        }
        for (path, file) in files {
            let name = path
                .as_str()
                .strip_prefix(DIRECTORY)
                .filter(|name| !name.contains('/'));
            let (Some(name), RawNode::File { .. }) = (name, &file.node) else {
                continue;
            };
            let mut unit = Unit::parse(&text(file)?);
            for more in drop_ins.remove(name).unwrap_or_default() {
                unit.read(&more);
            }
            units.unit(name, unit);
        }
        for (unit, _) in drop_ins {
            units.notes.push(format!(
                "{unit}: a drop-in for another package's unit, not carried over"
            ));
        }
        Ok(units)
    }

    fn alias(&mut self, name: &str, target: &str) {
        let what = if target == "/dev/null" {
            "masked".to_owned()
        } else {
            format!("an alias of {target}")
        };
        self.notes.push(format!("{name}: {what}, not carried over"));
    }

    /// `multi-user.target.wants/a.service`
    fn link_in(&mut self, directory: &str, name: &str, file: &PlacedFile) {
        let target = directory
            .strip_suffix(".wants")
            .or_else(|| directory.strip_suffix(".requires"));
        match target {
            Some(target) if STARTED.contains(&target) && name.ends_with(".service") => {
                self.wanted.insert(name.to_owned());
            }
            _ if file.node == RawNode::Directory => {}
            _ => self
                .notes
                .push(format!("{directory}/{name}: not carried over")),
        }
    }

    fn unit(&mut self, name: &str, unit: Unit) {
        let name = UnitName::new(name);
        match name.full.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("service") => self.services.push((name, unit)),
            Some("socket") => {
                let mut socket = sockets::read(&name, &unit);
                self.notes.append(&mut socket.notes);
                if installed(&unit).next().is_some() {
                    self.by_socket.insert(socket.service.clone());
                }
                self.sockets.push(socket);
            }
            kind => {
                let kind = kind.unwrap_or("nameless");
                self.notes
                    .push(format!("{}: not carried over: a {kind} unit", name.full));
            }
        }
    }

    /// Why a service is no process of ours; `None` where it is one.
    fn why_not(&self, name: &UnitName, unit: &Unit, changes: &ProcessOverride) -> Option<String> {
        if changes.drop {
            return Some("dropped by overrides".to_owned());
        }
        if name.template {
            return Some("a template; overrides may make instances of it".to_owned());
        }
        let wanted: Vec<&str> = installed(unit).collect();
        let started = wanted
            .iter()
            .any(|target| STARTED.contains(target) || target.ends_with(".service"));
        let by_link = self.wanted.contains(&name.full) || self.by_socket.contains(&name.full);
        let off = self
            .enabled
            .as_ref()
            .is_some_and(|enabled| !enabled.contains(&name.full));
        if changes.include || by_link || (started && !off) {
            return None;
        }
        if started {
            return Some("the package does not enable it; overrides may include it".to_owned());
        }
        Some(if wanted.is_empty() {
            "nothing starts it with the machine; overrides may include it".to_owned()
        } else {
            format!("started by {}, which is the machine's", wanted.join(", "))
        })
    }
}

/// A condition on a file that a package would bring and this one does not: systemd would pass over
/// the unit, and we cannot look again at each start.
fn unmet_condition(
    unit: &Unit,
    changes: &ProcessOverride,
    has: &dyn Fn(&str) -> bool,
) -> Option<String> {
    if changes.include {
        return None;
    }
    let keys = [
        "ConditionPathExists",
        "ConditionFileIsExecutable",
        "ConditionFileNotEmpty",
    ];
    keys.iter().find_map(|key| {
        let values = unit.list("Unit", key).into_iter();
        let unmet = values.map(merged_usr).find(|path| {
            let packages = path.starts_with("/usr/") || path.starts_with("/etc/");
            packages && !has(path)
        })?;
        Some(format!(
            "{key}={unmet}, which the package does not bring; overrides may include it"
        ))
    })
}

/// The units that a maintainer script written by debhelper enables at a first installation; `None`
/// where it enables none, so that the units' own `[Install]` decides.
///
/// A unit that is shipped disabled is only spoken of inside `debian-installed`.
fn enabled(postinst: &str) -> Option<BTreeSet<String>> {
    let mut enabled = BTreeSet::new();
    let mut optional = BTreeSet::new();
    for line in postinst.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| *word == "deb-systemd-helper") else {
            continue;
        };
        let mut rest = words
            .iter()
            .skip(at + 1)
            .filter(|word| !word.starts_with('-'));
        let (Some(verb), Some(unit)) = (rest.next(), rest.next()) else {
            continue;
        };
        let unit = unit
            .trim_end_matches(';')
            .trim_matches(['\'', '"'])
            .to_owned();
        match *verb {
            "debian-installed" => {
                optional.insert(unit);
            }
            "enable" if !optional.contains(&unit) => {
                enabled.insert(unit);
            }
            _ => {}
        }
    }
    (!enabled.is_empty() || !optional.is_empty()).then_some(enabled)
}

/// What wants or requires the unit once it is enabled.
fn installed(unit: &Unit) -> impl Iterator<Item = &str> {
    let wanted = unit.list("Install", "WantedBy").into_iter();
    wanted
        .chain(unit.list("Install", "RequiredBy"))
        .flat_map(str::split_whitespace)
}

/// A small file's text.
pub(super) fn text(file: &PlacedFile) -> Result<String> {
    let RawNode::File { content, size, .. } = &file.node else {
        return Ok(String::new());
    };
    if *size > TEXT_LIMIT {
        return Err(DebError::TooMuch {
            what: "bytes of a unit or setup file",
            limit: TEXT_LIMIT,
        });
    }
    let mut bytes = Vec::new();
    fs_err::File::open(content)?
        .take(TEXT_LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_its_package_ships_disabled_is_known_by_the_maintainer_script() {
        let script = "\
if [ \"$1\" = \"configure\" ]; then
	deb-systemd-helper unmask 'on.service' >/dev/null || true
	if deb-systemd-helper --quiet was-enabled 'on.service'; then
		deb-systemd-helper enable 'on.service' >/dev/null || true
	fi
	if deb-systemd-helper debian-installed 'off.service'; then
		if deb-systemd-helper --quiet was-enabled 'off.service'; then
			deb-systemd-helper enable 'off.service' >/dev/null || true
		fi
	fi
fi
";
        let found = enabled(script).unwrap();
        assert!(found.contains("on.service") && !found.contains("off.service"));
        assert_eq!(enabled("#!/bin/sh\nldconfig\n"), None);
    }

    #[test]
    fn a_unit_that_waits_for_a_file_which_nobody_brings_is_no_process() {
        let has = |path: &str| path == "/etc/there";
        let unmet = |lines: &str| {
            let unit = Unit::parse(&format!("[Unit]\n{lines}\n"));
            unmet_condition(&unit, &ProcessOverride::default(), &has).is_some()
        };
        assert!(unmet("ConditionPathExists=/etc/rsyncd.conf"));
        assert!(unmet("ConditionFileIsExecutable=/sbin/resolvconf"));
        assert!(!unmet("ConditionPathExists=/etc/there"));
        assert!(!unmet("ConditionPathExists=!/etc/ssh/sshd_not_to_be_run"));
        assert!(!unmet("ConditionPathExists=/dev/kvm"));
        let unit = Unit::parse("[Unit]\nConditionPathExists=/etc/rsyncd.conf\n");
        let included = ProcessOverride {
            include: true,
            ..ProcessOverride::default()
        };
        assert_eq!(unmet_condition(&unit, &included, &has), None);
    }
}
