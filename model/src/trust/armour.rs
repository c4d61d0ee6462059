//! signify's form: a comment line, a line of base64.

use base64ct::{Base64, Encoding};

/// What a comment line begins with; the word is signify's and says what it is worth.
const HEAD: &str = "untrusted comment: ";

/// No file of ours has longer ones; signify's limit.
const LONGEST_COMMENT: usize = 1024;

/// Two lines, taken apart, and what follows them.
pub(super) struct Opened<'a, const N: usize> {
    pub(super) comment: &'a str,
    pub(super) bytes: [u8; N],
    pub(super) rest: &'a str,
}

/// Takes the first two lines of `text` apart; `None` where they are anything else.
pub(super) fn open<const N: usize>(text: &str) -> Option<Opened<'_, N>> {
    let (comment, rest) = text.split_once('\n')?;
    let comment = comment.strip_prefix(HEAD)?;
    let (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let plain = |c: char| !c.is_control();
    if comment.len() > LONGEST_COMMENT || !comment.chars().all(plain) {
        return None;
    }
    let bytes = Base64::decode_vec(line).ok()?.try_into().ok()?;
    Some(Opened {
        comment,
        bytes,
        rest,
    })
}

/// The two lines.
pub(super) fn close(comment: &str, bytes: &[u8]) -> String {
    let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=comment.len().min(LONGEST_COMMENT))
        .rev()
        .find(|at| comment.is_char_boundary(*at));
    let comment = comment.get(..end.unwrap_or(0)).unwrap_or_default();
    format!("{HEAD}{comment}\n{}\n", Base64::encode_string(bytes))
}

/// The `N` bytes at `at`.
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..at + N).and_then(|part| part.try_into().ok());
    found.unwrap_or([0; N])
}
