//! From a process's declaration to a program that can be started: users, directories, environment,
//! words, descriptors. Everything that can fail for a reason worth a sentence fails here, before a
//! child exists.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use model::ProcessSpec;
use model::bus::session::FD_VARIABLE;
use rustix::fs::{Mode, OFlags};

use super::cgroup::Join;
use super::own_directories::{self, DirectoryError};
use super::places::Places;
use super::spawn::{Program, SpawnError, Spawned, Step, User, spawn};
use super::users::{self, Account, UserError};
use super::view::View;
use super::{environment, open_files, sockets};

/// One command to be started for a process.
#[derive(Debug, Clone)]
pub struct Order {
    /// The process it belongs to.
    pub spec: Arc<ProcessSpec>,
    /// Its words, as declared.
    pub words: Vec<String>,
    /// The view it runs in.
    pub view: View,
    /// Whether it gets a copy of the view for itself.
    pub own_view: bool,
    /// An existing namespace to run in instead: that of the process itself.
    pub namespace: Option<Arc<OwnedFd>>,
    /// Its control group.
    pub group: Join,
    /// Where its output goes.
    pub output: Arc<OwnedFd>,
    /// Variables of this one start: `MAINPID`, `INVOCATION_ID`, `NOTIFY_SOCKET`, …
    pub variables: BTreeMap<String, String>,
    /// Held sockets with their names; for the main program only.
    pub listen: Vec<(String, Arc<OwnedFd>)>,
    /// The session's socket; for the main program only.
    pub session: Option<Arc<OwnedFd>>,
    /// Where a newline says ready; for the main program only.
    pub notification: Option<Arc<OwnedFd>>,
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Its user or group does not exist.
    #[error("cannot run as declared")]
    User(#[from] UserError),
    /// A directory of its own.
    #[error("cannot have what it declares")]
    Directory(#[from] DirectoryError),
    /// A file of variables.
    #[error("cannot read its environment-file")]
    EnvironmentFile(#[source] io::Error),
    /// A word with a NUL in it.
    #[error("{0:?} holds a NUL byte")]
    Nul(String),
    /// It has no program.
    #[error("its command line is empty")]
    Empty,
    /// A number that does not fit.
    #[error("{what} {value:?} is not {rule}")]
    Value {
        /// Which field.
        what: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        rule: &'static str,
    },
    /// Something of the daemon's own.
    #[error("could not prepare its start")]
    Os(#[from] io::Error),
    /// The kernel refused.
    #[error("{what}")]
    Spawn {
        /// The step and the thing.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Whom the process runs as, and its account where it names one.
pub fn identity(
    places: &Places,
    spec: &ProcessSpec,
) -> Result<(Option<User>, Option<Account>), UserError> {
    let account = spec
        .user
        .as_deref()
        .map(|name| users::account(places, name))
        .transpose()?;
    if account.is_none() && spec.group.is_none() && spec.supplementary_groups.is_empty() {
        return Ok((None, None));
    }
    let (uid, own_gid) = account
        .as_ref()
        .map_or((0, 0), |account| (account.uid, account.gid));
    let gid = spec
        .group
        .as_deref()
        .map_or(Ok(own_gid), |name| users::group(places, name))?;
    let mut groups = match &account {
        Some(account) => users::memberships(places, &account.name, gid)?,
        None => vec![gid],
    };
    for name in &spec.supplementary_groups {
        let group = users::group(places, name)?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok((Some(User { uid, gid, groups }), account))
}

/// Starts what `order` says. Waits for the program to run; milliseconds, but not for the bus's
/// threads.
pub fn launch(order: &Order, places: &Places) -> Result<Spawned, LaunchError> {
    let program = prepare(order, places)?;
    spawn(&program)
        .map_err(|error| explain(&error, &program, order))
        .map_err(|mut error| {
            if let LaunchError::Spawn { source, .. } = &mut error
                && source.kind() == io::ErrorKind::NotFound
            {
                *source = io::Error::new(io::ErrorKind::NotFound, "no such file");
            }
            error
        })
}

fn explain(error: &SpawnError, program: &Program, order: &Order) -> LaunchError {
    let path = program.path.to_string_lossy();
    let generation = order.view.tree.generation;
    let what = match error.step {
        Step::Program => format!("{path} in generation {generation}"),
        Step::Clone => format!("no process for {path}"),
        Step::Group => "it could not join its control group".to_owned(),
        Step::View | Step::OwnView => {
            format!("it could not enter the view of generation {generation}")
        }
        Step::Session => "it could not have a session of its own".to_owned(),
        Step::Limits => "limit-nofile was refused".to_owned(),
        Step::Descriptors => "its descriptors could not be placed".to_owned(),
        Step::Groups | Step::User => {
            format!(
                "it could not become user {}",
                order.spec.user.as_deref().unwrap_or("root")
            )
        }
        Step::Directory => format!("working directory {}", program.directory.to_string_lossy()),
    };
    let code = error.source.raw_os_error().map_or_else(
        || io::Error::other(error.source.to_string()),
        io::Error::from_raw_os_error,
    );
    LaunchError::Spawn { what, source: code }
}

fn prepare(order: &Order, places: &Places) -> Result<Program, LaunchError> {
    let spec = &order.spec;
    let (user, account) = identity(places, spec)?;
    let directories = own_directories::make(places, spec, user.as_ref())?;
    let mut variables = base_environment(account.as_ref());
    variables.extend(spec.environment.clone());
    for file in &spec.environment_file {
        variables.extend(read_environment(file, places)?);
    }
    variables.extend(
        directories
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    variables.extend(order.variables.clone());
    let descriptors = descriptors(order, &mut variables)?;
    let words = environment::expand(&order.words, &variables);
    let program = words.first().ok_or(LaunchError::Empty)?;
    let program = program.strip_prefix('-').unwrap_or(program).to_owned();
    let mut arguments = vec![program.clone()];
    arguments.extend(words.into_iter().skip(1));
    let directory = spec.working_directory.as_deref().unwrap_or("/");
    let directory = match (directory, &account) {
        ("~", Some(account)) => account.home.as_str(),
        (other, _) => other.strip_prefix('-').unwrap_or(other),
    };
    Ok(Program {
        path: text(program)?,
        arguments: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
        environment: variables
            .into_iter()
            .map(|(name, value)| text(format!("{name}={value}")))
            .collect::<Result<_, _>>()?,
        listen_pid: !order.listen.is_empty(),
        view: Some(
            order
                .namespace
                .clone()
                .unwrap_or_else(|| Arc::clone(&order.view.namespace)),
        ),
        own_view: order.own_view && order.namespace.is_none(),
        group: order.group.clone(),
        user,
        directory: text(directory.to_owned())?,
        umask: spec
            .umask
            .as_deref()
            .map_or(Ok(0o022), |mask| octal("umask", mask))?,
        open_files: open_files::of(spec.limit_nofile),
        descriptors,
    })
}

fn text(word: String) -> Result<CString, LaunchError> {
    CString::new(word)
        .map_err(|error| LaunchError::Nul(String::from_utf8_lossy(&error.into_vec()).into_owned()))
}

fn octal(what: &'static str, value: &str) -> Result<u32, LaunchError> {
    let bad = || LaunchError::Value {
        what,
        value: value.to_owned(),
        rule: "an octal number",
    };
    u32::from_str_radix(value, 8)
        .ok()
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(bad)
}

fn base_environment(account: Option<&Account>) -> BTreeMap<String, String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut variables = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
    if let Some(account) = account {
        let pairs = [
            ("USER", &account.name),
            ("LOGNAME", &account.name),
            ("HOME", &account.home),
            ("SHELL", &account.shell),
        ];
        variables.extend(pairs.map(|(name, value)| (name.to_owned(), value.clone())));
    }
    variables
}

fn read_environment(file: &str, places: &Places) -> Result<Vec<(String, String)>, LaunchError> {
    let (path, may_be_absent) = file
        .strip_prefix('-')
        .map_or((file, false), |path| (path, true));
    match fs_err::read_to_string(places.outside(Path::new(path))) {
        Ok(text) => Ok(environment::parse_file(&text)),
        Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(LaunchError::EnvironmentFile(error)),
    }
}

/// The process's descriptors by number, and the variables that tell it of them.
fn descriptors(
    order: &Order,
    variables: &mut BTreeMap<String, String>,
) -> Result<Vec<(RawFd, Arc<OwnedFd>)>, LaunchError> {
    let mut list = vec![
        (0, null()?),
        (1, Arc::clone(&order.output)),
        (2, Arc::clone(&order.output)),
    ];
    let mut next: RawFd = 3;
    for (_, socket) in &order.listen {
        list.push((next, Arc::clone(socket)));
        next += 1;
    }
    if !order.listen.is_empty() {
        let names: Vec<&str> = order.listen.iter().map(|(name, _)| name.as_str()).collect();
        variables.insert("LISTEN_FDS".to_owned(), names.len().to_string());
        variables.insert("LISTEN_FDNAMES".to_owned(), names.join(":"));
    }
    if let Some(pipe) = &order.notification {
        let wanted = order.spec.notification_fd.unwrap_or_default();
        let number = RawFd::try_from(wanted)
            .ok()
            .filter(|number| *number >= next && *number < 1024);
        let number = number.ok_or_else(|| LaunchError::Value {
            what: "notification-fd",
            value: wanted.to_string(),
            rule: "a free number from 3 to 1023",
        })?;
        list.push((number, Arc::clone(pipe)));
    }
    if let Some(session) = &order.session {
        while list.iter().any(|(number, _)| *number == next) {
            next += 1;
        }
        list.push((next, Arc::clone(session)));
        variables.insert(FD_VARIABLE.to_owned(), next.to_string());
    }
    Ok(list)
}

/// Standard input, opened once for all.
fn null() -> io::Result<Arc<OwnedFd>> {
    static NULL: OnceLock<Arc<OwnedFd>> = OnceLock::new();
    if let Some(null) = NULL.get() {
        return Ok(Arc::clone(null));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let null = Arc::new(rustix::fs::open("/dev/null", flags, Mode::empty())?);
    Ok(Arc::clone(NULL.get_or_init(|| null)))
}

/// The sockets that `spec` declares, listening.
pub fn open_sockets(
    places: &Places,
    spec: &ProcessSpec,
) -> Result<Vec<(String, Arc<OwnedFd>)>, LaunchError> {
    let owner = identity(places, spec)?.0;
    let open = |socket| sockets::listen(places, socket, owner.as_ref());
    let opened = spec.sockets.iter().map(|socket| {
        let fd = open(socket).map_err(|source| LaunchError::Spawn {
            what: format!("could not listen on {}", socket.listen),
            source,
        })?;
        Ok((socket.name.clone(), Arc::new(fd)))
    });
    opened.collect()
}

/// The path of a process's notification socket.
pub fn notify_path(places: &Places, name: &str) -> PathBuf {
    own_path(&places.run_dir.join("notify"), name)
}

/// The path by which a process comes back to the next daemon.
pub fn session_path(places: &Places, name: &str) -> PathBuf {
    own_path(&places.run_dir.join("session"), name)
}

/// A process's own path in `directory`, short enough for an address whatever its name is.
fn own_path(directory: &Path, name: &str) -> PathBuf {
    if name.len() <= 48 {
        return directory.join(name);
    }
    // FNV-1a: a name that is too long only needs one that no other has.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    directory.join(format!("~{hash:016x}"))
}
