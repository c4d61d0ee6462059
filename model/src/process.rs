//! A process as its package declares it: the manifest's `[[process]]`, with systemd's words and
//! systemd's defaults where the manifest is silent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::ProcessName;
use crate::span::Span;

/// How a process takes a change of what it uses.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is restarted.
    #[default]
    Simple,
    /// It links `libselfmanage`, is asked and told, and handles the change itself.
    SelfManaging,
}

/// How a started process says that it is ready.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// Ready as soon as its program runs (systemd's `exec`; also what `simple` is taken for).
    #[default]
    Exec,
    /// By `READY=1` on `NOTIFY_SOCKET`.
    Notify,
    /// By a newline on the descriptor `notification-fd`, as s6 has it.
    Descriptor,
    /// When each of its `ready-sockets` accepts a connection.
    Socket,
    /// The started program forks the daemon and exits; `pid-file` names the daemon.
    Forking,
    /// Ready when it has run to its end with success.
    Oneshot,
}

/// When an ended process is started again.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Only after a clean end.
    OnSuccess,
    /// After an unclean exit code, signal, or time-out.
    OnFailure,
    /// After an unclean signal or time-out.
    OnAbnormal,
    /// After an unclean signal.
    OnAbort,
    /// After every end that was not asked for.
    Always,
}

/// Who receives the stop signal and the final kill.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    /// Everyone in the control group gets both.
    #[default]
    ControlGroup,
    /// The main process gets the signal, everyone left the final kill.
    Mixed,
    /// Only the main process gets either.
    Process,
}

/// A command line: the first word is an absolute path in the view. A leading `-` on that word has
/// systemd's meaning: its failure is ignored.
pub type CommandLine = Vec<String>;

/// A socket that sysmgrd listens on for a process and passes to it (`LISTEN_FDS`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListenSocket {
    /// `FileDescriptorName=`; given in `LISTEN_FDNAMES`.
    pub name: String,
    /// As systemd's `ListenStream=`: an absolute path, `ADDRESS:PORT` or `PORT`.
    pub listen: String,
    /// `stream` (default) or `datagram`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub datagram: bool,
    /// Access mode of a socket in the file system, octal (`SocketMode=`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// One of the directories that sysmgrd makes for a process (`StateDirectory=` and its kin).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnDirectory {
    /// Relative to its base (`/var/lib`, `/run`, `/var/cache`, `/var/log`).
    pub name: String,
    /// Access mode, octal; 0755 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// A process that a package exports to be run and supervised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct ProcessSpec {
    /// Unique within a software set.
    pub name: ProcessName,
    /// `ExecStart=`.
    pub exec: CommandLine,
    /// Simple or Self-Managing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: Kind,
    /// Processes that are started before it and stopped after it, where they are in the set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ProcessName>,
    /// Patterns of other files whose change it wants to be told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses_files: Vec<String>,
    /// `ExecStartPre=`, run one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec_start_pre: Vec<CommandLine>,
    /// `ExecStartPost=`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec_start_post: Vec<CommandLine>,
    /// `ExecReload=`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec_reload: Vec<CommandLine>,
    /// `ExecStop=`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec_stop: Vec<CommandLine>,
    /// `User=`; root where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `Group=`; the user's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `SupplementaryGroups=`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplementary_groups: Vec<String>,
    /// `Environment=`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// `EnvironmentFile=`; a leading `-` lets it be absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment_file: Vec<String>,
    /// `WorkingDirectory=`; `/` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// `StateDirectory=`, below `/var/lib`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state_directory: Vec<OwnDirectory>,
    /// `RuntimeDirectory=`, below `/run`; removed when the process has stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_directory: Vec<OwnDirectory>,
    /// `CacheDirectory=`, below `/var/cache`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_directory: Vec<OwnDirectory>,
    /// `LogsDirectory=`, below `/var/log`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs_directory: Vec<OwnDirectory>,
    /// `UMask=`, octal; 0022 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// `LimitNOFILE=`; the machine's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_nofile: Option<u64>,
    /// How it says that it is ready.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ready: Ready,
    /// The descriptor for `ready = "descriptor"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_fd: Option<u32>,
    /// The sockets for `ready = "socket"`: an absolute path or `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready_sockets: Vec<String>,
    /// `PIDFile=`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<String>,
    /// Sockets that sysmgrd holds for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<ListenSocket>,
    /// `KillSignal=`, by name.
    #[serde(default = "sigterm", skip_serializing_if = "is_sigterm")]
    pub stop_signal: String,
    /// `KillMode=`
    #[serde(default, skip_serializing_if = "is_default")]
    pub kill_mode: KillMode,
    /// `TimeoutStopSec=`: from the signal to the kill.
    #[serde(default = "ninety", skip_serializing_if = "is_ninety")]
    pub stop_timeout: Span,
    /// `TimeoutStartSec=`: from the start to ready.
    #[serde(default = "ninety", skip_serializing_if = "is_ninety")]
    pub start_timeout: Span,
    /// `Restart=`
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// `RestartSec=`: the first delay; it doubles up to 5 s.
    #[serde(default = "hundred_millis", skip_serializing_if = "is_hundred_millis")]
    pub restart_delay: Span,
    /// `RemainAfterExit=`, for `oneshot`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub remain_after_exit: bool,
    /// A program that votes for a process which links nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluate: CommandLine,
    /// Whether a restart of it is an objection of its own, for processes that are not asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disruption: Disruption,
    /// A program that says whether it is healthy, run in its view after it is ready and before the
    /// change is called done; exit status 0 is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: CommandLine,
    /// How long `check` may take.
    #[serde(default = "thirty", skip_serializing_if = "is_thirty")]
    pub check_timeout: Span,
    /// The signal that tells a Simple process that files of `uses-files` have changed, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_signal: Option<String>,
    /// State that an older binary cannot read carries a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_version: Option<u32>,
    /// Whether its state directories are copied before another `state-version` takes them over, and
    /// put back when the change is taken back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub snapshot: bool,
    /// Brings the state of an older `state-version` up to this one's; run in the new view, as the
    /// process's user, before it starts. `STATE_FROM` and `STATE_TO` hold the numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrate: CommandLine,
    /// Brings the state back to an older `state-version`; run in the newer view, after the newer
    /// process has stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrate_back: CommandLine,
}

