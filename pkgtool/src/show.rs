//! The only printer: results on standard output, everything else on standard error.
//!
//! Commands render text with a [`Look`] and hand it over; for programs (`--json`) they hand over
//! the document instead, one line each. Whoever closes our output early (`| head`) has read
//! enough: [`OutputError::Closed`] ends the command without a word.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::change::Progress;
use serde::Serialize;
use thiserror::Error;

use crate::args::{ColorChoice, GlobalArgs};
use crate::outcome::{CommandError, Kind};

/// Why something could not be printed.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The reader has gone.
    #[error("the output was closed")]
    Closed,
    /// It could not be written.
    #[error("could not write the output")]
    Io(#[source] io::Error),
    /// It could not be read what the user answers.
    #[error("could not read the answer")]
    Answer(#[source] io::Error),
    /// A document that cannot be encoded.
    #[error("could not encode the answer as JSON")]
    Encode(#[source] serde_json::Error),
}

impl OutputError {
    /// Whether the reader has gone.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}

/// How text is to look: colours or none, and how wide it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether escape sequences are wanted.
    pub color: bool,
    /// Columns; `usize::MAX` where nobody counts them.
    pub width: usize,
}

impl Look {
    /// Plain text of this width, as tests and pipes have it.
    pub const fn plain(width: usize) -> Self {
        Self {
            color: false,
            width,
        }
    }

    /// `text` in this style.
    pub fn paint(self, style: Style, text: impl Display) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }

    /// A heading or a name that matters.
    pub fn strong(self, text: impl Display) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What may be passed over.
    pub fn faint(self, text: impl Display) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// Good news.
    pub fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// To be looked at.
    pub fn notable(self, text: impl Display) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    /// Bad news.
    pub fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// A table without lines; columns named in `right` are aligned to the right.
    pub fn table(self, heads: &[&str], right: &[&str], rows: &[Vec<String>]) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.width != usize::MAX {
            table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
            table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        }
        table.set_header(heads.iter().map(|head| head.to_uppercase()));
        for row in rows {
            table.add_row(row);
        }
        for (column, head) in table.column_iter_mut().zip(heads) {
            column.set_padding((0, 2));
            if right.contains(head) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text: String = table
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect();
        if let (true, Some(end)) = (self.color, text.find('\n')) {
            let head = self.faint(&text[..end]);
            text.replace_range(..end, &head);
        }
        text
    }
}

/// The terminal, or whatever stands in its place.
pub struct Show {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    json: bool,
    quiet: bool,
    look: Look,
    err_look: Look,
    /// Whether somebody can be asked.
    answers: bool,
}

impl fmt::Debug for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Show")
            .field("json", &self.json)
            .field("look", &self.look)
            .finish_non_exhaustive()
    }
}

