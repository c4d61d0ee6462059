//! The syntax of systemd's unit files: sections, assignments, continuation lines, comments
//! (systemd.syntax(7)).

/// One `KEY=VALUE` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The section that it stands in, without brackets.
    pub section: String,
    /// What is before the first `=`.
    pub key: String,
    /// What follows, continuation lines joined, without white space at its ends.
    pub value: String,
}

/// A unit file with its drop-ins after it: every assignment in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// In the order in which systemd would read them.
    pub assignments: Vec<Assignment>,
    /// Lines that are neither a section, an assignment nor a comment.
    pub broken: Vec<String>,
}

impl Unit {
    /// Reads one file's text.
    pub fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        unit.read(text);
        unit
    }

    /// Reads a further file, such as a drop-in, after what is already there.
    pub fn read(&mut self, text: &str) {
        let mut section = String::new();
        for line in logical_lines(text) {
            let line = line.trim();
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=') {
                self.assignments.push(Assignment {
                    section: section.clone(),
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                });
            } else if !line.is_empty() {
                self.broken.push(line.to_owned());
            }
        }
    }

    /// The values of a setting that is a list: an empty assignment forgets those before it.
    pub fn list(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for one in self
            .assignments
            .iter()
            .filter(|one| one.section == section && one.key == key)
        {
            if one.value.is_empty() {
                values.clear();
            } else {
                values.push(one.value.as_str());
            }
        }
        values
    }

    /// The value of a setting that has one: the last; an empty one is none.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.list(section, key).pop()
    }
}

/// Lines without comments; one that ends in a backslash goes on in the next, with a space between,
/// and a comment in the middle does not end it.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        if matches!(line.trim_start().chars().next(), Some('#' | ';')) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        if ends_open(line) {
            whole.push_str(line.get(..line.len() - 1).unwrap_or_default());
            whole.push(' ');
            open = Some(whole);
        } else {
            whole.push_str(line);
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

/// Whether the backslash at the end is not itself escaped.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|c| *c == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        Unit::parse(text)
            .assignments
            .into_iter()
            .map(|one| (one.key, one.value))
            .collect()
    }

    #[test]
    fn continuation_lines_and_comments_are_read_as_systemd_reads_them() {
        let cases: [(&str, &[(&str, &str)]); 6] = [
            ("[S]\nA=1\nB = 2 \n", &[("A", "1"), ("B", "2")]),
            (
                "[S]\nA=one \\\n  two\nB=3",
                &[("A", "one    two"), ("B", "3")],
            ),
            ("[S]\nA=one\\\n# comment\n;other\ntwo", &[("A", "one two")]),
            ("[S]\n#A=1\n  ; B=2\nC=a#b;c", &[("C", "a#b;c")]),
            ("[S]\nA=x\\\\\nB=2", &[("A", "x\\\\"), ("B", "2")]),
            ("[S]\nA=b=c", &[("A", "b=c")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_assignment_forgets_what_was_before_it() {
        let mut unit = Unit::parse("[Service]\nExecStart=/a\nUser=x\n[Unit]\nExecStart=/other\n");
        assert_eq!(unit.list("Service", "ExecStart"), ["/a"]);
        unit.read("[Service]\nExecStart=\nExecStart=/b\nUser=\n");
        assert_eq!(unit.list("Service", "ExecStart"), ["/b"]);
        assert_eq!(unit.last("Service", "User"), None);
    }

    #[test]
    fn lines_that_are_nothing_are_kept_apart() {
        let unit = Unit::parse("[Service]\nwhat is this\nA=1\nopen\\");
        assert_eq!(unit.broken, ["what is this", "open"]);
    }
}
