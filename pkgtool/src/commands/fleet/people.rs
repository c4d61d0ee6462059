//! `fleet tokens`, `fleet operators` and `fleet audit`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use fs_err::os::unix::fs::OpenOptionsExt;
use model::Span;
use model::wire::{
    AuditEntry, ClassName, FleetName, IssuedOperator, IssuedToken, NewOperator, NewToken,
    OperatorView, Profile, Role, TokenView,
};

use super::strategy::millis;
use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet tokens`.
#[derive(Debug, Args)]
pub struct TokensArgs {
    #[command(subcommand)]
    what: Option<TokensCommand>,
}

#[derive(Debug, Subcommand)]
enum TokensCommand {
    /// Make one: whoever has it can enrol a node
    Add(AddToken),
    /// End one
    Remove(RemoveToken),
}

#[derive(Debug, Args)]
struct AddToken {
    /// How many nodes may come in with it
    #[arg(long, default_value_t = 1, value_name = "NODES")]
    uses: u32,
    /// How long it is good
    #[arg(long, default_value = "1h", value_name = "SPAN")]
    within: Span,
    /// Its nodes are put into this class; may be repeated
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<ClassName>,
}

#[derive(Debug, Args)]
struct RemoveToken {
    /// Its id, as `fleet tokens` lists it
    id: String,
}

/// Runs `fleet tokens`.
pub fn tokens(
    args: &TokensArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    match &args.what {
        None => {
            let all: Vec<TokenView> = master.get("/v1/tokens")?;
            show.answer(&all, |look| render::fleet::people::tokens(&all, look))?;
        }
        Some(TokensCommand::Add(add)) => {
            let new = NewToken {
                uses: add.uses,
                seconds: millis(add.within) / 1000,
                classes: add.classes.clone(),
            };
            let issued: IssuedToken = master.post("/v1/tokens", &new)?;
            show.answer(&issued, |_| format!("{}\n", issued.token.0))?;
            show.note(format_args!(
                "on the node: pkgtool join {} --token TOKEN",
                master.address()
            ));
        }
        Some(TokensCommand::Remove(remove)) => {
            if !remove.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(
                    CommandError::usage(format!("{:?} is no token's id", remove.id))
                        .hint("pkgtool fleet tokens lists them"),
                );
            }
            master.delete(&format!("/v1/tokens/{}", remove.id))?;
            show.told(&remove.id, |_| {
                format!("token {} is no good any more\n", remove.id)
            })?;
        }
    }
    Ok(Outcome::Done)
}

/// Arguments of `fleet operators`.
#[derive(Debug, Args)]
pub struct OperatorsArgs {
    #[command(subcommand)]
    what: Option<OperatorsCommand>,
}

#[derive(Debug, Subcommand)]
enum OperatorsCommand {
    /// Add one, or give one a new token
    Add(AddOperator),
    /// Remove one: the token does not count any more
    Remove(RemoveOperator),
}

#[derive(Debug, Args)]
struct AddOperator {
    /// How they are called in the audit log
    name: FleetName,
    /// What they may
    #[arg(long, value_enum, default_value_t)]
    role: RoleArg,
    /// In this class only; may be repeated
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<ClassName>,
    /// Write their profile there; the token is printed where absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RemoveOperator {
    /// Who
    name: FleetName,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// See everything.
    #[default]
    Read,
    /// Assign, update, decide.
    Operate,
    /// Operators, tokens, certificates.
    Admin,
}

/// Runs `fleet operators`.
pub fn operators(
    args: &OperatorsArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    match &args.what {
        None => {
            let all: Vec<OperatorView> = master.get("/v1/operators")?;
            show.answer(&all, |look| render::fleet::people::operators(&all, look))?;
        }
        Some(OperatorsCommand::Add(add)) => add_operator(add, master, show)?,
        Some(OperatorsCommand::Remove(remove)) => {
            let name = &remove.name;
            master.delete(&format!("/v1/operators/{name}"))?;
            show.told(name, |_| format!("{name} is no operator any more\n"))?;
        }
    }
    Ok(Outcome::Done)
}

fn add_operator(add: &AddOperator, master: &Master, show: &mut Show) -> Result<(), CommandError> {
    let new = NewOperator {
        name: add.name.clone(),
        role: match add.role {
            RoleArg::Read => Role::Read,
            RoleArg::Operate => Role::Operate,
            RoleArg::Admin => Role::Admin,
        },
        classes: add.classes.clone(),
    };
    let issued: IssuedOperator = master.post("/v1/operators", &new)?;
    let Some(path) = &add.output else {
        show.answer(&issued, |_| format!("{}\n", issued.token))?;
        return Ok(());
    };
    let profile = Profile {
        master: master.address().to_owned(),
        token: issued.token.clone(),
        ca: master.ca().to_owned(),
    };
    write_secret(path, &toml::to_string(&profile).context("the profile")?)?;
    let (name, shown) = (&add.name, path.display());
    show.told(&issued.operator, |_| {
        format!("{name}'s profile is in {shown}; it goes to ~/.config/changeover/fleet.toml\n")
    })?;
    Ok(())
}

/// A new file that only its owner reads.
fn write_secret(path: &Path, text: &str) -> Result<(), CommandError> {
    let file = fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(|error| {
        CommandError::from(error).hint("the operator was added: run it again with another file")
    })?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// Arguments of `fleet audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only what came after this entry
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    after: u64,
    /// At most so many, the newest
    #[arg(long, default_value_t = 200, value_name = "NUMBER")]
    most: usize,
}

/// Runs `fleet audit`.
pub fn audit(args: &AuditArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let path = format!("/v1/audit?after={}&most={}", args.after, args.most);
    let all: Vec<AuditEntry> = master.get(&path)?;
    show.answer(&all, |look| render::fleet::people::audit(&all, look))?;
    Ok(Outcome::Done)
}
