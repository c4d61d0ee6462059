//! Whom a process belongs to, from its control groups, and what restarts that.

use model::ProcessName;
use serde::Serialize;

/// What is restarted as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Owner {
    /// A process that Changeover supervises.
    Supervised {
        /// Its name.
        name: String,
        /// Whether it is one of a sandbox.
        sandbox: bool,
    },
    /// A unit of systemd: a service, or a scope that something else started.
    Unit {
        /// Its name.
        name: String,
    },
    /// Process 1.
    Init {
        /// Its program.
        program: String,
    },
    /// A container.
    Container {
        /// `docker`, `podman`, `lxc`, `machine`, `kubernetes`.
        engine: String,
        /// Its name, or as much of its id as the engine shows.
        name: String,
        /// The unit inside.
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
    },
    /// A unit of a user's own systemd.
    UserUnit {
        /// The user.
        user: String,
        /// Its name.
        name: String,
    },
    /// A user's own systemd.
    UserManager {
        /// The user.
        user: String,
    },
    /// A login.
    Session {
        /// The user, where that is known.
        user: String,
        /// The session's name.
        name: String,
    },
    /// No unit is known.
    Loose {
        /// Its program.
        program: String,
    },
}

/// What makes the processes of an owner run what is on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restart {
    /// A command line; absent where no single one does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What to do where there is no command, or what it brings with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What is known of a process that tells whom it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// `/proc/PID/cgroup`.
    pub cgroup: &'a str,
    /// Its pid.
    pub pid: u32,
    /// The path of its program.
    pub program: &'a str,
    /// What the kernel calls it.
    pub name: &'a str,
}

/// Whom the process belongs to. Users are told by their numbers; `named` gives their names.
pub fn owner(process: &Traits<'_>, named: impl Fn(&str) -> String) -> Owner {
    if process.pid == 1 {
        return Owner::Init {
            program: process.program.to_owned(),
        };
    }
    let paths = || process.cgroup.lines().filter_map(group);
    if let Some(owner) = paths().find_map(|(_, path)| supervised(path)) {
        return owner;
    }
    // systemd's own tree comes first: in a mixed layout the others may say less.
    let mut ranked = [true, false].into_iter().flat_map(|systemd| {
        paths()
            .filter(move |(controllers, _)| is_systemds(controllers) == systemd)
            .map(|(_, path)| path)
    });
    ranked
        .find_map(|path| unit(path, process.name, &named))
        .unwrap_or_else(|| Owner::Loose {
            program: process.program.to_owned(),
        })
}

/// Controllers and path of a line.
fn group(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

fn is_systemds(controllers: &str) -> bool {
    controllers.is_empty() || controllers == "name=systemd"
}

fn supervised(path: &str) -> Option<Owner> {
    let mut parts = path.split('/');
    let tree = parts.find(|part| part.starts_with("changeover"))?;
    let name = parts.find_map(|part| part.strip_suffix(".process"))?;
    name.parse::<ProcessName>().ok()?;
    Some(Owner::Supervised {
        name: name.to_owned(),
        sandbox: !matches!(tree, "changeover.slice" | "changeover-processes.service"),
    })
}

fn unit(path: &str, name: &str, named: &impl Fn(&str) -> String) -> Option<Owner> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(owner) = container(&parts) {
        return Some(owner);
    }
    let mut below_slices = parts
        .iter()
        .skip_while(|part| part.strip_suffix(".slice").is_some());
    let first = *below_slices.next()?;
    let rest: Vec<&str> = below_slices.copied().collect();
    if let Some(number) = first
        .strip_prefix("user@")
        .and_then(|text| text.strip_suffix(".service"))
    {
        return Some(of_user(named(number), name, &rest));
    }
    if first == "init.scope" {
        return None;
    }
    if first.starts_with("session-") && is_scope(first) {
        let user = parts.iter().find_map(|part| {
            let number = part.strip_prefix("user-")?.strip_suffix(".slice")?;
            Some(named(number))
        });
        return Some(Owner::Session {
            user: user.unwrap_or_default(),
            name: between(first, "session-", ".scope").to_owned(),
        });
    }
    if is_service(first) || is_scope(first) {
        return Some(Owner::Unit {
            name: first.to_owned(),
        });
    }
    // OpenRC has a group for each service, under one of two names.
    let openrc = match first {
        "openrc" => rest.first().copied(),
        other => other.strip_prefix("openrc."),
    };
    openrc.map(|name| Owner::Unit {
        name: format!("{name}.openrc"),
    })
}

