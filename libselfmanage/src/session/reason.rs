//! Reasons: mandatory, so never empty.

use std::fmt;

/// The most bytes that a reason has on the bus.
const LONGEST: usize = 1000;

/// A reason that says something: not empty, at most 1,000 bytes, one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason(String);

/// A reason was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reason is mandatory, and this one is empty")]
pub struct NoReason;

impl Reason {
    /// A reason in these words. Control characters become spaces; what is past 1,000 bytes is cut.
    ///
    /// # Errors
    ///
    /// There is nothing but white space in it.
    pub fn new(text: &str) -> Result<Self, NoReason> {
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = line.trim();
        let end = line.floor_char_boundary(LONGEST);
        match line.get(..end) {
            Some(line) if !line.is_empty() => Ok(Self(line.trim_end().to_owned())),
            _ => Err(NoReason),
        }
    }

    /// A reason from a message that cannot be empty by its making.
    pub(crate) fn clipped(text: &str) -> Self {
        Self::new(text).unwrap_or_else(|NoReason| Self("no reason given".to_owned()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for Reason {
    type Error = NoReason;

    fn try_from(text: &str) -> Result<Self, NoReason> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_on_one_line() {
        assert_eq!(
            Reason::new(" a call\nis up "),
            Ok(Reason("a call is up".to_owned()))
        );
        assert_eq!(Reason::new(" \n\t"), Err(NoReason));
        assert_eq!(Reason::new(""), Err(NoReason));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = Reason::new(&"ä".repeat(600)).unwrap();
        assert_eq!(reason.as_str().len(), 1000);
        let reason = Reason::new(&format!("x{}", "ä".repeat(600))).unwrap();
        assert_eq!(reason.as_str().len(), 999);
    }
}
