//! Clocks, and what the kernel says of masterd.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A stopwatch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_secs())
}

/// Proportional set size of a process, in bytes.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib: u64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .context("no Pss in smaps_rollup")?;
    Ok(kib * 1024)
}

/// Bytes that all TCP sockets of the machine hold in the kernel.
pub(crate) fn socket_memory() -> Result<u64> {
    let text = fs_err::read_to_string("/proc/net/sockstat")?;
    let tcp = text.lines().find(|line| line.starts_with("TCP:"));
    let words: Vec<&str> = tcp.unwrap_or_default().split(' ').collect();
    let at = words.iter().position(|word| *word == "mem");
    let pages: u64 = at
        .and_then(|at| words.get(at + 1)?.parse().ok())
        .context("no memory of TCP in sockstat")?;
    Ok(pages * 4096)
}

/// Bytes that the kernel's own structures take, sockets among them.
pub(crate) fn slab() -> Result<u64> {
    let text = fs_err::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Slab:"));
    let kib: u64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .context("no Slab in meminfo")?;
    Ok(kib * 1024)
}

/// A process and its children.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>> {
    let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children
        .split_whitespace()
        .filter_map(|one| one.parse().ok());
    Ok(std::iter::once(pid).chain(children).collect())
}

/// Processor time of some processes so far.
pub(crate) fn cpu_of(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// Processor time of a process so far.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("no name in stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // user and system time, in hundredths of a second.
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let all = ticks(11).zip(ticks(12)).context("no times in stat")?;
    Ok(Duration::from_millis((all.0 + all.1) * 10))
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or_default()
}