fn is_service(name: &str) -> bool {
    name.strip_suffix(".service").is_some()
}

fn is_scope(name: &str) -> bool {
    name.strip_suffix(".scope").is_some()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let text = text.strip_prefix(before).unwrap_or(text);
    text.strip_suffix(after).unwrap_or(text)
}

/// What runs below a user's own systemd.
fn of_user(user: String, name: &str, rest: &[&str]) -> Owner {
    // It never executes another program: only the end of the login ends it.
    if name == "(sd-pam)" {
        return Owner::Session {
            user,
            name: String::new(),
        };
    }
    let unit = rest.iter().find(|part| is_service(part) || is_scope(part));
    match unit {
        None | Some(&"init.scope") => Owner::UserManager { user },
        Some(unit) => Owner::UserUnit {
            user,
            name: (*unit).to_owned(),
        },
    }
}

fn container(parts: &[&str]) -> Option<Owner> {
    let of = |engine: &str, name: &str, unit: Option<&str>| {
        Some(Owner::Container {
            engine: engine.to_owned(),
            name: name.to_owned(),
            unit: unit.map(str::to_owned),
        })
    };
    // Engines show twelve digits of an id and take them.
    let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
    for (at, part) in parts.iter().enumerate() {
        let scope = |before: &str| {
            let id = part.strip_prefix(before)?;
            Some(id.strip_suffix(".scope").unwrap_or(id))
        };
        let inner = parts
            .get(at + 1..)
            .unwrap_or_default()
            .iter()
            .rev()
            .find(|part| is_service(part))
            .copied();
        let next = || parts.get(at + 1).copied();
        if part.starts_with("kubepods") {
            let last = parts.last().copied().unwrap_or(part);
            let id = last.rsplit('-').next().unwrap_or(last);
            return of("kubernetes", &short(between(id, "", ".scope")), None);
        }
        if let Some(id) = scope("docker-") {
            return of("docker", &short(id), inner);
        }
        if let Some(id) = scope("libpod-").filter(|id| !id.starts_with("conmon")) {
            return of("podman", &short(id), inner);
        }
        if let Some(name) = part.strip_prefix("lxc.payload.") {
            return of("lxc", name, inner);
        }
        if let Some(name) = part.strip_prefix("systemd-nspawn@")
            && parts.contains(&"payload")
        {
            return of("machine", between(name, "", ".service"), inner);
        }
        if *part == "machine.slice"
            && let Some(scope) =
                next().filter(|part| is_scope(part) && !part.starts_with("libpod-"))
        {
            let name = between(scope, "machine-", ".scope");
            return of("machine", &unescaped(name), inner);
        }
        if let ("docker" | "lxc", Some(id)) = (*part, next()) {
            return of(part, &short(id), inner);
        }
    }
    None
}

/// systemd writes `-` in a name as `\x2d`.
fn unescaped(name: &str) -> String {
    name.replace("\\x2d", "-")
}

/// What restarts it.
pub fn restart(owner: &Owner) -> Restart {
    match owner {
        Owner::Supervised { name, sandbox } => Restart {
            command: Some(format!("pkgtool restart {name}")),
            note: sandbox.then(|| "type it inside its sandbox".to_owned()),
        },
        Owner::Unit { name } => of_unit(name),
        Owner::Init { program } => of_init(program),
        Owner::Container { engine, name, unit } => of_container(engine, name, unit.as_deref()),
        Owner::UserUnit { user, name } if is_scope(name) => Restart {
            command: None,
            note: Some(format!("{user} closes {name} and opens it again")),
        },
        Owner::UserUnit { user, name } => Restart {
            command: Some(format!(
                "systemctl --user --machine={} restart {}",
                quoted(&format!("{user}@.host")),
                quoted(name)
            )),
            note: None,
        },
        Owner::UserManager { user } => Restart {
            command: Some(format!(
                "systemctl --user --machine={} daemon-reexec",
                quoted(&format!("{user}@.host"))
            )),
            note: None,
        },
        Owner::Session { user, name } => Restart {
            command: None,
            note: Some(match name.as_str() {
                "" => format!("{user} logs out of every session and in again"),
                name if user.is_empty() => format!("log out of session {name} and in again"),
                name => format!("{user} logs out of session {name} and in again"),
            }),
        },
        Owner::Loose { program } => Restart {
            command: None,
            note: Some(format!(
                "no unit is known: end {program} and start it again as it was started"
            )),
        },
    }
}