impl Show {
    /// Standard output and standard error, as the options want them.
    pub fn new(global: &GlobalArgs) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let look = |terminal: bool, term: &console::Term| Look {
            color: match global.color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
            },
            width: match (terminal, term.size_checked()) {
                (true, Some((_, columns))) => usize::from(columns).max(40),
                (true, None) | (false, _) => usize::MAX,
            },
        };
        Self {
            look: look(out.is_terminal(), &console::Term::stdout()),
            err_look: look(err.is_terminal(), &console::Term::stderr()),
            answers: io::stdin().is_terminal() && err.is_terminal(),
            out: Box::new(out),
            err: Box::new(err),
            json: global.json,
            quiet: global.quiet,
        }
    }

    /// Into these, for tests.
    pub fn into_writers(out: Box<dyn Write>, err: Box<dyn Write>, look: Look, json: bool) -> Self {
        Self {
            out,
            err,
            json,
            quiet: false,
            look,
            err_look: look,
            answers: false,
        }
    }

    /// Whether the output is for a program: then only [`Self::document`] is to be used.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether only what was asked for is to be printed.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// How text for standard output is to look.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Prints a line, or several, on standard output.
    pub fn line(&mut self, text: impl Display) -> Result<(), OutputError> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints rendered text that brings its own line ends.
    pub fn text(&mut self, text: &str) -> Result<(), OutputError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints a document as JSON on one line.
    pub fn document<T: Serialize + ?Sized>(&mut self, document: &T) -> Result<(), OutputError> {
        let text = serde_json::to_string(document).map_err(OutputError::Encode)?;
        self.line(text)
    }

    /// The answer of a command: the document for programs, the text for people.
    pub fn answer<T: Serialize + ?Sized>(
        &mut self,
        document: &T,
        text: impl FnOnce(Look) -> String,
    ) -> Result<(), OutputError> {
        if self.json {
            self.document(document)
        } else {
            self.text(&text(self.look))
        }
    }

    /// What a command that was to do something has done: the document for programs, the text for
    /// people who did not ask for quiet.
    pub fn told<T: Serialize + ?Sized>(
        &mut self,
        document: &T,
        text: impl FnOnce(Look) -> String,
    ) -> Result<(), OutputError> {
        if self.quiet && !self.json {
            return Ok(());
        }
        self.answer(document, text)
    }

    /// Says what goes on, on standard error; not when quiet or for programs.
    pub fn note(&mut self, text: impl Display) {
        if !self.quiet && !self.json {
            self.say(text);
        }
    }

    /// Says what is wrong but stops nothing.
    pub fn warn(&mut self, text: impl Display) {
        let head = self.err_look.notable("warning:");
        self.say(format!("{head} {text}"));
    }

    /// Says why a command failed and what to do about it; as one JSON line for programs.
    pub fn error(&mut self, error: &CommandError) {
        if error.kind == Kind::OutputClosed {
            return;
        }
        let message = on_one_line(&error.error);
        if self.json {
            let document = serde_json::json!({
                "error": message, "kind": error.kind.name(), "hints": error.hints,
            });
            return self.say(document);
        }
        let head = self.err_look.bad("error:");
        self.say(format!("{head} {message}"));
        for hint in &error.hints {
            let head = self.err_look.good("  try:");
            self.say(format!("{head} {}", hint.replace('\n', "\n       ")));
        }
    }

    /// Nobody is left to be told when standard error is gone.
    fn say(&mut self, text: impl Display) {
        drop(writeln!(self.err, "{text}"));
    }

    /// Asks a yes-or-no question. Where nobody can answer, that is a usage error that names
    /// `--yes`.
    pub fn confirm(&mut self, question: &str) -> Result<bool, CommandError> {
        if !self.answers {
            return Err(
                CommandError::usage("nobody can be asked: standard input is no terminal")
                    .hint("--yes goes on without asking"),
            );
        }
        write!(self.err, "{question} [y/N] ").map_err(OutputError::from)?;
        self.err.flush().map_err(OutputError::from)?;
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(OutputError::Answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a word; none: nobody can be asked, or the input has ended.
    pub fn ask(&mut self, question: &str) -> Result<Option<String>, OutputError> {
        if !self.answers {
            return Ok(None);
        }
        write!(self.err, "{question} ")?;
        self.err.flush()?;
        let mut answer = String::new();
        let read = io::stdin()
            .read_line(&mut answer)
            .map_err(OutputError::Answer)?;
        Ok((read > 0).then(|| answer.trim().to_owned()))
    }

    /// A place on standard output that is drawn again and again; none where it is no terminal.
    pub fn screen(&self) -> Option<Screen> {
        let term = console::Term::stdout();
        (!self.json && self.look.width != usize::MAX && term.features().is_attended()).then(|| {
            Screen {
                rows: usize::from(term.size().0).max(8),
                term,
                drawn: 0,
            }
        })
    }

    /// A line on standard error that shows how far it is, and goes away at the end.
    pub fn progress(&self) -> ProgressLine {
        let hidden = self.quiet || self.json;
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(spinner());
        ProgressLine {
            bar,
            counted: false,
        }
    }
}

/// See [`Show::screen`].
#[derive(Debug)]
pub struct Screen {
    term: console::Term,
    /// Lines that the terminal has.
    rows: usize,
    /// Lines that stand there from the last time.
    drawn: usize,
}

impl Screen {
    /// Lines that a drawing may have.
    pub fn rows(&self) -> usize {
        self.rows.saturating_sub(1)
    }

    /// Draws `text` in place of what was drawn before; what does not fit is left out.
    pub fn draw(&mut self, text: &str) -> Result<(), OutputError> {
        let (rows, columns) = self.term.size();
        self.rows = usize::from(rows).max(8);
        let lines: Vec<String> = text
            .lines()
            .take(self.rows())
            .map(|line| console::truncate_str(line, usize::from(columns), "…").into_owned())
            .collect();
        self.term.clear_last_lines(self.drawn)?;
        for line in &lines {
            self.term.write_line(line)?;
        }
        self.drawn = lines.len();
        Ok(self.term.flush()?)
    }
}

/// See [`Show::progress`].
#[derive(Debug)]
pub struct ProgressLine {
    bar: ProgressBar,
    counted: bool,
}

/// The line has room for what goes on, not for what a process wrote about it.
fn one_line(what: &str) -> &str {
    let first = what.lines().next().unwrap_or_default();
    first.trim_end_matches("; its last lines:")
}

impl ProgressLine {
    /// Shows this step.
    pub fn step(&mut self, step: &Progress) {
        match step.count {
            // Of objects, bytes are counted; of everything else, pieces.
            Some((done, all)) => self.count(one_line(&step.what), done, all, step.phase == "add"),
            None => self.say(one_line(&step.what)),
        }
    }

    /// Shows what goes on, without a measure.
    pub fn say(&mut self, what: &str) {
        if self.counted {
            self.counted = false;
            self.bar.set_style(spinner());
        }
        self.bar.enable_steady_tick(Duration::from_millis(120));
        self.bar.set_message(what.to_owned());
    }

    /// Shows what goes on and how much of it is done.
    fn count(&mut self, what: &str, done: u64, all: u64, bytes: bool) {
        self.bar.set_message(what.to_owned());
        if !self.counted {
            self.counted = true;
            self.bar.set_style(measured(bytes));
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Shows how much of a file has gone.
    pub fn bytes(&mut self, what: &str, done: u64, all: u64) {
        self.count(what, done, all, true);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// An error and its causes; a cause that the text before it has told already is left out.
fn on_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn spinner() -> ProgressStyle {
    style("{spinner:.green} {wide_msg}")
}

fn measured(bytes: bool) -> ProgressStyle {
    let amount = if bytes {
        "{binary_bytes} of {binary_total_bytes}"
    } else {
        "{pos} of {len}"
    };
    style(&format!("{{bar:24.green/dim}} {amount}  {{wide_msg}}")).progress_chars("━━╌")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What was written, or a reader who has gone.
    #[derive(Clone, Default)]
    struct Paper {
        text: Rc<RefCell<Vec<u8>>>,
        closed: bool,
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.text.borrow_mut().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn read(&self) -> String {
            String::from_utf8(self.text.borrow().clone()).unwrap()
        }
    }

    fn show(json: bool) -> (Show, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let (a, b) = (Box::new(out.clone()), Box::new(err.clone()));
        (Show::into_writers(a, b, Look::plain(80), json), out, err)
    }

    #[test]
    fn an_error_names_the_thing_the_reason_and_the_next_step() {
        let (mut show, out, err) = show(false);
        let error = CommandError::failed("no such file").context("could not add x.pkg");
        show.error(&error.hint("look for it"));
        assert_eq!(
            err.read(),
            "error: could not add x.pkg: no such file\n  try: look for it\n"
        );
        assert_eq!(out.read(), "");
    }

    #[test]
    fn an_error_for_a_program_is_one_line_of_json() {
        let (mut show, _, err) = show(true);
        show.error(&CommandError::new(Kind::Busy, anyhow::anyhow!("root holds it")).hint("wait"));
        let document: serde_json::Value = serde_json::from_str(&err.read()).unwrap();
        assert_eq!(
            document,
            serde_json::json!({"error": "root holds it", "kind": "busy", "hints": ["wait"]})
        );
    }

    #[test]
    fn a_reader_who_has_gone_is_no_error() {
        let closed = Paper {
            closed: true,
            ..Paper::default()
        };
        let err = Paper::default();
        let writers = (Box::new(closed), Box::new(err.clone()));
        let mut show = Show::into_writers(writers.0, writers.1, Look::plain(80), false);
        let error = CommandError::from(show.line("text").unwrap_err());
        assert_eq!(error.kind, Kind::OutputClosed);
        assert_eq!(error.kind.code(), 0);
        show.error(&error);
        assert_eq!(err.read(), "");
    }

    #[test]
    fn notes_are_not_for_programs_and_warnings_are() {
        let (mut show, out, err) = show(true);
        show.note("going on");
        show.warn("careful");
        assert_eq!(err.read(), "warning: careful\n");
        show.answer(&[1, 2], |_| "text\n".to_owned()).unwrap();
        assert_eq!(out.read(), "[1,2]\n");
    }

    #[test]
    fn quiet_keeps_back_what_was_done_and_not_what_was_asked() {
        let (mut show, out, _) = show(false);
        show.quiet = true;
        show.told(&[1], |_| "added\n".to_owned()).unwrap();
        show.answer(&[1], |_| "list\n".to_owned()).unwrap();
        assert_eq!(out.read(), "list\n");
    }

    #[test]
    fn nobody_to_ask_is_wrong_usage_that_names_yes() {
        let (mut show, _, _) = show(false);
        let error = show.confirm("Go on?").unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.hints.iter().any(|hint| hint.contains("--yes")));
    }
}
