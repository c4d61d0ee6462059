//! What decides the dynamic loader's search on this machine: its cache and its processor.

use std::io::Read;

use resolve::loader::{Cache, Rules};

use super::rooted::Root;

/// More than any real cache has; a larger one is not read.
const LIMIT: u64 = 16 << 20;

/// The rules as they are now, and what is wrong with them. A missing cache is no cache.
pub fn rules(root: &Root) -> (Rules, Option<String>) {
    let (cache, note) = match root.read("etc/ld.so.cache") {
        Ok(file) => {
            let mut bytes = Vec::new();
            match file.take(LIMIT).read_to_end(&mut bytes) {
                Ok(_) => match Cache::parse(&bytes) {
                    Ok(cache) => (cache, None),
                    Err(error) => (Cache::default(), Some(format!("/etc/ld.so.cache: {error}"))),
                },
                Err(error) => (Cache::default(), Some(error.to_string())),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Cache::default(), None),
        Err(error) => (Cache::default(), Some(error.to_string())),
    };
    (
        Rules {
            cache,
            hwcaps: hwcaps(),
        },
        note,
    )
}

/// Levels of the processor, the best first, as `ld.so --help` lists them.
#[cfg(target_arch = "x86_64")]
fn hwcaps() -> Vec<String> {
    macro_rules! all {
        ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
    }
    let v2 = all!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3");
    let v3 = v2 && all!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
    let v4 = v3 && all!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
    let levels = [(v4, "x86-64-v4"), (v3, "x86-64-v3"), (v2, "x86-64-v2")];
    levels
        .iter()
        .filter(|(has, _)| *has)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Other architectures have levels too, which no Debian package uses yet.
#[cfg(not(target_arch = "x86_64"))]
fn hwcaps() -> Vec<String> {
    Vec::new()
}
