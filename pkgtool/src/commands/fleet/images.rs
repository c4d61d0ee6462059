//! `fleet images` and `fleet collect`.

use clap::{Args, Subcommand};
use model::wire::{Collected, ImageView};

use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet images`.
#[derive(Debug, Args)]
pub struct ImagesArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Take a version away that is not in use; its packages stay
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// NAME=VERSION, as `fleet images` lists it
    #[arg(value_name = "NAME=VERSION")]
    id: String,
}

/// Arguments of `fleet collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {}

/// Runs `fleet images`.
pub fn run(args: &ImagesArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let Some(What::Remove(args)) = &args.what else {
        let images: Vec<ImageView> = master.get("/v1/images")?;
        let now = jiff::Timestamp::now();
        show.answer(&images, |look| {
            render::fleet::images::images(&images, now, look)
        })?;
        return Ok(Outcome::Done);
    };
    let id = &args.id;
    let plain = |c: char| c.is_ascii_alphanumeric() || "=.+~_-:".contains(c);
    if !id.contains('=') || !id.chars().all(plain) {
        let words = format!("{id:?} is not NAME=VERSION");
        return Err(CommandError::usage(words).hint("pkgtool fleet images"));
    }
    master.delete(&format!("/v1/images/{id}"))?;
    let gone = serde_json::json!({ "removed": id });
    show.told(&gone, |_| {
        format!("image {id} is gone; its packages stay\n")
    })?;
    Ok(Outcome::Done)
}

/// Runs `fleet collect`.
pub fn collect(_: &CollectArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut line = show.progress();
    line.say("the master looks for what nothing names any more");
    let freed = master.tell::<Collected>("/v1/collect");
    line.clear();
    let freed = freed?;
    show.told(&freed, |_| render::fleet::images::collected(&freed))?;
    Ok(Outcome::Done)
}
