//! Starts: the main program, the commands around it, and who is the main process afterwards.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::bus::session::SOCKET_VARIABLE;
use model::process::{CommandLine, Ready};
use model::report::Chain;
use model::{ProcessName, fault};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal as Sig;

use super::supervised::{Ear, Supervised, Task};
use super::{Engine, Event, News, Tools};
use crate::dbus::session::Way;
use crate::process::machine::{self, Commands, State};
use crate::sys::cgroup::{Group, Join};
use crate::sys::launch::{Order, identity, notify_path, open_sockets, session_path};
use crate::sys::logs::Log;
use crate::sys::notify_socket::NotifySocket;
use crate::sys::spawn::Spawned;
use crate::sys::view::View;
use crate::sys::{clock, fd_store, reap, session_socket, sockets};

/// A daemon's pid file may come a moment after its parent has gone.
const PID_FILE_LOOK: Duration = Duration::from_millis(20);

impl Engine {
    pub(super) fn spawn_main(&mut self, name: &ProcessName) {
        let event = self.news_of(name);
        let prepared = self.prepare_main(name);
        let (handle, tools, views) = (self.handle.clone(), self.tools.clone(), self.views.clone());
        tokio::spawn(async move {
            let slot = tools.children.slot().await;
            let work = move || {
                let _slot = slot;
                let pending = prepared?;
                let view = views.get(&pending.tree, &tools.places)?;
                launch(&tools, pending, view)
            };
            let result = tokio::task::spawn_blocking(work).await;
            let result = result.unwrap_or_else(|error| Err(error.to_string()));
            handle.send(event(News::Launched(result))).await;
        });
    }

    /// All that belongs to a start of the main program besides the program.
    pub(super) fn prepare_main(&mut self, name: &ProcessName) -> Result<Pending, String> {
        let mut pending = self.pending(name, |process| process.spec.exec.clone())?;
        let process = self.processes.get_mut(name).ok_or("it is gone")?;
        pending.own_view = process.spec.is_told();
        pending.main = true;
        if process.spec.ready == Ready::Notify {
            let path = notify_path(&self.tools.places, name.as_str());
            let socket =
                NotifySocket::bind(&path).map_err(|e| format!("no notification socket: {e}"))?;
            let seen = self.tools.places.inside(&path);
            pending
                .variables
                .insert("NOTIFY_SOCKET".to_owned(), seen.display().to_string());
            // Before the process can say anything: what it says is read, by this daemon or the next.
            let kept = fd_store::notify_name(name.as_str());
            self.tools.store.keep(&kept, socket.as_fd());
            process.ear = Some(Ear::Messages(socket));
        } else if process.spec.ready == Ready::Descriptor {
            let (reader, writer) =
                pipe_with(PipeFlags::CLOEXEC).map_err(|e| format!("no notification pipe: {e}"))?;
            pending.notification = Some(Arc::new(writer));
            process.ear = Some(Ear::Newline(reader));
        }
        // A Simple process that uses files may ask to be told of them by call.
        if process.spec.is_told() {
            let pair = session_socket::pair().map_err(|e| format!("no session socket: {e}"))?;
            pending.session = Some(Arc::new(pair.1));
            let path = session_path(&self.tools.places, name.as_str());
            let promised = session_socket::promise(&path);
            promised.map_err(|e| format!("no way back to its session: {e}"))?;
            let seen = self.tools.places.inside(&path).display().to_string();
            pending.variables.insert(SOCKET_VARIABLE.to_owned(), seen);
            self.open_session(name, Way::Inherited(pair.0));
        }
        Ok(pending)
    }

    /// A start, with what main program and commands have in common.
    pub(super) fn pending(
        &mut self,
        name: &ProcessName,
        words: impl Fn(&Supervised) -> CommandLine,
    ) -> Result<Pending, String> {
        let places = Arc::clone(&self.tools.places);
        let process = self.processes.get_mut(name).ok_or("it is gone")?;
        if process.log.is_none() {
            let log = Log::open(&places.run_dir, name.as_str());
            process.log = Some(log.map_err(|error| format!("cannot keep its output: {error}"))?);
        }
        let group = process
            .group
            .as_ref()
            .map_or(Ok(Join::Nothing), Group::join);
        let group = group.map_err(|error| format!("no control group: {error}"))?;
        let mut variables =
            BTreeMap::from([("INVOCATION_ID".to_owned(), process.invocation.clone())]);
        if let Some(main) = process.main {
            variables.insert("MAINPID".to_owned(), main.to_string());
        }
        let listen = process.listen.clone();
        Ok(Pending {
            words: words(process),
            spec: Arc::clone(&process.spec),
            tree: process.tree.clone(),
            own_view: false,
            main: false,
            group,
            log: process.log.clone().ok_or("no log")?,
            variables,
            listen,
            session: None,
            notification: None,
        })
    }

