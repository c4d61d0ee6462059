//! One change as a picture: a bar for each process over the phases, as any browser shows it.
//!
//! What a bar shows is told by the moments of its process alone: each begins a state that lasts
//! until the next.

use model::change::{ChangeRecord, Moment, ProcessOutcome, Verdict, What};

use super::{add, history, millis};

/// What a process is in for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It does not run, and is not meant to.
    Absent,
    /// It runs as before.
    Before,
    /// It is asked.
    Asked,
    /// It gets ready.
    Preparing,
    /// It is ready and waits.
    Waiting,
    /// It has its stop signal.
    Stopping,
    /// It is gone and not started.
    Down,
    /// It is started and not ready.
    Starting,
    /// It takes the change over.
    Changing,
    /// It runs the new set.
    After,
    /// It failed.
    Failed,
}

/// In the order of the legend.
const STATES: [(State, &str, &str); 10] = [
    (State::Before, "before", "runs as before"),
    (State::Asked, "asked", "is asked"),
    (State::Preparing, "preparing", "gets ready"),
    (State::Waiting, "waiting", "ready and waiting"),
    (State::Stopping, "stopping", "stopping"),
    (State::Down, "down", "down"),
    (State::Starting, "starting", "starting"),
    (State::Changing, "changing", "taking it over"),
    (State::After, "after", "runs changed"),
    (State::Failed, "failed", "failed"),
];

impl State {
    fn class(self) -> &'static str {
        let found = STATES.iter().find(|(state, ..)| *state == self);
        found.map_or("", |(_, class, _)| class)
    }

    fn words(self) -> &'static str {
        let found = STATES.iter().find(|(state, ..)| *state == self);
        found.map_or("", |(_, _, words)| words)
    }
}

/// A state and the time that it lasted, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    state: State,
    from: i64,
    to: i64,
}

/// The pieces of one process's bar, between these times.
fn pieces(process: &ProcessOutcome, begin: i64, end: i64) -> Vec<Piece> {
    let mut moments = process.moments.clone();
    moments.sort_by_key(|moment| moment.at_ms);
    let mut state = match process.verdict {
        Verdict::Start => State::Absent,
        Verdict::Stop | Verdict::Restart | Verdict::Notify | Verdict::Ask | Verdict::None => {
            State::Before
        }
    };
    let mut pieces = Vec::new();
    let mut from = begin;
    let mut changed = false;
    for Moment { what, at_ms } in moments {
        let to = at_ms.clamp(from, end);
        pieces.push(Piece { state, from, to });
        from = to;
        changed |= matches!(what, What::Stopping | What::Started | What::Changed);
        state = after(what, process.verdict, changed);
    }
    pieces.push(Piece {
        state,
        from,
        to: end,
    });
    // A moment in the middle of a state does not cut it.
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces
        .into_iter()
        .filter(|piece| piece.state != State::Absent)
    {
        match joined.last_mut() {
            Some(last) if last.state == piece.state && last.to == piece.from => last.to = piece.to,
            _ => joined.push(piece),
        }
    }
    joined.retain(|piece| piece.to > piece.from || piece.state == State::Failed);
    joined
}

fn after(what: What, verdict: Verdict, changed: bool) -> State {
    match what {
        What::Asked => State::Asked,
        What::Accepted | What::Objected if changed => State::After,
        What::Accepted | What::Objected => State::Before,
        What::Preparing => State::Preparing,
        What::Waiting => State::Waiting,
        What::Stopping => State::Stopping,
        What::Stopped if verdict == Verdict::Stop => State::Absent,
        What::Stopped => State::Down,
        What::Started => State::Starting,
        What::Ready | What::Checked | What::Done => State::After,
        What::Changed => State::Changing,
        What::Failed => State::Failed,
    }
}

