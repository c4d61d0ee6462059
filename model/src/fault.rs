//! Fault points: named places at which a development build is killed, or made to fail, on order.
//!
//! A test walks them: one clean run lists the points that it passes, then each of them is the place
//! at which the next run ends. The environment variable [`VARIABLE`] names a file of orders; it is
//! read anew at each point, so that one daemon can be steered again and again. Absent, or in a
//! release build, a point costs nothing and does nothing.
//!
//! One order, its words separated by tabs:
//!
//! | order                     | what happens                                                     |
//! |---------------------------|------------------------------------------------------------------|
//! | `list`                    | each point that is passed is appended to `FILE.list`             |
//! | `abort` NAME NTH          | at the NTH pass the order is removed and SIGKILL is sent to itself |
//! | `error` NAME NTH ERRNO    | at the NTH pass the act fails with this error                    |
//! | `errors` NAME NTH ERRNO   | from the NTH pass on every act that can fail does                |
//!
//! A pass is counted from the moment at which the order was first seen.

use std::io;

/// The environment variable that names the file of orders.
pub const VARIABLE: &str = "CHANGEOVER_FAULT";

/// The point before an act.
///
/// # Errors
///
/// The error that was ordered here; the act is then not to be done.
#[inline]
pub fn before(act: &str) -> io::Result<()> {
    #[cfg(debug_assertions)]
    return steered::pass("before", act);
    #[cfg(not(debug_assertions))]
    {
        let _ = act;
        Ok(())
    }
}

/// The point before an act that has no way to fail.
#[inline]
pub fn point(act: &str) {
    #[cfg(debug_assertions)]
    drop(steered::pass("at", act));
    #[cfg(not(debug_assertions))]
    let _ = act;
}

/// The point after an act.
#[inline]
pub fn after(act: &str) {
    #[cfg(debug_assertions)]
    drop(steered::pass("after", act));
    #[cfg(not(debug_assertions))]
    let _ = act;
}

#[cfg(debug_assertions)]
mod steered {
    use std::io::{self, Write};
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use fs_err::OpenOptions;
    use rustix::process::{Signal, getpid, kill_process};

    /// What is ordered for one pass.
    #[derive(Debug, PartialEq, Eq)]
    enum Act {
        Nothing,
        List,
        Abort,
        Fail(i32),
    }

    #[derive(Debug)]
    struct Orders {
        file: PathBuf,
        /// The order that is counted for.
        order: String,
        passes: u64,
    }

    impl Orders {
        /// What happens at the point `when` `act`.
        fn at(&mut self, order: &str, when: &str, act: &str) -> Act {
            if order != self.order {
                order.clone_into(&mut self.order);
                self.passes = 0;
            }
            let mut words = order.trim_end().split('\t');
            let (kind, name) = (words.next().unwrap_or_default(), words.next());
            let nth: u64 = words.next().and_then(|n| n.parse().ok()).unwrap_or(1);
            let errno = words.next().and_then(|n| n.parse().ok()).unwrap_or(5);
            if kind == "list" {
                return Act::List;
            }
            let here = name.and_then(|name| name.strip_prefix(when));
            let here = here.and_then(|name| name.strip_prefix(' ')) == Some(act);
            self.passes += u64::from(here);
            match kind {
                "abort" if here && self.passes == nth => Act::Abort,
                "error" if here && self.passes == nth => Act::Fail(errno),
                "errors" if self.passes >= nth => Act::Fail(errno),
                _ => Act::Nothing,
            }
        }

        fn list(&self, when: &str, act: &str) -> io::Result<()> {
            let mut path = self.file.clone();
            path.as_mut_os_string().push(".list");
            let mut list = OpenOptions::new().create(true).append(true).open(path)?;
            list.write_all(format!("{when} {act}\n").as_bytes())
        }
    }

    /// Does what is ordered.
    pub(super) fn pass(when: &str, act: &str) -> io::Result<()> {
        static ORDERS: OnceLock<Option<Mutex<Orders>>> = OnceLock::new();
        let orders = ORDERS.get_or_init(|| {
            let file = PathBuf::from(std::env::var_os(super::VARIABLE)?);
            let order = String::new();
            Some(Mutex::new(Orders {
                file,
                order,
                passes: 0,
            }))
        });
        let Some(orders) = orders else { return Ok(()) };
        let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
        // No file, no order.
        let order = fs_err::read_to_string(&orders.file).unwrap_or_default();
        match orders.at(&order, when, act) {
            Act::List => orders.list(when, act),
            Act::Fail(errno) if when == "before" => Err(io::Error::from_raw_os_error(errno)),
            Act::Nothing | Act::Fail(_) => Ok(()),
            Act::Abort => {
                // First, or the next daemon would end here too.
                fs_err::remove_file(&orders.file)?;
                kill_process(getpid(), Signal::KILL)?;
                loop {
                    std::thread::park();
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn orders() -> Orders {
            Orders {
                file: PathBuf::new(),
                order: String::new(),
                passes: 0,
            }
        }

        #[test]
        fn an_order_is_for_one_pass_of_one_point() {
            let mut orders = orders();
            let order = "abort\tbefore write\t2\n";
            let passes = [
                ("before", "write", Act::Nothing),
                ("after", "write", Act::Nothing),
                ("before", "writes", Act::Nothing),
                ("before", "write", Act::Abort),
                ("before", "write", Act::Nothing),
            ];
            for (when, act, wanted) in passes {
                assert_eq!(orders.at(order, when, act), wanted, "{when} {act}");
            }
            let again = "abort\tbefore write\t1\tagain";
            assert_eq!(orders.at(again, "before", "write"), Act::Abort);
        }

        #[test]
        fn a_full_disk_stays_full() {
            let mut orders = orders();
            let order = "errors\tbefore b\t1\t28";
            assert_eq!(orders.at(order, "before", "a"), Act::Nothing);
            assert_eq!(orders.at(order, "before", "b"), Act::Fail(28));
            assert_eq!(orders.at(order, "before", "a"), Act::Fail(28));
            assert_eq!(orders.at("", "before", "a"), Act::Nothing);
        }

        #[test]
        fn nothing_is_ordered_where_there_is_no_file() {
            assert_eq!(orders().at("", "before", "x"), Act::Nothing);
            assert_eq!(orders().at("list", "at", "x"), Act::List);
            assert_eq!(orders().at("error\tat x\t1\t5", "at", "x"), Act::Fail(5));
        }
    }
}