    pub(super) fn run_command(&mut self, name: &ProcessName, commands: Commands, number: usize) {
        let event = self.news_of(name);
        let prepared = self.pending(name, |process| {
            let list = match commands {
                Commands::Pre => &process.spec.exec_start_pre,
                Commands::Post => &process.spec.exec_start_post,
                Commands::Stop => &process.spec.exec_stop,
            };
            list.get(number).cloned().unwrap_or_default()
        });
        let (handle, tools, views) = (self.handle.clone(), self.tools.clone(), self.views.clone());
        tokio::spawn(async move {
            let slot = tools.children.slot().await;
            let work = move || {
                let _slot = slot;
                let pending = prepared?;
                let view = views.get(&pending.tree, &tools.places)?;
                launch(&tools, pending, view)
            };
            let result = tokio::task::spawn_blocking(work).await;
            let result = result.unwrap_or_else(|error| Err(error.to_string()));
            handle
                .send(event(News::CommandLaunched(
                    commands,
                    result.map(|(s, _)| s),
                )))
                .await;
        });
    }

    pub(super) fn launched(&mut self, name: &ProcessName, spawned: Spawned, listen: Listening) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if !matches!(
            process.state,
            State::Starting | State::Stopping(_) | State::Killing(_)
        ) {
            return self.late(News::Launched(Ok((spawned, listen))));
        }
        process.main = Some(spawned.pid);
        process.times.start = Some(clock::now());
        process.listen = listen;
        process.main_since = None;
        self.watch(name, spawned);
        self.hear(name);
        self.save(name);
        self.step(name, machine::Event::Started);
    }

    /// Listens to what the program says, from its start on: what it has said in the meantime waits
    /// in the kernel, so nothing is heard before the engine knows the process.
    pub(super) fn hear(&mut self, name: &ProcessName) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let task = match process.ear.take() {
            Some(Ear::Messages(socket)) => Task::spawn(listen(socket, handle, event)),
            Some(Ear::Newline(reader)) => Task::spawn(await_newline(reader, handle, event)),
            None => return,
        };
        process.tasks.push(task);
    }

    /// A program that was being started when its run ended must not outlive it.
    pub(super) fn late(&self, news: News) {
        let (News::Launched(Ok((spawned, _))) | News::CommandLaunched(_, Ok(spawned))) = news
        else {
            return;
        };
        let children = self.tools.children.clone();
        let _ = rustix::process::pidfd_send_signal(&spawned.pidfd, Sig::KILL);
        tokio::spawn(async move { children.exit_of(spawned.pid, spawned.pidfd).await });
    }

    /// Awaits the end of the main process.
    pub(super) fn watch(&mut self, name: &ProcessName, spawned: Spawned) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let children = self.tools.children.clone();
        let pidfd = Arc::new(spawned.pidfd);
        if let Some(process) = self.processes.get_mut(name) {
            process.main_fd = Some(Arc::clone(&pidfd));
        }
        tokio::spawn(async move {
            let exit = children.exit_of(spawned.pid, pidfd).await;
            handle.send(event(News::Exited(spawned.pid, exit))).await;
        });
    }

    /// Takes `pid`, which is alive and of its group, for the main process.
    pub(super) fn follow(&mut self, name: &ProcessName, pid: u32) {
        let Ok(pidfd) = reap::open(pid) else { return };
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.main == Some(pid) {
            return;
        }
        process.main = Some(pid);
        process.main_since = None;
        self.tools.children.adopt(pid);
        self.watch(name, Spawned { pid, pidfd });
        self.save(name);
    }

    pub(super) fn command_launched(
        &mut self,
        name: &ProcessName,
        commands: Commands,
        result: Result<Spawned, String>,
    ) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let lenient = command_is_lenient(process, commands);
        let spawned = match result {
            Ok(spawned) => spawned,
            Err(why) => {
                let result = if lenient { Ok(()) } else { Err(why) };
                return self.step(name, machine::Event::CommandEnded(result));
            }
        };
        process.command = Some(spawned.pid);
        let label = match commands {
            Commands::Pre => "exec-start-pre",
            Commands::Post => "exec-start-post",
            Commands::Stop => "exec-stop",
        };
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let children = self.tools.children.clone();
        tokio::spawn(async move {
            let exit = children.exit_of(spawned.pid, spawned.pidfd).await;
            let result = if exit.is_success() || lenient {
                Ok(())
            } else {
                Err(format!("{label} {exit}"))
            };
            handle
                .send(event(News::CommandEnded(spawned.pid, result)))
                .await;
        });
    }

    pub(super) fn await_sockets(&mut self, name: &ProcessName) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let places = Arc::clone(&self.tools.places);
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let listening = process.spec.ready_sockets.clone();
        process.tasks.push(Task::spawn(async move {
            sockets::all_accept(&places, &listening).await;
            handle.send(event(News::Ready)).await;
        }));
    }

    pub(super) fn find_main(&mut self, name: &ProcessName) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let places = Arc::clone(&self.tools.places);
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let Some(group) = process.group.clone() else {
            return;
        };
        let pid_file = process.spec.pid_file.clone();
        process.tasks.push(Task::spawn(async move {
            let mut last = None;
            let found = loop {
                let members = group.members(None);
                if members.is_empty() {
                    break Err("its program ended and left no daemon".to_owned());
                }
                let found = if let Some(file) = &pid_file {
                    read_pid(&places.outside(Path::new(file))).filter(|pid| members.contains(pid))
                } else {
                    // One that only forks once more is here at the first look and gone at the next.
                    let now = oldest(&members);
                    let same = now.filter(|pid| last == Some(*pid));
                    last = now;
                    same
                };
                if let Some(pid) = found {
                    break Ok(pid);
                }
                tokio::time::sleep(PID_FILE_LOOK).await;
            };
            handle.send(event(News::Main(found))).await;
        }));
    }
}

