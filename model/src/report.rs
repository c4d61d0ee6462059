//! An error and its causes on one line.

use std::error::Error;
use std::fmt;

/// Shows an error as `what: why: why that`, each part once.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A writer for a log: each record that is written at once stays one line, and nothing in it can
/// look like another record or steer a terminal. Names, reasons and paths come from outside.
#[derive(Debug)]
pub struct OneLine<W> {
    /// Where the lines go.
    pub to: W,
    /// The log is coloured: the escape character passes.
    pub coloured: bool,
}

impl<W: std::io::Write> std::io::Write for OneLine<W> {
    fn write(&mut self, record: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let is_plain = |c: char| !c.is_control() || c == '\t' || (c == '\x1b' && self.coloured);
        if body.chars().all(is_plain) {
            self.to.write_all(record)?;
        } else {
            let mut line = String::with_capacity(text.len() + 16);
            for c in body.chars() {
                if is_plain(c) {
                    line.push(c);
                } else {
                    line.extend(c.escape_default());
                }
            }
            line.push('\n');
            self.to.write_all(line.as_bytes())?;
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::OneLine;

    #[test]
    fn a_record_stays_one_line_whatever_is_in_it() {
        let write = |record: &str, coloured| {
            let mut line = OneLine {
                to: Vec::new(),
                coloured,
            };
            line.write_all(record.as_bytes()).unwrap();
            String::from_utf8(line.to).unwrap()
        };
        let hostile = "veto: no\n2026-11-23 INFO all is well\r\x1b[2J\0\n";
        let line = "veto: no\\n2026-11-23 INFO all is well\\r\\u{1b}[2J\\u{0}\n";
        assert_eq!(write(hostile, false), line);
        assert_eq!(
            write("\x1b[32mINFO\x1b[0m ä\n", true),
            "\x1b[32mINFO\x1b[0m ä\n"
        );
    }
}
