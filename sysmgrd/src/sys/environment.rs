//! What a process is started with: environment files and command words, as systemd reads them.

use std::collections::BTreeMap;

/// The assignments of an environment file. Lines that are none are passed over, as systemd does.
pub fn parse_file(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", "");
    joined.lines().filter_map(assignment).collect()
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    is_name(name).then(|| (name.to_owned(), unquote(value.trim())))
}

/// Whether `name` may name a variable: letters, digits, `_`, not beginning with a digit.
pub fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(rest)
}

fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('"') | None, '\\') => out.extend(chars.next()),
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(_) | None, c) => out.push(c),
        }
    }
    out
}

/// Replaces variables in the words of a command line after the first: `${NAME}` anywhere in a word, by its
/// value as it is; `$NAME` as a whole word, by its value's words; `$$` is one dollar.
pub fn expand(words: &[String], environment: &BTreeMap<String, String>) -> Vec<String> {
    let Some((program, arguments)) = words.split_first() else {
        return Vec::new();
    };
    let mut out = vec![program.clone()];
    for word in arguments {
        match word.strip_prefix('$').filter(|name| is_name(name)) {
            Some(name) => {
                let value = environment
                    .get(name)
                    .map(String::as_str)
                    .unwrap_or_default();
                out.extend(value.split_whitespace().map(str::to_owned));
            }
            None => out.push(expand_braces(word, environment)),
        }
    }
    out
}

fn expand_braces(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        out.push_str(before);
        let after = &dollar[1..];
        let braced = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = braced.filter(|(name, _)| is_name(name)) {
            out.push_str(
                environment
                    .get(name)
                    .map(String::as_str)
                    .unwrap_or_default(),
            );
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_read_as_systemd_reads_them() {
        let text = "# a comment\n; another\nA=1\nexport B=2\nC = 'two words'\nD=\"a \\\"q\\\"\" \n\
                    E=one\\\ntwo\n1X=no\nF=\nG=a'b c'd\n";
        let pairs: Vec<(String, String)> = parse_file(text);
        let expected = [
            ("A", "1"),
            ("C", "two words"),
            ("D", "a \"q\""),
            ("E", "onetwo"),
            ("F", ""),
            ("G", "ab cd"),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn words_are_expanded_as_systemd_expands_them() {
        let environment = BTreeMap::from([
            ("OPTS".to_owned(), "-a  -b".to_owned()),
            ("P".to_owned(), "80".to_owned()),
        ]);
        let words = [
            "/bin/x",
            "$OPTS",
            "${OPTS}",
            "p=${P}",
            "$MISSING",
            "${MISSING}",
            "$$P",
            "a$P",
            "$",
        ];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let expected = ["/bin/x", "-a", "-b", "-a  -b", "p=80", "", "$P", "a$P", "$"];
        assert_eq!(expand(&words, &environment), expected);
    }
}
