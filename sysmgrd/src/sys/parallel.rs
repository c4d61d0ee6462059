//! Work on many things at once, for blocking threads: looking at a process takes some 30
//! microseconds in the kernel, and a node has many.

use std::num::NonZero;
use std::sync::OnceLock;
use std::thread;

/// Fewer things are not worth another thread.
const WORTH_IT: usize = 16;
/// Nor are more threads: a node has other work too.
const MOST: usize = 8;

/// Has `work` done on consecutive parts of `all`, as many at once as there are processors; answers
/// what each part gave, in order. `work` is told how many things stand before its part.
pub fn in_parts<T: Sync, R: Send>(all: &[T], work: impl Fn(usize, &[T]) -> R + Sync) -> Vec<R> {
    let parts = processors().min(all.len() / WORTH_IT).max(1);
    let size = all.len().div_ceil(parts).max(1);
    let mut chunks = all.chunks(size).enumerate();
    let first = chunks.next();
    thread::scope(|scope| {
        let work = &work;
        let others = chunks.map(|(at, part)| scope.spawn(move || work(at * size, part)));
        let others: Vec<_> = others.collect();
        let own = first.map(|(_, part)| work(0, part));
        let others = others.into_iter().map(|other| match other.join() {
            Ok(given) => given,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        own.into_iter().chain(others).collect()
    })
}

/// Looking costs some file reads itself.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| {
        thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(MOST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_is_worked_on_once_and_in_order() {
        for count in [0, 1, 15, 16, 33, 1000] {
            let all: Vec<usize> = (0..count).collect();
            let given = in_parts(&all, |before, part| {
                assert_eq!(part.first(), Some(&before));
                part.to_vec()
            });
            assert_eq!(given.concat(), all);
        }
    }
}
