//! A systemd service as one of our processes, and what of it is not carried over.

mod exec;

use std::collections::BTreeMap;

use model::ProcessName;
use model::process::{KillMode, OwnDirectory, ProcessSpec, Ready, Restart};
use model::span::Span;

use super::specifiers::UnitName;
use super::unit::Unit;
use super::{values, words};

/// Settings that are read here; every other one becomes a note.
const CARRIED: [&str; 45] = [
    "Type",
    "ExecStart",
    "ExecStartPre",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "User",
    "Group",
    "SupplementaryGroups",
    "After",
    "StateDirectory",
    "StateDirectoryMode",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "CacheDirectory",
    "CacheDirectoryMode",
    "LogsDirectory",
    "LogsDirectoryMode",
    "Environment",
    "EnvironmentFile",
    "WorkingDirectory",
    "KillSignal",
    "KillMode",
    "PIDFile",
    "TimeoutStopSec",
    "TimeoutStartSec",
    "TimeoutSec",
    "Restart",
    "RestartSec",
    "UMask",
    "LimitNOFILE",
    "RemainAfterExit",
    // Texts for people.
    "Description",
    "Documentation",
    // Looked at by the import as a whole.
    "WantedBy",
    "RequiredBy",
    "Sockets",
    // What holds for our processes anyway.
    "DefaultDependencies",
    "SendSIGKILL",
    "NotifyAccess",
    "GuessMainPID",
    "StandardOutput",
    "StandardError",
    "SyslogIdentifier",
    "IgnoreSIGPIPE",
];

/// Of those above that hold anyway, the values for which they do.
const AS_USUAL: [(&str, &[&str]); 8] = [
    ("DefaultDependencies", &["yes", "true", "1"]),
    ("SendSIGKILL", &["yes", "true", "1"]),
    ("NotifyAccess", &["main", "all"]),
    ("GuessMainPID", &["yes", "true", "1"]),
    ("StandardOutput", &["journal", "inherit", "syslog"]),
    ("StandardError", &["journal", "inherit", "syslog"]),
    ("SyslogIdentifier", &[]),
    ("IgnoreSIGPIPE", &["yes", "true", "1"]),
];

/// A service turned into a process.
#[derive(Debug)]
pub struct Converted {
    /// The process, where the service can be one.
    pub process: Option<ProcessSpec>,
    /// What is not carried over, each line beginning with the unit's name.
    pub notes: Vec<String>,
}

/// Turns the service `name` into a process. `has` tells whether the package has a path.
pub fn convert(name: &UnitName, unit: &Unit, has: &dyn Fn(&str) -> bool) -> Converted {
    let mut reader = Reader {
        name,
        unit,
        has,
        notes: Vec::new(),
    };
    let process = reader.process();
    reader.left_out();
    Converted {
        process,
        notes: reader.notes,
    }
}

