//! The example application, run as sysmgrd runs it, with its socket to this test.
//!
//! Its libraries come from its own Makefile; as in `reload.rs` each test has a mount namespace of
//! its own, in which a tree at `/opt` is covered by the next.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![expect(unsafe_code, reason = "shared with the tests that call into libraries")]

mod bench;
mod peer;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use bench::Bench;
use model::change::Verdict;
use nix::fcntl::{F_SETFD, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use peer::{Peer, Taken};
use selfmanage::{Announcement, Asked, ChangeId, Ended};

const CHANGE: ChangeId = ChangeId(1);

fn make(bench: &Bench, tree: &str, version: &str, flags: &str) {
    let built = bench.dir().join(format!("built-{tree}"));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/plugin-host");
    let output = Command::new("make")
        .args(["-C", example, "libgreeting", "plugins"])
        .arg(format!("VERSION={version}"))
        .arg(format!("OUT={}", built.display()))
        .arg(format!("LIBRARY_FLAGS={flags}"))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = bench.dir().join(tree);
    fs_err::create_dir(&tree).unwrap();
    for file in [
        "libgreeting/libgreeting.so.1",
        "plugins/hello.so",
        "plugins/goodbye.so",
    ] {
        let file = built.join(file);
        fs_err::rename(&file, tree.join(file.file_name().unwrap())).unwrap();
    }
}

/// The program, its other end, and its end when the test ends.
struct Host {
    child: Child,
    peer: Option<Peer>,
    socket: PathBuf,
}

impl Host {
    fn start(bench: &Bench, flags: &str, env: &[(&str, &str)]) -> Self {
        make(bench, "v1", "1", flags);
        make(bench, "v2", "2", flags);
        bench.show("v1");
        let examples = std::env::current_exe().unwrap();
        let program = examples
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("examples/plugin-host");
        let (ours, theirs) = UnixStream::pair().unwrap();
        fcntl(theirs.as_fd(), F_SETFD(FdFlag::empty())).unwrap();
        let ready = UnixDatagram::bind(bench.dir().join("ready")).unwrap();
        let socket = bench.dir().join("socket");
        let child = Command::new(&program)
            .env("SELFMANAGE_FD", theirs.as_raw_fd().to_string())
            .env("NOTIFY_SOCKET", bench.dir().join("ready"))
            .env("PLUGIN_HOST_SOCKET", &socket)
            .env("PLUGIN_HOST_PLUGINS", "/opt")
            .env("LD_LIBRARY_PATH", "/opt")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .expect("the example is built with the tests");
        drop(theirs);
        let host = Self {
            child,
            peer: Some(Peer::serve(ours)),
            socket,
        };
        let mut message = [0; 64];
        let length = ready.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        host
    }

    fn peer(&self) -> &Peer {
        self.peer.as_ref().unwrap()
    }

    fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).unwrap();
        Client {
            answers: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    fn evaluate(&self, announcement: &Announcement) -> Taken {
        let asked = Asked {
            process: "app".parse().unwrap(),
            verdict: Verdict::Notify,
            because: Vec::new(),
        };
        self.peer().evaluate(announcement, &asked);
        self.peer().taken()
    }

    fn prepare(&self, announcement: &Announcement) {
        self.peer().prepare(announcement);
        assert_eq!(self.peer().taken(), Taken::Prepared(1, String::new()));
    }

    fn end(&self, completed: bool) {
        self.peer().ended(&Ended {
            change: CHANGE,
            completed,
            detail: "over".to_owned(),
        });
    }

    /// Asks it to end and waits.
    fn stop(mut self) -> bool {
        kill(
            Pid::from_raw(self.child.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

struct Client {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Client {
    fn send(&mut self, request: &str) {
        writeln!(self.stream, "{request}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(
            self.answers.read_line(&mut line).unwrap(),
            0,
            "the host closed the connection"
        );
        line.trim_end().to_owned()
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.answer()
    }

    fn pid(&mut self) -> String {
        self.ask("status").split(' ').next().unwrap().to_owned()
    }
}

/// Asks without pause, from before the change until some time after it; every request must be
/// answered, in order, and by no older version than the one before it. Answers how many there were.
fn load(mut client: Client, begun: &mpsc::Sender<()>, given_up: &AtomicBool) -> usize {
    let (mut asked, mut after) = (0, 0);
    while after < 100 && !given_up.load(Ordering::Acquire) {
        asked += 1;
        let answer = client.ask("hello Ada");
        // The plugin's own count goes on over the reload: its state was handed to the new code.
        assert!(
            answer.ends_with(&format!("no. {asked})")),
            "request {asked}: {answer}"
        );
        let version = answer.chars().nth("Hello, Ada! (hello ".len()).unwrap();
        assert!(
            answer.contains(&format!("libgreeting {version}")),
            "a mix: {answer}"
        );
        assert!(version == '2' || after == 0, "it went back: {answer}");
        after += usize::from(version == '2');
        begun.send(()).unwrap();
    }
    asked
}

/// Lets the load end when the test fails.
struct GivesUp<'a>(&'a AtomicBool);

impl Drop for GivesUp<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

macro_rules! rows {
    ($(fn $name:ident($bench:ident) $body:block)*) => {$(
        #[test]
        fn $name() {
            bench::in_its_own_process(stringify!($name), &[], |$bench: &Bench| $body);
        }
    )*};
}

rows! {
    fn under_load_it_keeps_its_pid_runs_the_new_code_and_loses_nothing(bench) {
        let host = Host::start(bench, "", &[]);
        let announcement = bench.announcement("v1", "v2");
        let given_up = AtomicBool::new(false);
        let (mut client, pid) = (host.client(), host.client().pid());
        let asked = std::thread::scope(|scope| {
            let _gives_up = GivesUp(&given_up);
            let (begun, beginning) = mpsc::channel();
            let loaded = host.client();
            let given_up = &given_up;
            let load = scope.spawn(move || load(loaded, &begun, given_up));
            beginning.recv().unwrap();
            assert_eq!(host.evaluate(&announcement), Taken::Vote(1, true, String::new(), true));
            host.prepare(&announcement);
            client.send("goodbye Ada");
            bench.show("v2");
            host.peer().changed(CHANGE);
            assert_eq!(host.peer().taken(), Taken::Done(1, String::new()));
            host.end(true);
            // Asked while it waited, answered by the new code.
            assert_eq!(client.answer(), "Goodbye, Ada! (goodbye 2, libgreeting 2, no. 1)");
            load.join().unwrap()
        });
        assert!(asked > 100, "all were answered by the new code: {asked}");
        assert_eq!(client.pid(), pid);
        assert!(client.ask("status").contains("reloads=1"));
        let answer = client.ask("hello Ada");
        assert_eq!(answer, format!("Hello, Ada! (hello 2, libgreeting 2, no. {})", asked + 1));
        assert!(host.stop());
    }

    fn a_change_that_is_taken_back_is_followed_back(bench) {
        let host = Host::start(bench, "", &[]);
        let mut client = host.client();
        host.prepare(&bench.announcement("v1", "v2"));
        bench.show("v2");
        host.peer().changed(CHANGE);
        assert_eq!(host.peer().taken(), Taken::Done(1, String::new()));
        assert_eq!(client.ask("hello Ada"), "Hello, Ada! (hello 2, libgreeting 2, no. 1)");
        bench.show("v1");
        host.peer().changed(CHANGE);
        assert_eq!(host.peer().taken(), Taken::Done(1, String::new()));
        host.end(false);
        assert_eq!(client.ask("hello Ada"), "Hello, Ada! (hello 1, libgreeting 1, no. 2)");
    }

    fn a_change_that_was_not_announced_is_answered_by_asking_for_a_restart(bench) {
        let host = Host::start(bench, "", &[]);
        host.peer().changed(CHANGE);
        let Taken::Done(1, reason) = host.peer().taken() else {
            unreachable!("it answers the change");
        };
        assert!(reason.contains("not announced"), "{reason}");
    }

    fn a_veto_carries_its_reason_until_the_host_is_idle(bench) {
        let host = Host::start(bench, "", &[]);
        let announcement = bench.announcement("v1", "v2");
        assert_eq!(host.client().ask("busy on the phone"), "busy");
        let veto = Taken::Vote(1, false, "on the phone".to_owned(), true);
        assert_eq!(host.evaluate(&announcement), veto);
        assert_eq!(host.client().ask("idle"), "idle");
        assert_eq!(host.evaluate(&announcement), Taken::Vote(1, true, String::new(), true));
    }

    fn a_library_that_cannot_be_unloaded_is_said_and_the_old_one_serves_until_the_end(bench) {
        let host = Host::start(bench, "-Wl,-z,nodelete", &[]);
        let announcement = bench.announcement("v1", "v2");
        host.prepare(&announcement);
        bench.show("v2");
        host.peer().changed(CHANGE);
        let Taken::Done(1, reason) = host.peer().taken() else {
            unreachable!("it answers the change");
        };
        assert!(reason.contains("libgreeting.so.1 is never unloaded"), "{reason}");
        let mut client = host.client();
        assert_eq!(client.ask("hello Ada"), "Hello, Ada! (hello 1, libgreeting 1, no. 1)");
        assert!(host.stop());
    }

    fn a_change_that_is_called_off_lets_it_go_on_as_before(bench) {
        let host = Host::start(bench, "", &[]);
        let mut client = host.client();
        host.prepare(&bench.announcement("v1", "v2"));
        client.send("hello Ada");
        host.end(false);
        assert_eq!(client.answer(), "Hello, Ada! (hello 1, libgreeting 1, no. 1)");
        assert!(client.ask("status").contains("reloads=0"));
    }

    fn a_silent_host_never_says_done(bench) {
        let host = Host::start(bench, "", &[("PLUGIN_HOST_SILENT", "1")]);
        let mut client = host.client();
        host.prepare(&bench.announcement("v1", "v2"));
        bench.show("v2");
        host.peer().changed(CHANGE);
        host.end(false);
        // When it answers again it has taken both; an answer to the first would be there.
        client.ask("status");
        assert_eq!(host.peer().taken_so_far(), []);
    }

    fn what_was_asked_before_the_end_is_answered_before_it_ends(bench) {
        let host = Host::start(bench, "", &[]);
        let mut client = host.client();
        // Accepted by the host for sure: it has answered before.
        client.ask("status");
        host.prepare(&bench.announcement("v1", "v2"));
        client.send("hello Ada");
        client.send("hello Bob");
        assert!(host.stop());
        assert!(client.answer().starts_with("Hello, Ada!"));
        assert!(client.answer().starts_with("Hello, Bob!"));
    }

    fn it_goes_on_when_nobody_is_left_to_tell_it(bench) {
        let mut host = Host::start(bench, "", &[]);
        host.peer = None;
        assert!(host.client().ask("hello Ada").starts_with("Hello, Ada!"));
        assert!(host.stop());
    }
}