/// Milliseconds from its stop signal, or its failure, to ready again, as its moments have them:
/// all of them together where it went away more than once. Nothing where it is not back.
pub fn gap(process: &ProcessOutcome) -> Option<u64> {
    if process.moments.is_empty() && process.verdict == Verdict::Restart {
        return Some(process.down_ms.saturating_add(process.ready_ms));
    }
    let (mut sum, mut away, mut back) = (0, None, false);
    for moment in &process.moments {
        match (moment.what, away) {
            (What::Stopping | What::Stopped | What::Failed, None) => away = Some(moment.at_ms),
            (What::Ready, Some(since)) => {
                sum += moment.at_ms.saturating_sub(since);
                (away, back) = (None, true);
            }
            _ => {}
        }
    }
    if away.is_some() || !back {
        return None;
    }
    u64::try_from(sum).ok()
}

const LEFT: usize = 14;
const TOP: usize = 92;
const CHARACTER: usize = 7;

/// How long everything is, and how much of it goes into a pixel.
struct Scale {
    begin: i64,
    end: i64,
    /// A stretch in which nothing happens, left out.
    cut: Option<(i64, i64)>,
    /// Where time begins.
    left: usize,
    width: usize,
    /// Of a row.
    height: usize,
}

impl Scale {
    fn new(record: &ChangeRecord, rows: &[&ProcessOutcome]) -> Self {
        let times = times(record);
        let begin = times.first().copied().unwrap_or(0);
        let end = times
            .last()
            .copied()
            .unwrap_or(0)
            .max(begin.saturating_add(1));
        let cut = idle(&times);
        let label = rows.iter().map(|row| label(row).chars().count()).max();
        let left_out = cut.map_or(0, |(from, to)| to - from);
        let duration = usize::try_from(end - begin - left_out).unwrap_or(usize::MAX);
        // The shortest outage stays visible beside a long wait, on a page that is not endless.
        let shortest = rows
            .iter()
            .filter_map(|row| gap(row))
            .filter(|gap| *gap > 0)
            .min();
        let wanted = shortest.map_or(0, |gap| {
            let gap = usize::try_from(gap).unwrap_or(usize::MAX);
            duration.saturating_mul(12) / gap
        });
        Self {
            begin,
            end,
            cut,
            left: LEFT + label.unwrap_or(0) * CHARACTER + 10,
            width: wanted.clamp(900, 4000),
            height: if rows.len() > 60 { 14 } else { 20 },
        }
    }

    /// Milliseconds of the picture before this time.
    fn shown(&self, at: i64) -> i64 {
        let at = at.clamp(self.begin, self.end);
        let left_out = self.cut.map_or(0, |(from, to)| at.clamp(from, to) - from);
        at - self.begin - left_out
    }

    fn x(&self, at: i64) -> usize {
        let part = usize::try_from(self.shown(at)).unwrap_or(0);
        let whole = usize::try_from(self.shown(self.end)).unwrap_or(1).max(1);
        self.left + part.saturating_mul(self.width) / whole
    }
}

/// What is left out of a stretch without any moment that is longer than four times all the others,
/// as where a change waits whether its processes stay up: as much of it stays as the others take.
fn idle(times: &[i64]) -> Option<(i64, i64)> {
    let stretches = times.iter().zip(times.iter().skip(1));
    let (from, to) = stretches.max_by_key(|(from, to)| **to - **from)?;
    let all = times.last()? - times.first()?;
    let others = all - (to - from);
    let half = (others / 2).max(1);
    (to - from > 4 * others && to - from > 4).then_some((from + half, to - half))
}

/// Every time that is known of, in order.
fn times(record: &ChangeRecord) -> Vec<i64> {
    let mut times: Vec<i64> = Vec::new();
    times.extend(milliseconds(&record.entry.began));
    times.extend(record.entry.ended.as_deref().and_then(milliseconds));
    for step in &record.steps {
        times.extend(milliseconds(&step.intended));
        times.extend(step.done.as_deref().and_then(milliseconds));
    }
    if let Some(report) = &record.entry.report {
        for phase in &report.phases {
            times.extend([phase.began_ms, phase_end(phase.began_ms, phase.took_us)]);
        }
        for process in &report.processes {
            times.extend(process.moments.iter().map(|moment| moment.at_ms));
        }
    }
    times.sort_unstable();
    times.dedup();
    times
}

fn phase_end(began: i64, took_us: u64) -> i64 {
    let millis = i64::try_from(took_us.div_ceil(1000)).unwrap_or(i64::MAX);
    began.saturating_add(millis)
}

