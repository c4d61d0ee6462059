//! How many files may be open: more for this daemon, which holds several for each process, than for
//! what it starts.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many as this daemon may have; what it starts keeps the limit that it had before.
pub fn raise() {
    let inherited = *INHERITED.get_or_init(|| getrlimit(Resource::Nofile));
    let raised = Rlimit {
        current: inherited.maximum,
        maximum: inherited.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays");
    }
}

/// The soft and hard limit of a process that declares `wanted`; `None`: it inherits this daemon's.
pub fn of(wanted: Option<u64>) -> Option<(u64, u64)> {
    let inherited = INHERITED.get().map(|limit| {
        let number = |value: Option<u64>| value.unwrap_or(libc::RLIM_INFINITY);
        (number(limit.current), number(limit.maximum))
    });
    wanted.map(|wanted| (wanted, wanted)).or(inherited)
}
