//! Nodes behind a proxy, and nodes whose certificate has ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, all_run};
use tests::wait;

/// A proxy that knows CONNECT and nothing else; gone with the value.
struct Proxy {
    address: String,
    tunnels: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl Proxy {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (tunnels, closed) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counter, end) = (Arc::clone(&tunnels), Arc::clone(&closed));
        let task = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || drop(tunnel(stream, &counter)));
            }
        });
        Ok(Self {
            address,
            tunnels,
            closed,
            task: Some(task),
        })
    }

    fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // It waits for one more.
        drop(TcpStream::connect(&self.address));
        if let Some(task) = self.task.take() {
            drop(task.join());
        }
    }
}

/// `CONNECT HOST:PORT`, and then bytes both ways.
fn tunnel(stream: TcpStream, counter: &AtomicUsize) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("no CONNECT: {line}"))?;
    let master = TcpStream::connect(target)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
    }
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    counter.fetch_add(1, Ordering::Relaxed);
    let (down, up) = (master.try_clone()?, stream.try_clone()?);
    let other = std::thread::spawn(move || copy(down, up));
    copy(reader, master);
    drop(other.join());
    Ok(())
}

/// Until one side ends.
fn copy(mut from: impl Read, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}

#[test]
fn a_node_behind_a_proxy_joins_is_asked_and_changes_over_through_it() -> Result<()> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    let proxy = Proxy::start()?;
    let variable = format!("http://{}", proxy.address);
    fleet.start_node_with("one", &[], &[("HTTPS_PROXY", &variable)])?;
    fleet.join("one")?;
    fleet.await_presence("one", "connected")?;
    let joined = proxy.tunnels();
    ensure!(joined >= 2, "enrolment and the link: {joined}");
    fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one"], "g=1")?;
    ensure!(proxy.tunnels() > joined, "objects did not take the proxy");
    // There is no other way.
    drop(proxy);
    fleet.kill_master()?;
    fleet.start_master()?;
    wait::until("the node says why it is away", || {
        let text = fleet.node("one")?.ok(&["pkgtool", "status"])?;
        Ok(text.contains("proxy").then_some(()))
    })?;
    fleet.await_presence("one", "away")
}

/// Until when the node's certificate counts.
fn until(fleet: &Fleet, node: &str) -> Result<String> {
    let view = fleet.view(node)?;
    let until = view["certificate-until"].as_str();
    Ok(until.context("no certificate")?.to_owned())
}

#[test]
fn a_certificate_is_renewed_in_time_and_one_that_has_ended_within_the_grace() -> Result<()> {
    let house = House::shared()?;
    let mut fleet = Fleet::start_with("[certificates]\nlife = \"1min\"\ngrace = \"1h\"\n")?;
    house.import(&fleet)?;
    fleet.add_nodes(&[("here", &[]), ("away", &[])])?;
    fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    fleet.stop_node("away")?;
    let (here, away) = (until(&fleet, "here")?, until(&fleet, "away")?);
    // The certificate's own time has to pass.
    let end = Instant::now() + Duration::from_secs(62);
    let limit = Duration::from_secs(90);
    wait::within(limit, "it has another one", || {
        Ok((until(&fleet, "here")? != here).then_some(()))
    })?;
    let left = end.saturating_duration_since(Instant::now());
    ensure!(left.as_secs() >= 5, "it was renewed at the last moment");
    wait::within(limit, "the old one has ended", || {
        Ok((Instant::now() > end).then_some(()))
    })?;
    ensure!(until(&fleet, "away")? == away, "it was not there");
    fleet.wake_node("away")?;
    ensure!(until(&fleet, "away")? != away, "it has the old one");
    fleet.await_presence("here", "connected")?;
    // Both are asked and change over as before.
    fleet.ok(&["assign", "fleet", "g=2"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["here", "away"], "g=2")
}
