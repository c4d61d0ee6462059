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
