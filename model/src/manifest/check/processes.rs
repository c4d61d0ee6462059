//! Rules for the processes of a package.

use std::collections::{BTreeMap, BTreeSet};

use super::{Files, Found, Subject, is_absolute, is_account, is_octal_mode, is_relative};
use crate::ids::ProcessName;
use crate::manifest::{Manifest, Node};
use crate::path::{PackagePath, merged_usr};
use crate::process::{Disruption, Kind, ListenSocket, ProcessSpec, Ready};

pub(super) fn check(manifest: &Manifest, files: &Files<'_>, found: &mut Found) {
    let mut names = BTreeSet::new();
    for process in &manifest.processes {
        let subject = Subject::Process(process.name.clone());
        found.unless(names.insert(&process.name), &subject, || {
            "is there twice".to_owned()
        });
        commands(process, files, &subject, found);
        accounts(process, &subject, found);
        paths(process, &subject, found);
        readiness(process, &subject, found);
        for socket in &process.sockets {
            listen_socket(socket, &subject, found);
        }
        for pattern in &process.uses_files {
            uses_files(pattern, &subject, found);
        }
        changes(process, &subject, found);
    }
    cycles(&manifest.processes, found);
}

fn commands(process: &ProcessSpec, files: &Files<'_>, subject: &Subject, found: &mut Found) {
    let lists = [
        ("exec-start-pre", &process.exec_start_pre),
        ("exec-start-post", &process.exec_start_post),
        ("exec-reload", &process.exec_reload),
        ("exec-stop", &process.exec_stop),
    ];
    found.unless(!process.exec.is_empty(), subject, || {
        "'exec' is empty".to_owned()
    });
    program("exec", &process.exec, files, (subject, found));
    let programs = [
        ("evaluate", &process.evaluate),
        ("check", &process.check),
        ("migrate", &process.migrate),
        ("migrate-back", &process.migrate_back),
    ];
    for (what, command) in programs {
        program(what, command, files, (subject, found));
    }
    for (what, list) in lists {
        for command in list {
            found.unless(!command.is_empty(), subject, || {
                format!("a command of '{what}' is empty")
            });
            program(what, command, files, (subject, found));
        }
    }
}

/// The first word is an absolute path, and of this package only what can be executed.
fn program(what: &str, command: &[String], files: &Files<'_>, at: (&Subject, &mut Found)) {
    let (subject, found) = at;
    let Some(word) = command.first() else { return };
    let path = word.strip_prefix('-').unwrap_or(word);
    if !is_absolute(path) {
        let reason = format!("'{what}' begins with {path:?}, which is no absolute path");
        return found.add(subject.clone(), reason);
    }
    found.unless(
        command.iter().all(|word| !word.contains('\0')),
        subject,
        || format!("'{what}' has a NUL"),
    );
    let Ok(path) = merged_usr(path).parse::<PackagePath>() else {
        return;
    };
    if let Some(reason) = not_a_program(&path, files) {
        found.add(subject.clone(), format!("'{what}' is {path}, {reason}"));
    }
}