/// A time in RFC 3339 as milliseconds since 1970.
pub fn milliseconds(time: &str) -> Option<i64> {
    let time = time.parse::<jiff::Timestamp>().ok()?;
    Some(time.as_millisecond())
}

fn label(process: &ProcessOutcome) -> String {
    let verdict = process.verdict;
    match gap(process) {
        Some(gap) => format!("{}  {verdict} {}", process.name, millis(gap)),
        None => format!("{}  {verdict}", process.name),
    }
}

/// Processes that something happened to, in the order in which it did.
fn rows(record: &ChangeRecord) -> Vec<&ProcessOutcome> {
    let all = record.entry.report.iter().flat_map(|one| &one.processes);
    let mut rows: Vec<&ProcessOutcome> = all
        .filter(|one| !one.moments.is_empty() || one.verdict != Verdict::None)
        .collect();
    let first = |one: &ProcessOutcome| {
        let acts = one
            .moments
            .iter()
            .filter(|moment| matches!(moment.what, What::Stopping | What::Started | What::Changed));
        acts.map(|moment| moment.at_ms).min().unwrap_or(i64::MAX)
    };
    rows.sort_by(|one, two| (first(one), &one.name).cmp(&(first(two), &two.name)));
    rows
}

/// The picture.
pub fn draw(record: &ChangeRecord) -> String {
    let rows = rows(record);
    let scale = Scale::new(record, &rows);
    let bottom = TOP + rows.len().max(1) * scale.height;
    let (width, height) = (scale.left + scale.width + 60, bottom + 70);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n{STYLE}"
    );
    title(record, &scale, &mut out);
    phases(record, &scale, bottom, &mut out);
    for (number, row) in rows.iter().enumerate() {
        bar(row, TOP + number * scale.height, &scale, &mut out);
    }
    axis(&scale, bottom, &mut out);
    if rows.is_empty() {
        let y = TOP + 14;
        add(
            &mut out,
            format_args!("<text x=\"{LEFT}\" y=\"{y}\">no process was touched</text>\n"),
        );
    }
    legend(bottom + 46, &mut out);
    out + "</svg>\n"
}