fn of_unit(name: &str) -> Restart {
    const DISPLAYS: [&str; 6] = ["gdm", "sddm", "lightdm", "lxdm", "xdm", "display-manager"];
    if let Some(service) = name.strip_suffix(".openrc") {
        return Restart {
            command: Some(format!("rc-service {} restart", quoted(service))),
            note: None,
        };
    }
    if matches!(name, "dbus.service" | "dbus-broker.service") {
        return Restart {
            command: Some("systemctl reboot".to_owned()),
            note: Some("the message bus cannot be restarted below those who use it".to_owned()),
        };
    }
    if is_scope(name) {
        return Restart {
            command: None,
            note: Some(format!(
                "systemd did not start {name}: who did starts it again"
            )),
        };
    }
    let displays = DISPLAYS.iter().any(|one| name.starts_with(one));
    let getty = name.starts_with("getty@") || name.starts_with("serial-getty@");
    Restart {
        command: Some(format!("systemctl restart {}", quoted(name))),
        note: (displays || getty).then(|| "this ends the sessions on it".to_owned()),
    }
}

fn of_init(program: &str) -> Restart {
    match program.rsplit('/').next().unwrap_or(program) {
        "systemd" => Restart {
            command: Some("systemctl daemon-reexec".to_owned()),
            note: None,
        },
        "init" => Restart {
            command: Some("telinit u".to_owned()),
            note: None,
        },
        _ => Restart {
            command: None,
            note: Some("reboot, or restart the container whose first process it is".to_owned()),
        },
    }
}