struct Reader<'a> {
    name: &'a UnitName,
    unit: &'a Unit,
    has: &'a dyn Fn(&str) -> bool,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn note(&mut self, text: impl std::fmt::Display) {
        self.notes.push(format!("{}: {text}", self.name.full));
    }

    /// Notes a setting whose value is not taken.
    fn refuse(&mut self, key: &str, value: &str, why: &str) {
        self.note(format_args!("{key}={value} ({why})"));
    }

    fn process(&mut self) -> Option<ProcessSpec> {
        let name: ProcessName = match self.name.stem.replace('\\', "_").parse() {
            Ok(name) => name,
            Err(error) => {
                self.note(format_args!("not carried over: {error}"));
                return None;
            }
        };
        let mut starts = self.commands("ExecStart");
        let Some(exec) = starts.pop() else {
            self.note("not carried over: it starts nothing");
            return None;
        };
        let mut spec = ProcessSpec::new(name, exec);
        spec.exec_start_pre = self.commands("ExecStartPre");
        if !starts.is_empty() {
            self.note("ExecStart= more than once: all but the last are in exec-start-pre");
            spec.exec_start_pre.append(&mut starts);
        }
        spec.exec_start_post = self.commands("ExecStartPost");
        spec.exec_reload = self.commands("ExecReload");
        spec.exec_stop = self.commands("ExecStop");
        spec.after = self.after();
        self.kind(&mut spec);
        self.identity(&mut spec);
        self.surroundings(&mut spec);
        self.stopping(&mut spec);
        self.times(&mut spec);
        Some(spec)
    }

    /// The last value, specifiers expanded.
    fn value(&mut self, key: &str) -> Option<String> {
        let value = self.unit.last("Service", key)?.to_owned();
        self.expand(key, &value)
    }

    fn expand(&mut self, key: &str, value: &str) -> Option<String> {
        match self.name.expand(value) {
            Ok(expanded) => Some(expanded),
            Err(specifier) => {
                self.refuse(
                    key,
                    value,
                    &format!("{specifier} is known to the machine only"),
                );
                None
            }
        }
    }

    /// The last value, as `read` understands it.
    fn read<T>(&mut self, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        let found = read(&value);
        if found.is_none() {
            self.refuse(key, &value, "not understood");
        }
        found
    }

    /// Words over all assignments of a list setting.
    fn words(&mut self, key: &str) -> Vec<String> {
        let mut all = Vec::new();
        for value in self.unit.list("Service", key) {
            let Some(words) = words::split(value) else {
                self.refuse(key, value, "its quotes or escapes are wrong");
                continue;
            };
            for word in words {
                all.extend(self.expand(key, &word));
            }
        }
        all
    }

    /// Only services are processes; targets and the like are reached before anything starts.
    fn after(&mut self) -> Vec<ProcessName> {
        let mut after = Vec::new();
        for value in self.unit.list("Unit", "After") {
            for word in value.split_whitespace() {
                let Some(word) = self.expand("After", word) else {
                    continue;
                };
                match word.strip_suffix(".service").map(str::parse) {
                    Some(Ok(name)) if !after.contains(&name) => after.push(name),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => self.note(format_args!("After={word}")),
                }
            }
        }
        after
    }

    fn kind(&mut self, spec: &mut ProcessSpec) {
        let kind = self.value("Type");
        let bus_name = self.unit.last("Service", "BusName").is_some();
        let kind = kind
            .as_deref()
            .unwrap_or(if bus_name { "dbus" } else { "simple" });
        spec.ready = match kind {
            "simple" | "exec" => Ready::Exec,
            "notify" => Ready::Notify,
            "forking" => Ready::Forking,
            "oneshot" => Ready::Oneshot,
            "notify-reload" => {
                self.refuse("Type", kind, "taken as notify; reloading is by exec-reload");
                Ready::Notify
            }
            other => {
                self.refuse("Type", other, "taken as exec: ready as soon as it runs");
                Ready::Exec
            }
        };
        if spec.ready == Ready::Oneshot {
            spec.start_timeout = Span::Infinite;
        }
        spec.pid_file = self.value("PIDFile").map(|path| {
            let path = if path.starts_with('/') {
                path
            } else {
                format!("/run/{path}")
            };
            path.strip_prefix("/var/run/")
                .map_or(path.clone(), |rest| format!("/run/{rest}"))
        });
        spec.remain_after_exit = self
            .read("RemainAfterExit", values::switch)
            .unwrap_or(false);
    }

    fn identity(&mut self, spec: &mut ProcessSpec) {
        spec.user = self.value("User");
        spec.group = self.value("Group");
        spec.supplementary_groups = self.words("SupplementaryGroups");
        spec.umask = self.read("UMask", values::mode);
        spec.limit_nofile = self.read("LimitNOFILE", values::limit);
        if self
            .unit
            .last("Service", "LimitNOFILE")
            .is_some_and(|limit| limit.contains(':'))
        {
            self.note("LimitNOFILE= of two numbers: the soft one is used for both");
        }
    }

    fn surroundings(&mut self, spec: &mut ProcessSpec) {
        spec.environment = self.environment();
        spec.environment_file = self
            .unit
            .list("Service", "EnvironmentFile")
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|file| self.expand("EnvironmentFile", &file))
            .collect();
        spec.working_directory =
            self.value("WorkingDirectory")
                .map(|directory| match directory.strip_prefix('-') {
                    Some(rest) => {
                        self.refuse("WorkingDirectory", &directory, "it must be there");
                        rest.to_owned()
                    }
                    None => directory.clone(),
                });
        spec.state_directory = self.directories("StateDirectory");
        spec.runtime_directory = self.directories("RuntimeDirectory");
        spec.cache_directory = self.directories("CacheDirectory");
        spec.logs_directory = self.directories("LogsDirectory");
    }

    fn environment(&mut self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for word in self.words("Environment") {
            match word.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    environment.insert(name.to_owned(), value.to_owned());
                }
                _ => self.refuse("Environment", &word, "not NAME=VALUE"),
            }
        }
        environment
    }

    fn directories(&mut self, key: &str) -> Vec<OwnDirectory> {
        let mode = self.read(&format!("{key}Mode"), values::mode);
        let mut all = Vec::new();
        for word in self.words(key) {
            let (name, link) = word.split_once(':').unwrap_or((&word, ""));
            if !link.is_empty() {
                self.refuse(key, &word, "without its link");
            }
            let clean = !name.starts_with('/')
                && !name.split('/').any(|part| matches!(part, "" | "." | ".."));
            if clean {
                all.push(OwnDirectory {
                    name: name.to_owned(),
                    mode: mode.clone(),
                });
            } else {
                self.refuse(key, &word, "not a path below its base");
            }
        }
        all
    }

    fn stopping(&mut self, spec: &mut ProcessSpec) {
        if let Some(signal) = self.read("KillSignal", values::signal) {
            spec.stop_signal = signal;
        }
        let mode = self.read("KillMode", |text| match text {
            "control-group" => Some(KillMode::ControlGroup),
            "mixed" => Some(KillMode::Mixed),
            "process" | "none" => Some(KillMode::Process),
            _ => None,
        });
        spec.kill_mode = mode.unwrap_or_default();
        if self.unit.last("Service", "KillMode") == Some("none") {
            self.refuse("KillMode", "none", "taken as process");
        }
        let restart = self.read("Restart", |text| match text {
            "no" => Some(Restart::No),
            "on-success" => Some(Restart::OnSuccess),
            "on-failure" => Some(Restart::OnFailure),
            "on-abnormal" => Some(Restart::OnAbnormal),
            "on-abort" => Some(Restart::OnAbort),
            "always" => Some(Restart::Always),
            _ => None,
        });
        spec.restart = restart.unwrap_or_default();
    }

    fn times(&mut self, spec: &mut ProcessSpec) {
        // Whichever comes last of the one setting and the one for both.
        for one in &self.unit.assignments {
            if one.section != "Service" || one.value.is_empty() {
                continue;
            }
            let (start, stop) = match one.key.as_str() {
                "TimeoutSec" => (true, true),
                "TimeoutStartSec" => (true, false),
                "TimeoutStopSec" => (false, true),
                _ => continue,
            };
            let Some(span) = values::time_out(&one.value) else {
                self.notes.push(format!(
                    "{}: {}={} (not understood)",
                    self.name.full, one.key, one.value
                ));
                continue;
            };
            if start {
                spec.start_timeout = span;
            }
            if stop {
                spec.stop_timeout = span;
            }
        }
        if let Some(delay) = self.read("RestartSec", values::time) {
            spec.restart_delay = delay;
        }
    }

    /// Notes every setting that nothing above reads.
    fn left_out(&mut self) {
        for one in &self.unit.assignments {
            let usual = AS_USUAL.iter().find(|(key, _)| *key == one.key);
            let carried = match usual {
                Some((_, values)) => values.is_empty() || values.contains(&one.value.as_str()),
                None => CARRIED.contains(&one.key.as_str()),
            };
            if !carried {
                self.notes
                    .push(format!("{}: {}={}", self.name.full, one.key, one.value));
            }
        }
        for line in &self.unit.broken {
            self.notes
                .push(format!("{}: {line:?} is no setting", self.name.full));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert_text(name: &str, text: &str) -> Converted {
        convert(&UnitName::new(name), &Unit::parse(text), &|path| {
            path == "/usr/sbin/own"
        })
    }

    fn service(lines: &str) -> (ProcessSpec, Vec<String>) {
        let text = format!("[Service]\nExecStart=/usr/bin/a\n{lines}\n");
        let converted = convert_text("a.service", &text);
        (converted.process.unwrap(), converted.notes)
    }

    fn start(line: &str) -> (Option<Vec<String>>, Vec<String>) {
        let converted = convert_text("a.service", &format!("[Service]\nExecStart={line}\n"));
        (
            converted.process.map(|process| process.exec),
            converted.notes,
        )
    }

    #[test]
    fn nginx_as_debian_ships_it() {
        let text = "\
[Unit]
Description=A high performance web server
After=network-online.target redis.service
[Service]
Type=forking
PIDFile=/var/run/nginx.pid
ExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'
ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'
ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/nginx.pid
TimeoutStopSec=5
KillMode=mixed
PrivateTmp=true
[Install]
WantedBy=multi-user.target
";
        let converted = convert_text("nginx.service", text);
        let process = converted.process.unwrap();
        assert_eq!(
            process.exec,
            ["/usr/sbin/nginx", "-g", "daemon on; master_process on;"]
        );
        assert_eq!(process.ready, Ready::Forking);
        assert_eq!(process.pid_file.as_deref(), Some("/run/nginx.pid"));
        assert_eq!(process.exec_stop[0][0], "-/usr/sbin/start-stop-daemon");
        assert_eq!(process.exec_start_pre[0].len(), 5);
        assert_eq!(process.kill_mode, KillMode::Mixed);
        assert_eq!(process.stop_timeout, Span::seconds(5));
        assert_eq!(process.after, ["redis".parse().unwrap()]);
        let notes = [
            "nginx.service: After=network-online.target",
            "nginx.service: PrivateTmp=true",
        ];
        assert_eq!(converted.notes, notes);
    }

    #[test]
    fn the_prefixes_of_a_command_keep_their_meaning_or_are_noted() {
        let cases: [(&str, &[&str], usize); 9] = [
            ("/bin/a -x", &["/usr/bin/a", "-x"], 0),
            ("-/usr/bin/a", &["-/usr/bin/a"], 0),
            ("@/usr/bin/a zero one", &["/usr/bin/a", "one"], 1),
            (":/usr/bin/a $HOME", &["/usr/bin/a", "$$HOME"], 0),
            ("+/usr/bin/a", &["/usr/bin/a"], 1),
            ("!!-/usr/bin/a", &["-/usr/bin/a"], 1),
            ("own -d", &["/usr/sbin/own", "-d"], 0),
            ("sh -c 'a; b'", &["/usr/bin/sh", "-c", "a; b"], 0),
            (
                "/usr/bin/a $A ${B} %n %%",
                &["/usr/bin/a", "$A", "${B}", "a.service", "%"],
                0,
            ),
        ];
        for (line, words, notes) in cases {
            let found = start(line);
            assert_eq!(found.0.unwrap(), words, "{line}");
            assert_eq!(found.1.len(), notes, "{line}: {:?}", found.1);
        }
        for (line, note) in [
            ("/usr/bin/a %H", "%H is known to the machine only"),
            ("'/usr/bin/a", "quotes"),
            ("./a", "no program"),
        ] {
            let (process, notes) = start(line);
            assert_eq!(process, None, "{line}");
            assert!(
                notes.iter().any(|one| one.contains(note)),
                "{line}: {notes:?}"
            );
            assert!(
                notes.iter().any(|one| one.contains("it starts nothing")),
                "{line}"
            );
        }
    }

    #[test]
    fn each_type_has_its_readiness() {
        for (line, ready, notes) in [
            ("", Ready::Exec, 0),
            ("Type=simple", Ready::Exec, 0),
            ("Type=exec", Ready::Exec, 0),
            ("Type=notify", Ready::Notify, 0),
            ("Type=notify-reload", Ready::Notify, 1),
            ("Type=forking", Ready::Forking, 0),
            ("Type=oneshot\nRemainAfterExit=yes", Ready::Oneshot, 0),
            ("Type=idle", Ready::Exec, 1),
            ("Type=dbus\nBusName=x.y", Ready::Exec, 2),
            ("BusName=x.y", Ready::Exec, 2),
        ] {
            let (process, found) = service(line);
            assert_eq!(process.ready, ready, "{line}");
            assert_eq!(found.len(), notes, "{line}: {found:?}");
        }
        let (oneshot, _) = service("Type=oneshot\nRemainAfterExit=yes");
        assert!(oneshot.remain_after_exit);
        assert_eq!(oneshot.start_timeout, Span::Infinite);
    }

    #[test]
    fn a_silent_unit_gets_systemds_defaults() {
        let (silent, notes) = service("");
        assert_eq!(
            silent,
            ProcessSpec::new("a".parse().unwrap(), vec!["/usr/bin/a".into()])
        );
        assert!(notes.is_empty());
    }

    #[test]
    fn who_it_runs_as_and_its_limits_are_carried_over() {
        let (process, notes) = service(
            "User=redis\nGroup=redis\nSupplementaryGroups=adm tty\nUMask=007\nLimitNOFILE=65535",
        );
        assert_eq!(process.user.as_deref(), Some("redis"));
        assert_eq!(process.group.as_deref(), Some("redis"));
        assert_eq!(process.supplementary_groups, ["adm", "tty"]);
        assert_eq!(process.umask.as_deref(), Some("0007"));
        assert_eq!(process.limit_nofile, Some(65_535));
        assert!(notes.is_empty());
    }

    #[test]
    fn directories_and_environment_are_carried_over() {
        let (process, notes) = service(
            "RuntimeDirectory=redis other\nRuntimeDirectoryMode=2755\nStateDirectory=%p\n\
             LogsDirectory=/bad\nEnvironment=A=1 \"B=x y\"\nEnvironment=A=2\n\
             EnvironmentFile=-/etc/default/a\nWorkingDirectory=-/srv",
        );
        let runtime: Vec<_> = process
            .runtime_directory
            .iter()
            .map(|one| (one.name.as_str(), one.mode.as_deref()))
            .collect();
        assert_eq!(runtime, [("redis", Some("2755")), ("other", Some("2755"))]);
        assert_eq!(process.state_directory[0].name, "a");
        assert!(process.logs_directory.is_empty());
        let environment: Vec<_> = process.environment.into_iter().collect();
        assert_eq!(
            environment,
            [("A".into(), "2".into()), ("B".into(), "x y".into())]
        );
        assert_eq!(process.environment_file, ["-/etc/default/a"]);
        assert_eq!(process.working_directory.as_deref(), Some("/srv"));
        let expected = [
            "a.service: WorkingDirectory=-/srv (it must be there)",
            "a.service: LogsDirectory=/bad (not a path below its base)",
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn stopping_and_restarting_are_carried_over() {
        let (process, notes) = service(
            "KillSignal=INT\nTimeoutSec=10\nTimeoutStopSec=0\nRestart=always\nRestartSec=1min 500ms",
        );
        assert_eq!(process.stop_signal, "SIGINT");
        assert_eq!(process.start_timeout, Span::seconds(10));
        assert_eq!(process.stop_timeout, Span::Infinite);
        assert_eq!(process.restart, Restart::Always);
        assert_eq!(process.restart_delay, "1min 500ms".parse().unwrap());
        assert!(notes.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_noted_and_never_lost() {
        let (process, notes) = service(
            "Restart=on-watchdog\nKillMode=none\nKillSignal=NOPE\nTimeoutStopSec=soon\n\
             ProtectSystem=strict\nExecStopPost=/bin/x\nNotifyAccess=none\nUMask=9\nnonsense",
        );
        assert_eq!(process.stop_timeout, Span::seconds(90));
        for what in [
            "Restart=on-watchdog",
            "KillMode=none",
            "KillSignal=NOPE",
            "TimeoutStopSec=soon",
            "ProtectSystem=strict",
            "ExecStopPost=/bin/x",
            "NotifyAccess=none",
            "UMask=9",
            "nonsense",
        ] {
            assert_eq!(
                notes.iter().filter(|note| note.contains(what)).count(),
                1,
                "{what}: {notes:?}"
            );
        }
    }

    #[test]
    fn of_several_starts_the_last_is_the_process() {
        let text = "[Service]\nType=oneshot\nExecStart=/usr/bin/lost\nExecStart=\n\
                    ExecStart=/usr/bin/a ; /usr/bin/b\nExecStart=/usr/bin/c\n";
        let process = convert_text("a.service", text).process.unwrap();
        assert_eq!(process.exec, ["/usr/bin/c"]);
        assert_eq!(process.exec_start_pre, [["/usr/bin/a"], ["/usr/bin/b"]]);
    }

    #[test]
    fn an_instance_has_its_name_in_its_settings() {
        let text = "[Service]\nExecStart=/usr/bin/redis-server /etc/redis/redis-%i.conf\n\
                    PIDFile=/run/redis-%i/redis-server.pid\n";
        let process = convert_text("redis-server@main.service", text)
            .process
            .unwrap();
        assert_eq!(process.name.as_str(), "redis-server@main");
        assert_eq!(process.exec[1], "/etc/redis/redis-main.conf");
        assert_eq!(
            process.pid_file.as_deref(),
            Some("/run/redis-main/redis-server.pid")
        );
    }
}
