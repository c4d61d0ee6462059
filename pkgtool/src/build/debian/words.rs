//! Words, quotes and escapes as unit files have them (systemd.syntax(7), systemd.service(5)).

/// Splits `text` at white space; quotes keep words together, C escapes are read, an unknown escape
/// stays as it is. `None` where a quote is not closed or an escape is no character.
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        words.push(word(&mut rest)?.0);
    }
}

/// The commands of one `Exec…=` line: words, apart at each `;` that stands alone.
pub fn commands(text: &str) -> Option<Vec<Vec<String>>> {
    let mut commands = vec![Vec::new()];
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(char::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            commands.retain(|command| !command.is_empty());
            return Some(commands);
        }
        let (word, plain) = word(&mut rest)?;
        if plain && word == ";" {
            commands.push(Vec::new());
        } else if let Some(command) = commands.last_mut() {
            command.push(word);
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// The next word, and whether it had neither quotes nor escapes.
fn word(rest: &mut Chars<'_>) -> Option<(String, bool)> {
    let mut word = String::new();
    let mut plain = true;
    let mut quote = None;
    while let Some(c) = rest.peek().copied() {
        if quote.is_none() && c.is_ascii_whitespace() {
            break;
        }
        rest.next();
        match c {
            '\\' => {
                plain = false;
                escape(rest, &mut word)?;
            }
            '\'' | '"' if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => {
                plain = false;
                quote = Some(c);
            }
            c => word.push(c),
        }
    }
    quote.is_none().then_some((word, plain))
}

fn escape(rest: &mut Chars<'_>, word: &mut String) -> Option<()> {
    let Some(c) = rest.next() else {
        word.push('\\');
        return Some(());
    };
    let plain = match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        's' => ' ',
        '\\' | '"' | '\'' | ';' => c,
        'x' => number(rest, 16, 2)?,
        'u' => number(rest, 16, 4)?,
        'U' => number(rest, 16, 8)?,
        '0'..='7' => octal(rest, c)?,
        other => {
            word.push('\\');
            other
        }
    };
    word.push(plain);
    Some(())
}

/// Exactly `digits` digits; NUL is no character of a command line.
fn number(rest: &mut Chars<'_>, radix: u32, digits: u32) -> Option<char> {
    let mut value = 0_u32;
    for _ in 0..digits {
        value = value
            .checked_mul(radix)?
            .checked_add(rest.next()?.to_digit(radix)?)?;
    }
    char::from_u32(value).filter(|c| *c != '\0')
}

fn octal(rest: &mut Chars<'_>, first: char) -> Option<char> {
    let mut value = first.to_digit(8)?;
    for _ in 0..2 {
        value = value * 8 + rest.next()?.to_digit(8)?;
    }
    char::from_u32(value).filter(|c| *c != '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_systemd_splits_them() {
        let cases: [(&str, &[&str]); 12] = [
            ("a b\tc", &["a", "b", "c"]),
            (
                "-g 'daemon on; master_process on;'",
                &["-g", "daemon on; master_process on;"],
            ),
            (r#""a b" 'c "d"' "e'f""#, &["a b", "c \"d\"", "e'f"]),
            (r"a\x20b \101\t \s", &["a b", "A\t", " "]),
            (r"\u00e4 \U0001f600", &["ä", "😀"]),
            (r"\d+ \$x", &[r"\d+", r"\$x"]),
            ("", &[]),
            ("  ", &[]),
            ("''", &[""]),
            ("--opt='a b'c", &["--opt=a bc"]),
            (r"trailing\", &[r"trailing\"]),
            ("$A ${B} $$", &["$A", "${B}", "$$"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "'a",
            "\"a",
            r"\x0",
            r"\x00",
            r"\000",
            r"\u12",
            r"\U00110000",
        ] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_lone_semicolon_parts_two_commands() {
        assert_eq!(
            commands("/a b ; /c").unwrap(),
            [vec!["/a", "b"], vec!["/c"]]
        );
        assert_eq!(
            commands(r"/a \; ';' x;").unwrap(),
            [vec!["/a", ";", ";", "x;"]]
        );
        assert_eq!(commands(" ; ").unwrap(), Vec::<Vec<String>>::new());
    }
}