/// Why `path` cannot be executed, where the package itself can tell.
fn not_a_program(path: &PackagePath, files: &Files<'_>) -> Option<&'static str> {
    let mut at = path.clone();
    // As many links as the kernel follows.
    for _ in 0..40 {
        let entry = files.get(&at)?;
        match &entry.node {
            Node::File(_) if entry.mode & 0o111 != 0 => return None,
            Node::File(_) => return Some("a file of this package that has no execute permission"),
            Node::Directory => return Some("a directory of this package"),
            Node::Link { target } => at = at.link_target(target)?,
        }
    }
    Some("a link of this package that leads in a circle")
}

fn accounts(process: &ProcessSpec, subject: &Subject, found: &mut Found) {
    let names = process
        .user
        .iter()
        .chain(&process.group)
        .chain(&process.supplementary_groups);
    for name in names {
        found.unless(is_account(name), subject, || {
            format!("{name:?} is no user's or group's name")
        });
    }
}

fn paths(process: &ProcessSpec, subject: &Subject, found: &mut Found) {
    let optional = |path: &String| path.strip_prefix('-').unwrap_or(path).to_owned();
    let absolute = (process.environment_file.iter().map(optional))
        .chain(
            process
                .working_directory
                .iter()
                .filter(|dir| *dir != "~")
                .map(optional),
        )
        .chain(process.pid_file.clone());
    for path in absolute {
        found.unless(is_absolute(&path), subject, || {
            format!("{path:?} is no absolute path")
        });
    }
    let own = (process.state_directory.iter())
        .chain(&process.runtime_directory)
        .chain(&process.cache_directory)
        .chain(&process.logs_directory);
    for directory in own {
        found.unless(is_relative(&directory.name), subject, || {
            format!(
                "{:?} is no relative path that stays below its base",
                directory.name
            )
        });
        octal(directory.mode.as_ref(), subject, found);
    }
    octal(process.umask.as_ref(), subject, found);
    for (key, value) in &process.environment {
        let sound = !key.is_empty() && !key.contains(['=', '\0']) && !value.contains('\0');
        found.unless(sound, subject, || {
            format!("{key:?} is no environment variable")
        });
    }
}

fn octal(mode: Option<&String>, subject: &Subject, found: &mut Found) {
    if let Some(mode) = mode {
        found.unless(is_octal_mode(mode), subject, || {
            format!("{mode:?} is no mode in octal")
        });
    }
}

fn readiness(process: &ProcessSpec, subject: &Subject, found: &mut Found) {
    let descriptor = process.ready == Ready::Descriptor;
    found.unless(
        descriptor == process.notification_fd.is_some(),
        subject,
        || "ready = \"descriptor\" and 'notification-fd' go together".to_owned(),
    );
    found.unless(
        process.notification_fd.is_none_or(|fd| fd >= 3),
        subject,
        || "'notification-fd' is 3 or more".to_owned(),
    );
    let socket = process.ready == Ready::Socket;
    found.unless(socket != process.ready_sockets.is_empty(), subject, || {
        "ready = \"socket\" and 'ready-sockets' go together".to_owned()
    });
    found.unless(is_signal(&process.stop_signal), subject, || {
        format!("{:?} is no signal's name", process.stop_signal)
    });
}

/// What a change means to it.
fn changes(process: &ProcessSpec, subject: &Subject, found: &mut Found) {
    if let Some(signal) = &process.change_signal {
        // The numbers of the real-time ones belong to the C library of each program.
        found.unless(
            is_signal(signal) && !signal.starts_with("SIGRT"),
            subject,
            || format!("{signal:?} is no signal's name that 'change-signal' can take"),
        );
        found.unless(!process.uses_files.is_empty(), subject, || {
            "'change-signal' tells of changes to 'uses-files', and there are none".to_owned()
        });
    }
    let veto = process.disruption == Disruption::Veto;
    found.unless(!veto || process.kind == Kind::Simple, subject, || {
        "disruption = \"veto\" is for Simple processes: this one votes itself".to_owned()
    });
    let state = [
        ("snapshot", process.snapshot),
        ("migrate", !process.migrate.is_empty()),
        ("migrate-back", !process.migrate_back.is_empty()),
    ];
    for (what, is_there) in state {
        found.unless(
            !is_there || process.state_version.is_some(),
            subject,
            || format!("'{what}' is of use only where 'state-version' says which state it is"),
        );
    }
    found.unless(
        !process.snapshot || !process.state_directory.is_empty(),
        subject,
        || "'snapshot' copies 'state-directory', and there is none".to_owned(),
    );
}

fn is_signal(name: &str) -> bool {
    const NAMES: [&str; 30] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
    ];
    let Some(short) = name.strip_prefix("SIG") else {
        return false;
    };
    let real_time = || short == "RTMIN" || short.strip_prefix("RTMIN+").is_some_and(is_number);
    NAMES.contains(&short) || short == "SYS" || real_time()
}

fn is_number(text: &str) -> bool {
    text.parse::<u8>().is_ok_and(|number| number <= 30)
}

fn listen_socket(socket: &ListenSocket, subject: &Subject, found: &mut Found) {
    let name = &socket.name;
    let sound = (1..=255).contains(&name.len()) && name.bytes().all(|c| c > b' ' && c != b':');
    found.unless(sound, subject, || format!("{name:?} is no socket's name"));
    let port = socket
        .listen
        .rsplit(':')
        .next()
        .is_some_and(|port| port.parse::<u16>().is_ok());
    let listen = is_absolute(&socket.listen) || socket.listen.starts_with('@') || port;
    found.unless(listen, subject, || {
        format!(
            "{:?} is no absolute path, ADDRESS:PORT or PORT",
            socket.listen
        )
    });
    octal(socket.mode.as_ref(), subject, found);
}

fn uses_files(pattern: &str, subject: &Subject, found: &mut Found) {
    let below = ["/usr/", "/opt/", "/etc/"]
        .iter()
        .any(|top| pattern.starts_with(top));
    found.unless(below && is_absolute(pattern), subject, || {
        format!("'uses-files' has {pattern:?}, which is no clean pattern below /usr, /opt or /etc")
    });
}

/// `after` must leave an order.
fn cycles(processes: &[ProcessSpec], found: &mut Found) {
    let mut waits: BTreeMap<&ProcessName, BTreeSet<&ProcessName>> = processes
        .iter()
        .map(|process| (&process.name, process.after.iter().collect()))
        .collect();
    // Takes away whoever waits for nobody of this package, until that is nobody.
    loop {
        let here: BTreeSet<&ProcessName> = waits.keys().copied().collect();
        waits.retain(|_, after| after.iter().any(|name| here.contains(*name)));
        if waits.len() == here.len() {
            break;
        }
    }
    if let Some(first) = waits.keys().next().copied() {
        let reason = format!("is started after itself: {}", walk(first, &waits));
        found.add(Subject::Process(first.clone()), reason);
    }
}

/// The first cycle that following `after` from `start` leads into.
fn walk(start: &ProcessName, waits: &BTreeMap<&ProcessName, BTreeSet<&ProcessName>>) -> String {
    let mut way: Vec<&ProcessName> = vec![start];
    while let Some(last) = way.last() {
        let next = waits
            .get(*last)
            .and_then(|after| after.iter().copied().find(|name| waits.contains_key(*name)));
        let Some(next) = next else { break };
        if let Some(place) = way.iter().position(|name| *name == next) {
            way.push(next);
            way.drain(..place);
            break;
        }
        way.push(next);
    }
    let names: Vec<&str> = way.iter().map(|name| name.as_str()).collect();
    names.join(" after ")
}