/// What a restart of a Simple process means to its owner.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Disruption {
    /// It may be restarted.
    #[default]
    Allow,
    /// It objects to every change that would stop or restart it, unless forced.
    Veto,
}

impl ProcessSpec {
    /// A process with systemd's defaults for all that is not said.
    pub fn new(name: ProcessName, exec: CommandLine) -> Self {
        Self {
            name,
            exec,
            kind: Kind::default(),
            after: Vec::new(),
            uses_files: Vec::new(),
            exec_start_pre: Vec::new(),
            exec_start_post: Vec::new(),
            exec_reload: Vec::new(),
            exec_stop: Vec::new(),
            user: None,
            group: None,
            supplementary_groups: Vec::new(),
            environment: BTreeMap::new(),
            environment_file: Vec::new(),
            working_directory: None,
            state_directory: Vec::new(),
            runtime_directory: Vec::new(),
            cache_directory: Vec::new(),
            logs_directory: Vec::new(),
            umask: None,
            limit_nofile: None,
            ready: Ready::default(),
            notification_fd: None,
            ready_sockets: Vec::new(),
            pid_file: None,
            sockets: Vec::new(),
            stop_signal: sigterm(),
            kill_mode: KillMode::default(),
            stop_timeout: ninety(),
            start_timeout: ninety(),
            restart: Restart::default(),
            restart_delay: hundred_millis(),
            remain_after_exit: false,
            evaluate: Vec::new(),
            disruption: Disruption::default(),
            check: Vec::new(),
            check_timeout: thirty(),
            change_signal: None,
            state_version: None,
            snapshot: false,
            migrate: Vec::new(),
            migrate_back: Vec::new(),
        }
    }

    /// Whether it has a view of its own, into which a change moves it when it says so.
    pub fn is_told(&self) -> bool {
        self.kind == Kind::SelfManaging || !self.uses_files.is_empty()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn sigterm() -> String {
    "SIGTERM".to_owned()
}

fn is_sigterm(signal: &str) -> bool {
    signal == "SIGTERM"
}

const fn ninety() -> Span {
    Span::seconds(90)
}

fn is_ninety(span: &Span) -> bool {
    *span == ninety()
}

const fn thirty() -> Span {
    Span::seconds(30)
}

fn is_thirty(span: &Span) -> bool {
    *span == thirty()
}

const fn hundred_millis() -> Span {
    Span::Finite(std::time::Duration::from_millis(100))
}

fn is_hundred_millis(span: &Span) -> bool {
    *span == hundred_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_manifest_gets_systemds_defaults() {
        let json = r#"{"name":"ribd","exec":["/usr/sbin/ribd"]}"#;
        let spec: ProcessSpec = serde_json::from_str(json).unwrap();
        assert_eq!(
            spec,
            ProcessSpec::new("ribd".parse().unwrap(), vec!["/usr/sbin/ribd".into()])
        );
        assert_eq!(serde_json::to_string(&spec).unwrap(), json);
        assert_eq!(spec.stop_timeout, Span::seconds(90));
    }

    #[test]
    fn an_unknown_word_is_refused() {
        let json = r#"{"name":"a","exec":["/usr/bin/a"],"stop-timout":"5s"}"#;
        serde_json::from_str::<ProcessSpec>(json).unwrap_err();
    }
}
