//! `fleet decide`, and the other words that an operator has for an update.

use clap::Args;
use model::wire::{Choice, Decision, NodeName, NodePhase, Phase, RolloutId, RolloutView, Update};

use super::update::{self, BeginArgs};
use super::watch;
use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render::fleet::rollout;
use crate::show::Show;

/// Arguments of `fleet decide`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The update's number
    id: u64,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// What else is said with the decision.
    #[command(flatten)]
    words: WordsArgs,
    /// Force also nodes that vote later
    #[arg(long)]
    carries_over: bool,
}

#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
struct ChoiceArgs {
    /// Only the nodes that accept
    #[arg(long)]
    accepting: bool,
    /// Those that accept, and this node against its veto; may be repeated
    #[arg(long, value_name = "NODE")]
    force: Vec<NodeName>,
    /// All nodes, whatever they object
    #[arg(long)]
    force_all: bool,
    /// None: nothing is touched
    #[arg(long)]
    abort: bool,
    /// Ask those again that objected or were away
    #[arg(long)]
    again: bool,
}

#[derive(Debug, Clone, Args)]
struct WordsArgs {
    /// Why, for the audit log
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
    /// Stay until it has ended or somebody has to decide again
    #[arg(short, long)]
    wait: bool,
}

/// Arguments of `fleet pause`, `resume`, `approve` and `commit`.
#[derive(Debug, Args)]
pub struct NumberArgs {
    /// The update's number
    id: u64,
    /// What else is said with it.
    #[command(flatten)]
    words: WordsArgs,
}

/// Arguments of `fleet rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The update's number
    id: u64,
    /// How it is begun.
    #[command(flatten)]
    begin: BeginArgs,
}

impl ChoiceArgs {
    fn choice(&self) -> Option<Choice> {
        match self {
            Self {
                accepting: true, ..
            } => Some(Choice::Accepting),
            Self {
                force_all: true, ..
            } => Some(Choice::ForceAll),
            Self { abort: true, .. } => Some(Choice::Abort),
            Self { again: true, .. } => Some(Choice::AskAgain),
            Self { force, .. } if !force.is_empty() => Some(Choice::Force(force.clone())),
            Self { .. } => None,
        }
    }
}

/// Runs `fleet decide`.
pub fn run(args: &DecideArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let choice = match args.choice.choice() {
        Some(choice) => choice,
        None => match ask(args.id, master, show)? {
            Some(choice) => choice,
            None => return Ok(Outcome::Done),
        },
    };
    let decision = Decision {
        choice,
        reason: args.words.reason.clone(),
        carries_over: args.carries_over,
        signed: None,
    };
    decide(args.id, &decision, args.words.wait, master, show)
}

/// The four buttons: shows what is to be decided, and asks.
fn ask(id: u64, master: &Master, show: &mut Show) -> Result<Option<Choice>, CommandError> {
    let view: RolloutView = master.get(&format!("/v1/rollouts/{id}"))?;
    if show.json() {
        let words = "which decision? a program has to say it";
        return Err(CommandError::usage(words)
            .hint("--accepting, --force NODE, --force-all, --again or --abort"));
    }
    let text = rollout::rollout(&view, rollout::MOST_NODES, show.look());
    show.text(&text)?;
    let open = matches!(view.phase, Phase::Held | Phase::Stopped | Phase::Asking);
    if !open {
        let words = format!("update {id} is {}: there is nothing to decide", view.phase);
        return Err(CommandError::failed(words));
    }
    let text = rollout::buttons(&view, show.look());
    show.text(&text)?;
    loop {
        let Some(word) = show.ask("Which?")? else {
            return Err(CommandError::usage("nobody can be asked")
                .hint("--accepting, --force NODE, --force-all, --again or --abort"));
        };
        match read(&word, &view) {
            Ok(choice) => return Ok(choice),
            Err(error) => show.warn(error),
        }
    }
}

/// What was typed; none: decide later.
fn read(word: &str, view: &RolloutView) -> Result<Option<Choice>, String> {
    let (first, rest) = word.split_once(' ').unwrap_or((word, ""));
    match first {
        "1" | "accepting" => Ok(Some(Choice::Accepting)),
        "2" | "force" if rest.trim().is_empty() => Err("name the nodes: 2 NODE NODE".to_owned()),
        "2" | "force" => forced(rest, view).map(Some),
        "3" | "all" => Ok(Some(Choice::ForceAll)),
        "4" | "abort" => Ok(Some(Choice::Abort)),
        "5" | "again" => Ok(Some(Choice::AskAgain)),
        "" | "q" | "later" => Ok(None),
        _ => Err(format!(
            "{word:?} is none of 1, 2 NODE…, 3, 4, 5; q decides later"
        )),
    }
}

fn forced(names: &str, view: &RolloutView) -> Result<Choice, String> {
    let mut nodes = Vec::new();
    for name in names.split([' ', ',']).filter(|name| !name.is_empty()) {
        let objects = view.nodes.iter().find(|one| one.node.as_str() == name);
        let objects = objects.ok_or_else(|| format!("{name} has no part in this update"))?;
        if !matches!(
            objects.phase,
            NodePhase::Vetoed { .. } | NodePhase::Later { .. }
        ) {
            return Err(format!("{name} does not object"));
        }
        nodes.push(objects.node.clone());
    }
    Ok(Choice::Force(nodes))
}

fn decide(
    id: u64,
    decision: &Decision,
    wait: bool,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let path = format!("/v1/rollouts/{id}/decision");
    let view: RolloutView = master.post(&path, decision)?;
    if wait {
        return watch::stay(RolloutId(id), master, show);
    }
    show.told(&view, |look| rollout::head(&view, look))?;
    if !view.phase.is_end() {
        show.note(format_args!("pkgtool fleet watch {id} follows it"));
    }
    Ok(Outcome::Done)
}

fn say(
    args: &NumberArgs,
    choice: Choice,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let decision = Decision {
        choice,
        reason: args.words.reason.clone(),
        carries_over: false,
        signed: None,
    };
    decide(args.id, &decision, args.words.wait, master, show)
}

/// Runs `fleet pause`.
pub fn pause(args: &NumberArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    say(args, Choice::Pause, master, show)
}

/// Runs `fleet resume`.
pub fn resume(
    args: &NumberArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    say(args, Choice::Resume, master, show)
}

/// Runs `fleet approve`.
pub fn approve(
    args: &NumberArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    say(args, Choice::Approve, master, show)
}

/// Runs `fleet commit`.
pub fn commit(
    args: &NumberArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    say(args, Choice::Commit, master, show)
}

/// Runs `fleet rollback`: an update that has not ended is taken back; one that has ended is
/// followed by another, with votes, that goes to what each node ran before.
pub fn rollback(
    args: &RollbackArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let view: RolloutView = master.get(&format!("/v1/rollouts/{}", args.id))?;
    if view.phase.is_end() {
        let update = args.begin.finish(Update {
            back_from: Some(RolloutId(args.id)),
            ..Update::default()
        });
        return update::begin(&update, &args.begin, master, show);
    }
    if !args.begin.yes {
        let text = rollout::rollout(&view, rollout::MOST_NODES, show.look());
        if !show.json() {
            show.text(&text)?;
        }
        if !show.confirm("\nTake it back?")? {
            show.note("nothing was decided");
            return Ok(Outcome::Done);
        }
    }
    let decision = Decision {
        choice: Choice::TakeBack,
        reason: args.begin.reason.clone(),
        carries_over: false,
        signed: None,
    };
    decide(args.id, &decision, args.begin.wait, master, show)
}
