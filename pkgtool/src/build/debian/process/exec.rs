//! Command lines of services: prefixes, words, specifiers, the program's place.

use model::path::merged_usr;
use model::process::CommandLine;

use super::super::words;
use super::Reader;

impl Reader<'_> {
    /// The command lines of an `Exec…=` setting.
    pub(super) fn commands(&mut self, key: &str) -> Vec<CommandLine> {
        let mut all = Vec::new();
        for value in self.unit.list("Service", key) {
            match words::commands(value) {
                Some(commands) => {
                    all.extend(
                        commands
                            .into_iter()
                            .filter_map(|words| self.command(key, words)),
                    );
                }
                None => self.refuse(key, value, "its quotes or escapes are wrong"),
            }
        }
        all
    }

    /// One command line: the prefixes of systemd.service(5), the program's place, specifiers.
    fn command(&mut self, key: &str, words: Vec<String>) -> Option<CommandLine> {
        let shown = words.join(" ");
        let mut words = words.into_iter();
        let first = words.next()?;
        let program = first.trim_start_matches(['-', '@', ':', '+', '!']);
        let prefixes = first.strip_suffix(program).unwrap_or_default();
        if prefixes.contains('@') {
            let argument = words.next().unwrap_or_default();
            self.refuse(key, &shown, &format!("argv[0] {argument:?} is not set"));
        }
        if prefixes.contains(['+', '!']) {
            self.refuse(key, &shown, "runs with the process's own rights");
        }
        let program = self.expand(key, program)?;
        let program = self.program(key, &program)?;
        let ignored = if prefixes.contains('-') { "-" } else { "" };
        let mut line = vec![format!("{ignored}{program}")];
        for word in words {
            let word = self.expand(key, &word)?;
            // `:` means that `$` is itself, which is written `$$`.
            line.push(if prefixes.contains(':') {
                word.replace('$', "$$")
            } else {
                word
            });
        }
        Some(line)
    }

    /// Its absolute path in the view.
    fn program(&mut self, key: &str, program: &str) -> Option<String> {
        if program.starts_with('/') {
            return Some(merged_usr(program));
        }
        if program.is_empty() || program.contains('/') {
            self.refuse(key, program, "no program");
            return None;
        }
        let own = ["/usr/sbin", "/usr/bin"].map(|place| format!("{place}/{program}"));
        let found = own.iter().find(|path| (self.has)(path));
        Some(
            found
                .cloned()
                .unwrap_or_else(|| format!("/usr/bin/{program}")),
        )
    }
}