fn of_container(engine: &str, name: &str, unit: Option<&str>) -> Restart {
    let name = quoted(name);
    let command = match (engine, unit) {
        ("machine", Some(unit)) => {
            format!("systemctl --machine={name} restart {}", quoted(unit))
        }
        ("machine", None) => format!("machinectl reboot {name}"),
        ("lxc", _) => format!("lxc-stop --reboot --name {name}"),
        ("docker" | "podman", _) => format!("{engine} restart {name}"),
        _ => {
            return Restart {
                command: None,
                note: Some(format!("restart the container {name}")),
            };
        }
    };
    let image = matches!(engine, "docker" | "podman").then(|| {
        "what was replaced inside it is in the container's own layer, not in its image".to_owned()
    });
    Restart {
        command: Some(command),
        note: image,
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._:-+/=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Owner {
    /// For people, in a few words.
    pub fn title(&self) -> String {
        match self {
            Self::Supervised { name, .. } => format!("{name} (supervised)"),
            Self::Unit { name } => match name.strip_suffix(".openrc") {
                Some(service) => service.to_owned(),
                None => name.clone(),
            },
            Self::Init { program } => format!("process 1 ({program})"),
            Self::Container { engine, name, unit } => match unit {
                Some(unit) => format!("{unit} in {engine} container {name}"),
                None => format!("{engine} container {name}"),
            },
            Self::UserUnit { user, name } => format!("{name} of {user}"),
            Self::UserManager { user } => format!("systemd of {user}"),
            Self::Session { user, name } => match (user.as_str(), name.as_str()) {
                ("", name) => format!("session {name}"),
                (user, "") => format!("sessions of {user}"),
                (user, name) => format!("session {name} of {user}"),
            },
            Self::Loose { program } => program.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cgroup: &str, name: &str) -> String {
        let traits = Traits {
            cgroup,
            pid: 812,
            program: "/usr/sbin/it",
            name,
        };
        let owner = owner(&traits, |number| format!("u{number}"));
        let restart = restart(&owner);
        let how = restart.command.or(restart.note).unwrap_or_default();
        format!("{}: {how}", owner.title())
    }

    /// Lines of a control group file, and what is told of the process.
    const PLACES: &[(&str, &str)] = &[
        (
            "0::/system.slice/nginx.service\n",
            "nginx.service: systemctl restart nginx.service",
        ),
        (
            "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n",
            "postgresql@15-main.service: systemctl restart postgresql@15-main.service",
        ),
        (
            "0::/system.slice/nginx.service/workers\n",
            "nginx.service: systemctl restart nginx.service",
        ),
        (
            r"0::/system.slice/a\x2db.service",
            r"a\x2db.service: systemctl restart 'a\x2db.service'",
        ),
        (
            "0::/system.slice/dbus.service\n",
            "dbus.service: systemctl reboot",
        ),
        (
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "session 3 of u1000: u1000 logs out of session 3 and in again",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/pipewire.service\n",
            "pipewire.service of u1000: systemctl --user --machine=u1000@.host restart pipewire.service",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-12.scope\n",
            "app-firefox-12.scope of u1000: u1000 closes app-firefox-12.scope and opens it again",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
            "systemd of u1000: systemctl --user --machine=u1000@.host daemon-reexec",
        ),
        (
            "0::/system.slice/changeover-processes.service/web.process\n",
            "web (supervised): pkgtool restart web",
        ),
        (
            "0::/changeover.slice/web.process/sub\n",
            "web (supervised): pkgtool restart web",
        ),
        (
            "3:pids:/changeover-00ff00ff00ff00ff.slice/web.process\n1:name=systemd:/\n0::/\n",
            "web (supervised): pkgtool restart web",
        ),
        (
            "0::/system.slice/docker-0123456789abcdef.scope\n",
            "docker container 0123456789ab: docker restart 0123456789ab",
        ),
        (
            "4:memory:/docker/0123456789abcdef\n0::/docker/0123456789abcdef\n",
            "docker container 0123456789ab: docker restart 0123456789ab",
        ),
        (
            "0::/machine.slice/libpod-0123456789abcdef.scope/container\n",
            "podman container 0123456789ab: podman restart 0123456789ab",
        ),
        (
            "0::/machine.slice/systemd-nspawn@box.service/payload/system.slice/cron.service\n",
            "cron.service in machine container box: systemctl --machine=box restart cron.service",
        ),
        (
            r"0::/machine.slice/machine-my\x2dbox.scope/payload",
            "machine container my-box: machinectl reboot my-box",
        ),
        (
            "0::/lxc.payload.web/system.slice/cron.service\n",
            "cron.service in lxc container web: lxc-stop --reboot --name web",
        ),
        (
            "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-0123456789abcdef.scope\n",
            "kubernetes container 0123456789ab: restart the container 0123456789ab",
        ),
        ("0::/openrc.sshd\n", "sshd: rc-service sshd restart"),
        (
            "0::/system.slice/run-r1.scope\n",
            "run-r1.scope: systemd did not start run-r1.scope: who did starts it again",
        ),
        (
            "0::/\n",
            "/usr/sbin/it: no unit is known: end /usr/sbin/it and start it again as it was started",
        ),
        (
            "",
            "/usr/sbin/it: no unit is known: end /usr/sbin/it and start it again as it was started",
        ),
        // Names from a stranger's own tree do not become commands.
        (
            "0::/system.slice/a'b; reboot.service",
            "a'b; reboot.service: systemctl restart 'a'\\''b; reboot.service'",
        ),
        (
            "0::/changeover.slice/../x y.process\n",
            "/usr/sbin/it: no unit is known: end /usr/sbin/it and start it again as it was started",
        ),
    ];

    #[test]
    fn each_place_in_the_tree_has_its_restart() {
        for (cgroup, expected) in PLACES {
            assert_eq!(told(cgroup, "it"), *expected, "{cgroup}");
        }
    }

    #[test]
    fn a_mixed_layout_is_read_where_systemd_writes() {
        let mixed = "5:pids:/elsewhere.service\n1:name=systemd:/system.slice/cron.service\n";
        assert_eq!(
            told(mixed, "cron"),
            "cron.service: systemctl restart cron.service"
        );
    }

    #[test]
    fn what_never_executes_again_ends_with_the_login() {
        let tree = "0::/user.slice/user-7.slice/user@7.service/init.scope\n";
        assert_eq!(
            told(tree, "(sd-pam)"),
            "sessions of u7: u7 logs out of every session and in again"
        );
    }

    #[test]
    fn process_1_executes_itself_again() {
        let of = |program: &str| {
            let traits = Traits {
                cgroup: "0::/init.scope\n",
                pid: 1,
                program,
                name: "systemd",
            };
            let restart = restart(&owner(&traits, str::to_owned));
            restart.command.or(restart.note).unwrap_or_default()
        };
        assert_eq!(of("/usr/lib/systemd/systemd"), "systemctl daemon-reexec");
        assert_eq!(of("/usr/sbin/init"), "telinit u");
        assert!(of("/usr/bin/tini").contains("container"));
    }
}
