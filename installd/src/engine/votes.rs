//! Asking the reached processes, and having them get ready.

use std::collections::BTreeSet;

use model::change::{ChangeReport, Verdict};
use model::transition::{Announcement, Ask, Prepare};

use super::change::{Changeover, Stop};
use super::lists::{self, Standing};
use crate::config::Config;

/// Asks. Objections are recorded whether they are overridden or not.
pub(super) async fn ask(
    change: &mut Changeover,
    report: &mut ChangeReport,
    standing: &mut Standing,
    announcement: Announcement,
) -> Result<(), Stop> {
    let asked: Vec<_> = (lists::asked(&change.plan).into_iter())
        .filter(|one| standing.alive.contains(&one.process))
        .collect();
    if asked.is_empty() && standing.registered.is_empty() {
        return Ok(());
    }
    change
        .context
        .progress("ask", format!("asking {} processes", asked.len()), None);
    let timeout_ms = Config::millis(change.context.config.timeouts.ask);
    let votes = change
        .sysmgr
        .ask(&Ask {
            announcement,
            timeout_ms,
            more_time_ms: 0,
            asked,
        })
        .await?;
    change.db.note_votes(change.id, &votes)?;
    for veto in &votes.vetoes {
        tracing::info!(change = change.id.0, process = %veto.process, "veto: {}", veto.reason);
    }
    report.vetoes = votes.vetoes;
    standing.also_reached = votes.also_reached.into_iter().collect();
    if report.vetoes.is_empty() || change.request.force {
        Ok(())
    } else {
        Err(Stop::Vetoed)
    }
}

/// *Going to change*: reached processes that handle it themselves get ready and wait. One that
/// does not aborts the change, or, where it is forced, is stopped and started instead.
pub(super) async fn prepare(
    change: &mut Changeover,
    report: &mut ChangeReport,
    standing: &mut Standing,
    announcement: Announcement,
) -> Result<(), Stop> {
    if standing.registered.is_empty() {
        return Ok(());
    }
    let reached = (change.plan.processes.iter())
        .filter(|one| one.verdict == Verdict::Notify && one.reached)
        .map(|one| one.name.clone());
    let holding: BTreeSet<_> = reached
        .chain(standing.also_reached.iter().cloned())
        .filter(|name| standing.registered.contains(name))
        .collect();
    let what = format!("waiting for {} processes to be ready", holding.len());
    change.context.progress("prepare", what, None);
    let levels = lists::levels(&change.plan, &holding);
    let timeout_ms = Config::millis(change.context.config.timeouts.prepare);
    let prepare = Prepare {
        announcement,
        timeout_ms,
        levels,
    };
    let prepared = change.sysmgr.prepare(&prepare).await?;
    if prepared.not_ready.is_empty() {
        return Ok(());
    }
    if !change.request.force {
        let one = |veto: &model::change::Veto| format!("{}: {}", veto.process, veto.reason);
        let all: Vec<String> = prepared.not_ready.iter().map(one).collect();
        return Err(Stop::Failed(format!(
            "not ready for the change: {}",
            all.join("; ")
        )));
    }
    standing.not_ready = prepared
        .not_ready
        .iter()
        .map(|one| one.process.clone())
        .collect();
    report.vetoes.extend(prepared.not_ready);
    Ok(())
}