/// Held sockets with their names.
pub(super) type Listening = Vec<(String, Arc<OwnedFd>)>;

/// A start that lacks only its view.
pub(super) struct Pending {
    words: CommandLine,
    spec: Arc<model::ProcessSpec>,
    tree: model::transition::Tree,
    own_view: bool,
    main: bool,
    group: Join,
    log: Log,
    variables: BTreeMap<String, String>,
    listen: Listening,
    session: Option<Arc<OwnedFd>>,
    notification: Option<Arc<OwnedFd>>,
}

/// Starts what is pending, on a blocking thread. Answers the held sockets too: they are opened
/// before a process's first start and stay open over its restarts.
fn launch(tools: &Tools, pending: Pending, view: View) -> Result<(Spawned, Listening), String> {
    let owner =
        identity(&tools.places, &pending.spec).map_err(|error| Chain(&error).to_string())?;
    let owner = owner.0.map(|user| (user.uid, user.gid));
    let output = pending
        .log
        .writer(owner)
        .map_err(|error| format!("cannot take its output: {error}"))?;
    let same = pending.listen.iter().map(|(name, _)| name).eq(pending
        .spec
        .sockets
        .iter()
        .map(|s| &s.name));
    let listen = if same || !pending.main {
        pending.listen
    } else {
        drop(pending.listen);
        open_sockets(&tools.places, &pending.spec).map_err(|error| Chain(&error).to_string())?
    };
    let order = Order {
        spec: pending.spec,
        words: pending.words,
        view,
        own_view: pending.own_view,
        namespace: None,
        group: pending.group,
        output: Arc::new(output),
        variables: pending.variables,
        listen: if pending.main {
            listen.clone()
        } else {
            Vec::new()
        },
        session: pending.session,
        notification: pending.notification,
    };
    fault::before("launch a program").map_err(|error| error.to_string())?;
    let spawned = tools.children.launch(&order, &tools.places);
    fault::after("launch a program");
    spawned
        .map(|spawned| (spawned, listen))
        .map_err(|error| Chain(&error).to_string())
}

async fn listen(
    socket: NotifySocket,
    handle: super::Handle,
    event: impl Fn(News) -> Event + Send + 'static,
) {
    while let Ok(message) = socket.next().await {
        handle.send(event(News::Notified(message))).await;
    }
}

async fn await_newline(
    reader: OwnedFd,
    handle: super::Handle,
    event: impl Fn(News) -> Event + Send + 'static,
) {
    let Ok(mut reader) = tokio::net::unix::pipe::Receiver::from_owned_fd(reader) else {
        return;
    };
    let mut bytes = [0_u8; 256];
    loop {
        match tokio::io::AsyncReadExt::read(&mut reader, &mut bytes).await {
            Ok(count) if count > 0 => {
                if bytes.get(..count).unwrap_or_default().contains(&b'\n') {
                    return handle.send(event(News::Ready)).await;
                }
            }
            // It closed the descriptor without a word: its start-timeout decides.
            Ok(_) | Err(_) => return,
        }
    }
}

fn command_is_lenient(process: &Supervised, commands: Commands) -> bool {
    let (list, number) = match (&process.state, commands) {
        (State::Pre(number), Commands::Pre) => (&process.spec.exec_start_pre, *number),
        (State::Post(number), Commands::Post) => (&process.spec.exec_start_post, *number),
        (State::StopCommand(number, _), Commands::Stop) => (&process.spec.exec_stop, *number),
        _ => return true,
    };
    let first = list.get(number).and_then(|words| words.first());
    first.is_some_and(|word| word.starts_with('-'))
}

fn read_pid(path: &Path) -> Option<u32> {
    let mut text = String::new();
    fs_err::File::open(path)
        .ok()?
        .take(64)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok()
}

/// The member that was started first.
pub(super) fn oldest(members: &[u32]) -> Option<u32> {
    let started = members
        .iter()
        .filter_map(|pid| Some((reap::start_time(*pid)?, *pid)));
    started.min().map(|(_, pid)| pid)
}