const STYLE: &str = "<style>
  rect { stroke: none }
  .page { fill: #fff }
  .phase { fill: #f3f5f8 } .odd { fill: #e6eaf0 }
  .tick { stroke: #c3cad4; stroke-width: 1 }
  .cut { stroke: #556; stroke-width: 3; stroke-dasharray: 2 5 }
  .before { fill: #b9c6d6 } .after { fill: #8fc28a }
  .asked { fill: #e8d26a } .preparing { fill: #cfa6e0 } .waiting { fill: #a678c0 }
  .stopping { fill: #f0a35e } .down { fill: #d64541 } .starting { fill: #5b9bd5 }
  .changing { fill: #46b3a5 } .failed { fill: #7a1512 }
  .small { font-size: 10px; fill: #556 }
  .head { font-size: 15px; font-weight: bold }
</style>
<rect class=\"page\" width=\"100%\" height=\"100%\"/>
";

fn title(record: &ChangeRecord, scale: &Scale, out: &mut String) {
    let entry = &record.entry;
    let took = millis(u64::try_from(scale.end - scale.begin).unwrap_or(0));
    let (how, to) = entry.report.as_ref().map_or_else(
        || ("running".to_owned(), entry.from),
        |report| (report.outcome.to_string(), report.generation),
    );
    let asked = escape(&shortened(&history::asked(entry), 110));
    add(
        out,
        format_args!(
            "<text class=\"head\" x=\"{LEFT}\" y=\"24\">change {}: {how}, {took}</text>\n",
            entry.change
        ),
    );
    let about = escape(&format!(
        "{}, by {}, generation {} → {to}",
        entry.began, entry.by, entry.from
    ));
    add(
        out,
        format_args!("<text x=\"{LEFT}\" y=\"42\">{asked}</text>\n"),
    );
    add(
        out,
        format_args!("<text class=\"small\" x=\"{LEFT}\" y=\"57\">{about}</text>\n"),
    );
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let begin: String = text.chars().take(most).collect();
    format!("{begin}…")
}

/// Name, begin and end of each phase; of the journal's steps where no phases were kept.
fn columns(record: &ChangeRecord) -> Vec<(String, i64, i64)> {
    let phases = record.entry.report.iter().flat_map(|one| &one.phases);
    let phases: Vec<_> = phases
        .map(|one| {
            let end = phase_end(one.began_ms, one.took_us);
            (one.phase.clone(), one.began_ms, end)
        })
        .collect();
    if !phases.is_empty() {
        return phases;
    }
    let steps = record.steps.iter().filter_map(|step| {
        let began = milliseconds(&step.intended)?;
        let end = step.done.as_deref().and_then(milliseconds)?;
        Some((step.step.clone(), began, end))
    });
    steps.collect()
}

fn phases(record: &ChangeRecord, scale: &Scale, bottom: usize, out: &mut String) {
    let height = bottom - TOP;
    let mut free = [0_usize; 2];
    for (number, (name, began, ended)) in columns(record).into_iter().enumerate() {
        let (x, end) = (scale.x(began), scale.x(ended));
        let width = end.saturating_sub(x).max(1);
        let class = if number % 2 == 0 {
            "phase"
        } else {
            "phase odd"
        };
        let took = millis(u64::try_from(ended - began).unwrap_or(0));
        let name = escape(&name);
        add(
            out,
            format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{TOP}\" width=\"{width}\" height=\"{height}\">\
                 <title>{name}: {took}</title></rect>\n"
            ),
        );
        // Names of narrow phases stand in two lines, and are left out where both are taken.
        let room = (name.chars().count() + 1) * 6;
        let line = free.iter().position(|free| *free <= x);
        if let Some((line, free)) = line.and_then(|line| Some((line, free.get_mut(line)?))) {
            *free = x + room;
            let y = TOP - 6 - line * 12;
            add(
                out,
                format_args!("<text class=\"small\" x=\"{x}\" y=\"{y}\">{name}</text>\n"),
            );
        }
    }
}

/// Lines at round times, at most some twelve for a screen's width.
fn axis(scale: &Scale, bottom: usize, out: &mut String) {
    let duration = scale.shown(scale.end);
    let most = i64::try_from(scale.width / 75).unwrap_or(12).max(1);
    let steps = (0..18).flat_map(|power| [1, 2, 5].map(|one| one * 10_i64.pow(power)));
    let step = steps
        .into_iter()
        .find(|step| duration / step < most)
        .unwrap_or(duration);
    let mut at = 0;
    while at <= scale.end - scale.begin {
        if let Some((from, to)) = scale.cut
            && (from..to).contains(&(scale.begin + at))
        {
            at = (to - scale.begin) / step * step + step;
            continue;
        }
        let x = scale.x(scale.begin + at);
        let text = millis(u64::try_from(at).unwrap_or(0));
        let y = bottom + 14;
        add(
            out,
            format_args!(
                "<line class=\"tick\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\"/>\
                 <text class=\"small\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>\n"
            ),
        );
        at += step;
    }
    if let Some((from, to)) = scale.cut {
        let (x, y) = (scale.x(from), bottom + 26);
        let left_out = millis(u64::try_from(to - from).unwrap_or(0));
        add(
            out,
            format_args!(
                "<line class=\"cut\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\"/>\
                 <text class=\"small\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">\
                 {left_out} left out here</text>\n"
            ),
        );
    }
}

fn bar(process: &ProcessOutcome, top: usize, scale: &Scale, out: &mut String) {
    let (x, y) = (scale.left - 8, top + scale.height - 5);
    let size = if scale.height < 20 { 10 } else { 12 };
    let text = escape(&label(process));
    let detail = process.detail.as_deref().map(escape);
    let detail = detail.map_or_else(String::new, |text| format!("<title>{text}</title>"));
    add(
        out,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" text-anchor=\"end\">{text}{detail}</text>\n"
        ),
    );
    if process.moments.is_empty() {
        let x = scale.left;
        add(
            out,
            format_args!("<text class=\"small\" x=\"{x}\" y=\"{y}\">no times are kept</text>\n"),
        );
        return;
    }
    let (top, height) = (top + 2, scale.height - 4);
    let name = escape(process.name.as_str());
    for piece in pieces(process, scale.begin, scale.end) {
        let x = scale.x(piece.from);
        let width = scale.x(piece.to).saturating_sub(x).max(1);
        let (class, words) = (piece.state.class(), piece.state.words());
        let took = millis(u64::try_from(piece.to - piece.from).unwrap_or(0));
        let from = millis(u64::try_from(piece.from - scale.begin).unwrap_or(0));
        add(
            out,
            format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\">\
                 <title>{name}: {words} for {took}, from {from} on</title></rect>\n"
            ),
        );
    }
}

fn legend(y: usize, out: &mut String) {
    let mut x = LEFT;
    for (_, class, words) in STATES {
        let (top, text) = (y - 10, x + 16);
        add(
            out,
            format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"12\" height=\"12\"/>\
                 <text class=\"small\" x=\"{text}\" y=\"{y}\">{words}</text>\n"
            ),
        );
        x += 28 + words.chars().count() * 6;
    }
}

/// Text as XML takes it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            // No XML document may hold these, not even escaped.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use insta::assert_snapshot;
    use model::change::{
        Action, ChangeReport, HistoryEntry, Outcome, PhaseTime, PlanReport, Request, SetChange,
        StepRecord,
    };
    use model::transition::Votes;
    use model::{ChangeId, Generation};

    use super::*;

    const BEGAN: i64 = 1_795_444_496_000;

    pub(in crate::render) fn process(
        name: &str,
        verdict: Verdict,
        moments: &[(What, i64)],
    ) -> ProcessOutcome {
        let moments = moments.iter().map(|(what, after)| Moment {
            what: *what,
            at_ms: BEGAN + after,
        });
        ProcessOutcome {
            name: name.parse().unwrap(),
            verdict,
            down_ms: 30,
            ready_ms: 50,
            detail: None,
            moments: moments.collect(),
        }
    }

    pub(in crate::render) fn restarted(name: &str, from: i64) -> ProcessOutcome {
        let moments = [
            (What::Asked, 2),
            (What::Accepted, 8),
            (What::Stopping, from),
            (What::Stopped, from + 20),
            (What::Started, from + 30),
            (What::Ready, from + 80),
        ];
        process(name, Verdict::Restart, &moments)
    }

    pub(in crate::render) fn record(processes: Vec<ProcessOutcome>) -> ChangeRecord {
        let phase = |phase: &str, after: i64, took_us| PhaseTime {
            phase: phase.to_owned(),
            began_ms: BEGAN + after,
            took_us,
        };
        let report = ChangeReport {
            processes,
            phases: vec![
                phase("ask", 1, 9_000),
                phase("stage", 10, 90_400),
                phase("process", 100, 300_000),
            ],
            ..ChangeReport::new(ChangeId(7), Outcome::Done, Generation(3))
        };
        ChangeRecord {
            entry: HistoryEntry {
                change: ChangeId(7),
                by: "root (pid 9) & <co>".to_owned(),
                began: "2026-11-23T14:34:56.000Z".to_owned(),
                ended: Some("2026-11-23T14:34:56.410Z".to_owned()),
                request: Request {
                    actions: vec![Action::Activate("libssl3=3".parse().unwrap())],
                    ..Request::default()
                },
                set: SetChange {
                    before: vec!["libssl3=2".to_owned()].into(),
                    after: vec!["libssl3=3".to_owned()].into(),
                },
                from: Generation(2),
                report: Some(report),
            },
            plan: PlanReport::default(),
            votes: Some(Votes::default()),
            steps: vec![StepRecord {
                step: "stage".to_owned(),
                intended: "2026-11-23T14:34:56.010Z".to_owned(),
                done: Some("2026-11-23T14:34:56.100Z".to_owned()),
            }],
        }
    }

    fn told(process: &ProcessOutcome) -> String {
        let pieces = pieces(process, BEGAN, BEGAN + 400);
        let told = pieces.iter().map(|one| {
            let (from, to) = (one.from - BEGAN, one.to - BEGAN);
            format!("{} {from}-{to}", one.state.class())
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn moments_become_states_without_a_hole() {
        assert_eq!(
            told(&restarted("nginx", 100)),
            "before 0-2, asked 2-8, before 8-100, stopping 100-120, down 120-130, \
             starting 130-180, after 180-400"
        );
        let new = [(What::Started, 50), (What::Ready, 60), (What::Checked, 90)];
        assert_eq!(
            told(&process("new", Verdict::Start, &new)),
            "starting 50-60, after 60-400"
        );
        let old = [(What::Stopping, 50), (What::Stopped, 60)];
        assert_eq!(
            told(&process("old", Verdict::Stop, &old)),
            "before 0-50, stopping 50-60"
        );
        let moved = [
            (What::Preparing, 10),
            (What::Waiting, 20),
            (What::Changed, 50),
            (What::Done, 70),
        ];
        assert_eq!(
            told(&process("moved", Verdict::Notify, &moved)),
            "before 0-10, preparing 10-20, waiting 20-50, changing 50-70, after 70-400"
        );
        let failed = [
            (What::Stopping, 50),
            (What::Started, 60),
            (What::Failed, 400),
        ];
        assert_eq!(
            told(&process("failed", Verdict::Restart, &failed)),
            "before 0-50, stopping 50-60, starting 60-400, failed 400-400"
        );
    }

    #[test]
    fn moments_in_disorder_or_beyond_the_end_do_no_harm() {
        let odd = [
            (What::Ready, 9_999),
            (What::Stopping, 100),
            (What::Asked, -50),
        ];
        assert_eq!(
            told(&process("odd", Verdict::Restart, &odd)),
            "asked 0-100, stopping 100-400"
        );
    }

    #[test]
    fn a_picture_of_one_process() {
        assert_snapshot!(draw(&record(vec![restarted("nginx", 100)])));
    }

    #[test]
    fn a_picture_of_ten_with_each_verdict() {
        let mut all: Vec<ProcessOutcome> = (0..6)
            .map(|n| restarted(&format!("web{n}"), 100 + n * 30))
            .collect();
        all.push(process(
            "new",
            Verdict::Start,
            &[(What::Started, 250), (What::Ready, 260)],
        ));
        all.push(process(
            "old",
            Verdict::Stop,
            &[(What::Stopping, 90), (What::Stopped, 95)],
        ));
        all.push(process("unknown", Verdict::Restart, &[]));
        let mut failed = process(
            "broken",
            Verdict::Restart,
            &[(What::Stopping, 90), (What::Failed, 300)],
        );
        failed.detail = Some("it said: <no & \u{1b}[31mway>".to_owned());
        all.push(failed);
        assert_snapshot!(draw(&record(all)));
    }

    #[test]
    fn two_hundred_processes_stay_on_a_page_of_bearable_size() {
        let all = (0..200)
            .map(|n| restarted(&format!("process-{n:03}"), 100 + n))
            .collect();
        let picture = draw(&record(all));
        assert_eq!(picture.matches("text-anchor=\"end\"").count(), 200);
        assert!(picture.contains("height=\"2962\""), "{}", &picture[..200]);
        assert!(picture.len() < 400_000, "{}", picture.len());
    }

    #[test]
    fn a_short_outage_stays_visible_beside_a_long_wait() {
        let mut record = record(vec![restarted("nginx", 100)]);
        record.entry.ended = Some("2026-11-23T14:35:06.000Z".to_owned());
        let scale = Scale::new(&record, &rows(&record));
        let width = scale.x(BEGAN + 180) - scale.x(BEGAN + 100);
        assert!(width >= 11, "{width} px of {}", scale.width);
        assert!(scale.width < 1000, "what is left out takes no room");
        assert!(draw(&record).contains("left out here"));
    }

    #[test]
    fn a_change_without_processes_phases_or_an_end_has_a_picture_too() {
        let mut bare = record(Vec::new());
        bare.entry.report = None;
        bare.entry.ended = None;
        let picture = draw(&bare);
        assert!(picture.contains("no process was touched"));
        assert!(picture.contains(">stage<"), "the journal's steps are shown");
    }
}
