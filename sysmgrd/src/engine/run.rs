//! From the machine's actions to effects, and from what comes back to the machine's events.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::process::{CommandLine, KillMode, Kind, Ready};
use model::report::Chain;
use model::{ProcessName, Span};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal as Sig;

use super::supervised::{Ear, Supervised, Task};
use super::{Engine, Event, News, Signal, Tools};
use crate::process::machine::{self, Action, Again, Commands, End, State, Then, Timer, Why};
use crate::sys::cgroup::{Group, Join, send};
use crate::sys::launch::{Order, identity, notify_path, open_sockets};
use crate::sys::logs::Log;
use crate::sys::notify_socket::{Message, NotifySocket};
use crate::sys::spawn::Spawned;
use crate::sys::view::View;
use crate::sys::{clock, own_directories, reap, session_socket, sockets, watched};

/// A daemon's pid file may come a moment after its parent has gone.
const PID_FILE_LOOK: Duration = Duration::from_millis(20);

impl Engine {
    /// One step of a process's machine, and all that follows from it.
    pub(super) fn step(&mut self, name: &ProcessName, event: machine::Event) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let before = process.state.clone();
        let (after, actions) = machine::step(&process.rules(), before.clone(), event);
        let changed = after != before;
        process.state = after;
        if changed {
            process.since = clock::stamp();
            self.entered(name, &before);
        }
        for action in actions {
            self.act(name, &action);
        }
        if changed {
            self.after_change(name, &before);
        }
    }

    /// Notes times, and begins a new run where one begins.
    fn entered(&mut self, name: &ProcessName, before: &State) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let was_starting = matches!(before, State::Pre(_) | State::Starting);
        let down = matches!(
            before,
            State::Stopped
                | State::Waiting
                | State::Failed(_)
                | State::Done
                | State::Stopping(_)
                | State::Killing(_)
        );
        match &process.state {
            State::Pre(_) | State::Starting if down && !was_starting => self.begin_run(name),
            State::StopCommand(..) | State::Stopping(_) if !down || *before == State::Done => {
                if !matches!(before, State::StopCommand(..)) {
                    process.times.stop = Some(clock::now());
                }
            }
            State::Ready | State::Done => process.times.ready = Some(clock::now()),
            State::Stopped
            | State::Pre(_)
            | State::Starting
            | State::Post(_)
            | State::StopCommand(..)
            | State::Stopping(_)
            | State::Killing(_)
            | State::Waiting
            | State::Failed(_) => {}
        }
    }

    fn after_change(&mut self, name: &ProcessName, before: &State) {
        self.save(name);
        if let Some(process) = self.processes.get(name) {
            tracing::debug!(process = %name, from = ?before, to = ?process.state, "state");
            self.tell_all(Signal::ProcessChanged(process.status()));
        }
        self.note_end_for_question(name);
        self.advance(name);
    }

    /// A new run: a number, a mark, a group; what is left of the last one's tasks ends.
    fn begin_run(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        process.run += 1;
        process.starts = process.starts.saturating_add(1);
        process.history.started(clock::now());
        process.invocation = invocation();
        process.group = Some(self.tools.cgroups.group(name, &process.invocation));
        process.main = None;
        process.command = None;
        process.status = None;
        process.session = None;
        process.watched = false;
        process.tasks.clear();
        process.moves = crate::sys::view::Moves::None;
        process.times.start = None;
        process.times.ready = None;
        // Outside a transition a start is in the newest generation: that is what the next boot
        // would start it in, and nothing that it uses differs there.
        if !self.held.contains(name)
            && let Some(tree) = &self.tree
        {
            process.tree = tree.clone();
        }
    }

    fn act(&mut self, name: &ProcessName, action: &Action) {
        match action {
            Action::Run(commands, number) => self.run_command(name, *commands, *number),
            Action::Spawn => self.spawn_main(name),
            Action::AwaitReady => self.await_sockets(name),
            Action::FindMain => self.find_main(name),
            Action::Signal => self.signal(name),
            Action::Kill => self.kill(name),
            Action::Arm(timer) => self.arm(name, *timer),
            Action::Disarm => self.disarm(name),
            Action::CleanUp => self.clean_up(name),
        }
    }

    fn arm(&mut self, name: &ProcessName, timer: Timer) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let span = match timer {
            Timer::Start => process.spec.start_timeout,
            Timer::Stop => process.spec.stop_timeout,
            Timer::Restart(delay) => Span::Finite(delay),
        };
        process.armed += 1;
        process.timer = None;
        let Some(delay) = span.limit() else { return };
        let event = Event::Due(name.clone(), process.armed);
        let task = self.after(delay, event);
        if let Some(process) = self.processes.get_mut(name) {
            process.timer = Some(task);
        }
    }

    fn disarm(&mut self, name: &ProcessName) {
        if let Some(process) = self.processes.get_mut(name) {
            process.armed += 1;
            process.timer = None;
        }
    }

    /// The process asked for more time: `EXTEND_TIMEOUT_USEC`.
    fn extend(&mut self, name: &ProcessName, time: Duration) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.timer.is_none() {
            return;
        }
        process.armed += 1;
        let event = Event::Due(name.clone(), process.armed);
        let task = self.after(time, event);
        if let Some(process) = self.processes.get_mut(name) {
            process.timer = Some(task);
        }
    }

    /// A message on its way back to this run of `name`.
    pub(super) fn news_of(&self, name: &ProcessName) -> impl Fn(News) -> Event + Send + 'static {
        let run = self
            .processes
            .get(name)
            .map(|process| process.run)
            .unwrap_or_default();
        let name = name.clone();
        move |news| Event::Process(name.clone(), run, news)
    }

    fn spawn_main(&mut self, name: &ProcessName) {
        let event = self.news_of(name);
        let prepared = self.prepare_main(name);
        let (handle, tools, views) = (self.handle.clone(), self.tools.clone(), self.views.clone());
        tokio::spawn(async move {
            let work = move || {
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
    fn prepare_main(&mut self, name: &ProcessName) -> Result<Pending, String> {
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
            process.ear = Some(Ear::Messages(socket));
        } else if process.spec.ready == Ready::Descriptor {
            let (reader, writer) =
                pipe_with(PipeFlags::CLOEXEC).map_err(|e| format!("no notification pipe: {e}"))?;
            pending.notification = Some(Arc::new(writer));
            process.ear = Some(Ear::Newline(reader));
        }
        if process.spec.kind == Kind::SelfManaging {
            let pair = session_socket::pair().map_err(|e| format!("no session socket: {e}"))?;
            pending.session = Some(Arc::new(pair.1));
            self.open_session(name, pair.0);
        }
        Ok(pending)
    }

    /// A start, with what main program and commands have in common.
    fn pending(
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

    fn run_command(&mut self, name: &ProcessName, commands: Commands, number: usize) {
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
            let work = move || {
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

    /// What a run of a process has to say.
    pub(super) fn news(&mut self, name: &ProcessName, news: News) {
        match news {
            News::Launched(Ok((spawned, listen))) => self.launched(name, spawned, listen),
            News::Launched(Err(why)) => self.step(name, machine::Event::NotStarted(why)),
            News::CommandLaunched(commands, result) => {
                self.command_launched(name, commands, result);
            }
            News::CommandEnded(pid, result) => {
                if let Some(process) = self.processes.get_mut(name)
                    && process.command == Some(pid)
                {
                    process.command = None;
                    self.step(name, machine::Event::CommandEnded(result));
                }
            }
            News::Exited(pid, exit) => {
                if let Some(process) = self.processes.get_mut(name)
                    && process.main == Some(pid)
                {
                    process.main = None;
                    process.session = None;
                    self.step(name, machine::Event::Exited(exit));
                }
            }
            News::Ready => self.step(name, machine::Event::Ready),
            News::Main(Ok(pid)) => {
                self.follow(name, pid);
                self.step(name, machine::Event::Ready);
            }
            News::Main(Err(why)) => self.step(name, machine::Event::MainLost(why)),
            News::Emptied => {
                let again = self.again(name);
                self.step(name, machine::Event::Emptied(again));
            }
            News::Notified(message) => self.notified(name, message),
            News::Moved(result) => self.moved(name, result),
            News::DoneDue(count) => self.done_due(name, count),
            News::Checked(left) => self.checked(name, &left),
        }
    }

    fn launched(&mut self, name: &ProcessName, spawned: Spawned, listen: Listening) {
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
        self.watch(name, spawned);
        self.hear(name);
        self.save(name);
        self.step(name, machine::Event::Started);
    }

    /// Listens to what the program says, from its start on: what it has said in the meantime waits
    /// in the kernel, so nothing is heard before the engine knows the process.
    fn hear(&mut self, name: &ProcessName) {
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

    fn watch(&self, name: &ProcessName, spawned: Spawned) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let children = self.tools.children.clone();
        tokio::spawn(async move {
            let exit = children.exit_of(spawned.pid, spawned.pidfd).await;
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
        self.tools.children.adopt(pid);
        self.watch(name, Spawned { pid, pidfd });
        self.save(name);
    }

    fn command_launched(
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

    fn notified(&mut self, name: &ProcessName, message: Message) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if !may_speak(process, &message, &self.tools) {
            tracing::warn!(process = %name, pid = message.pid, uid = message.uid, "a stranger's notification is passed over");
            return;
        }
        let news = message.news;
        if let Some(status) = news.status {
            process.status = Some(status);
        }
        if let Some(errno) = news.errno.filter(|errno| *errno != 0) {
            process.status = Some(std::io::Error::from_raw_os_error(errno).to_string());
        }
        let main = news.main_pid.filter(|pid| process.members().contains(pid));
        if let Some(pid) = main {
            self.follow(name, pid);
        }
        if let Some(time) = news.extend {
            self.extend(name, time);
        }
        if news.ready {
            self.step(name, machine::Event::Ready);
        }
    }

    fn await_sockets(&mut self, name: &ProcessName) {
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

    fn find_main(&mut self, name: &ProcessName) {
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
            let found = loop {
                let members = group.members(None);
                if members.is_empty() {
                    break Err("its program ended and left no daemon".to_owned());
                }
                let found = match &pid_file {
                    Some(file) => read_pid(&places.outside(Path::new(file)))
                        .filter(|pid| members.contains(pid)),
                    None => oldest(&members),
                };
                if let Some(pid) = found {
                    break Ok(pid);
                }
                tokio::time::sleep(PID_FILE_LOOK).await;
            };
            handle.send(event(News::Main(found))).await;
        }));
    }

    fn signal(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get(name) else {
            return;
        };
        let signal = stop_signal(&process.spec.stop_signal);
        let single: Vec<u32> = process.main.or(process.command).into_iter().collect();
        let targets = match process.spec.kill_mode {
            KillMode::ControlGroup => process.members(),
            KillMode::Mixed | KillMode::Process => single,
        };
        for pid in targets {
            send(pid, signal);
            // One that is stopped by a signal could not take it.
            send(pid, Sig::CONT);
        }
        self.watch_end(name);
    }

    fn kill(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let (main, group) = (process.main, process.group.clone());
        match process.spec.kill_mode {
            KillMode::Process => process
                .main
                .into_iter()
                .for_each(|pid| send(pid, Sig::KILL)),
            KillMode::ControlGroup | KillMode::Mixed => {
                let Some(group) = group else { return };
                process.tasks.push(Task::spawn(kill_all(group, main)));
            }
        }
        self.watch_end(name);
    }

    /// Tells the machine when nothing is left of the process, once a run.
    fn watch_end(&mut self, name: &ProcessName) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if std::mem::replace(&mut process.watched, true) {
            return;
        }
        let (main, group) = (process.main, process.group.clone());
        let only_main = process.spec.kill_mode == KillMode::Process;
        process.tasks.push(Task::spawn(async move {
            match (only_main, main, group) {
                (true, Some(main), _) => gone(main).await,
                (false, main, Some(group)) => reap::emptied(&group, main).await,
                (true, None, _) | (false, _, None) => {}
            }
            handle.send(event(News::Emptied)).await;
        }));
    }

    fn clean_up(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        process.main = None;
        process.command = None;
        process.session = None;
        process.watched = false;
        process.tasks.clear();
        if let Some(group) = process.group.take() {
            group.remove();
        }
        if process.spec.ready == Ready::Notify {
            drop(fs_err::remove_file(notify_path(
                &self.tools.places,
                name.as_str(),
            )));
        }
        own_directories::remove_runtime(&self.tools.places, &process.spec);
    }

    /// What the restart policy says of an end that nobody asked for.
    fn again(&mut self, name: &ProcessName) -> Again {
        let held = self.held.contains(name);
        let Some(process) = self.processes.get_mut(name) else {
            return Again::No;
        };
        let (State::Stopping(Then::Ended(end)) | State::Killing(Then::Ended(end))) = &process.state
        else {
            return Again::No;
        };
        if held || *end == End::Failed(Why::Unkillable) {
            return Again::No;
        }
        let first = process.spec.restart_delay.limit().unwrap_or_default();
        let (policy, end) = (process.spec.restart, end.clone());
        process.history.decide(policy, first, &end, clock::now())
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
    let spawned = tools.children.launch(&order, &tools.places);
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

async fn kill_all(group: Group, main: Option<u32>) {
    // Again and again: a version 1 group may gain a member between the list and the signal.
    while !group.members(main).is_empty() {
        group.kill(main);
        let wait = reap::emptied(&group, main);
        drop(tokio::time::timeout(Duration::from_millis(50), wait).await);
    }
}

async fn gone(pid: u32) {
    let Ok(pidfd) = reap::open(pid) else { return };
    if let Ok(fd) = watched::readable(pidfd) {
        drop(fd.readable().await);
    }
}

fn may_speak(process: &Supervised, message: &Message, tools: &Tools) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if message.uid == 0 || message.uid == own {
        return true;
    }
    let user = identity(&tools.places, &process.spec)
        .ok()
        .and_then(|(user, _)| user);
    user.is_some_and(|user| user.uid == message.uid) || process.members().contains(&message.pid)
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

/// The signal that a declaration names; SIGTERM where nobody knows that name.
fn stop_signal(name: &str) -> Sig {
    let full = if name.starts_with("SIG") {
        name.to_owned()
    } else {
        format!("SIG{name}")
    };
    let known = full.parse::<nix::sys::signal::Signal>().ok();
    known
        .and_then(|signal| Sig::from_named_raw(signal as i32))
        .unwrap_or(Sig::TERM)
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
fn oldest(members: &[u32]) -> Option<u32> {
    let started = members
        .iter()
        .filter_map(|pid| Some((reap::start_time(*pid)?, *pid)));
    started.min().map(|(_, pid)| pid)
}

fn invocation() -> String {
    let uuid = fs_err::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    uuid.chars().filter(char::is_ascii_hexdigit).collect()
}
