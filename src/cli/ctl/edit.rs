//! `edit`: changes what waits. Each line becomes another one, which is checked before anything changes.

use serde_json::json;

use super::confirm::confirm;
use super::context::CtlContext;
use super::edit_plan::{EditPlan, Planner};
use super::resign::Resigner;
use crate::cli::exit::CliError;
use crate::cli::orders::{SelectArgs, Selected, Selector, Verb};
use crate::cli::spill_list::SpillList;
use crate::cli::submit::{Offers, ParseRules};
use crate::compose::{EditError, LineEdit};
use crate::model::{TaskId, TaskLine};
use crate::queue::call_size::CALL_BYTES;
use crate::queue::edit::{BATCH, Edited, Replacement, edit};
use crate::queue::{QueueError, live_workers, queue_identity};
use crate::sys::wall_clock;
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten, tasks};

/// Columns of an example that are shown.
const SHOWN: usize = 76;

/// What became of the lines.
#[derive(Default)]
struct Done {
    edited: u64,
    /// They started, ended or were changed in the meantime.
    gone: u64,
    /// Their new line is in the queue already, or has ended.
    taken: u64,
    example: Option<String>,
}

/// Refuses what makes no sense, before anything is connected.
pub(super) fn check(select: &SelectArgs, set: &[String], replace: &[String]) -> Result<(), CliError> {
    edit_of(set, replace)?;
    if select.lines.is_empty() { Selector::new(Verb::Edit, select).map(drop) } else { Ok(()) }
}

fn edit_of(set: &[String], replace: &[String]) -> Result<LineEdit, CliError> {
    if set.is_empty() && replace.is_empty() {
        return Err(CliError::Usage("nothing to change: use --set KEY=VALUE or --replace OLD NEW".to_owned()));
    }
    let pairs: Vec<(String, String)> = replace.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let now = i64::try_from(wall_clock::unix_seconds()).unwrap_or(0);
    LineEdit::parse(set, &pairs, now).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(EditError::to_string).collect();
        CliError::Usage(texts.join("\n"))
    })
}

/// Changes the tasks that were selected.
pub(super) async fn apply(
    session: &mut CtlContext,
    select: &SelectArgs,
    set: &[String],
    replace: &[String],
) -> Result<(), CliError> {
    let line_edit = edit_of(set, replace)?;
    let python_workers = session.context.config.python_workers && !session.context.is_local;
    let rules = ParseRules { order: session.order, python_workers };
    let key = Resigner::key(session)?;
    let resigner = Resigner::new(session, key).await?;
    let selected = if select.lines.is_empty() {
        let selector = Selector::new(Verb::Edit, select)?;
        selector.select(&session.conn, session.order, session.manner.json || session.manner.quiet).await?
    } else {
        Selected::named(&session.conn, &select.lines).await?
    };
    let (number, elsewhere) = (selected.lines.len(), selected.elsewhere);
    if let (Some(file), 1..) = (&select.file, elsewhere) {
        session.context.say(&format!(
            "skipped {} of {}: not waiting in this queue, or not selected by the other flags",
            tasks(elsewhere),
            file.display(),
        ));
    }
    let traits = live_workers(&session.conn).await.unwrap_or_default().traits;
    let planner = Planner { session, edit: &line_edit, rules, resigner: &resigner };
    let mut plan = planner.plan(selected, Offers::new(&traits)).await?;
    plan.refuse_faults(session)?;
    plan.offers.warnings().iter().for_each(|warning| session.context.warn(warning));
    let left = plan.left();
    if !left.is_empty() {
        session.context.say(&format!("left alone: {left}"));
    }
    let to_change = plan.lines.len();
    if to_change == 0 || session.manner.dry_run {
        let text = if to_change == 0 { "nothing to edit".to_owned() } else { format!("would edit {}", planned(&plan)) };
        let done = Done { taken: plan.taken, ..Done::default() };
        return finish(session, number, &plan, &done, &text);
    }
    session.context.say(&format!("will edit {}", planned(&plan)));
    confirm(session.manner)?;
    let lines = std::mem::replace(&mut plan.lines, SpillList::new());
    let done = run(session, &line_edit, (rules, &resigner), lines).await?;
    let text = result_text(&done);
    finish(session, number, &plan, &done, &text)
}

fn planned(plan: &EditPlan) -> String {
    let taken = match plan.taken {
        0 => String::new(),
        1 => " (1 would become a line that is there already, and stays as it is)".to_owned(),
        taken => format!(" ({} would become lines that are there already, and stay as they are)", count(taken)),
    };
    format!("{}{taken}{}", tasks(plan.lines.len()), plan.shown())
}

/// Edits the lines, a batch in each call. A line that was passed over because its new line was there is tried again while others make room.
async fn run(
    session: &CtlContext,
    line_edit: &LineEdit,
    (rules, resigner): (ParseRules, &Resigner),
    mut lines: SpillList,
) -> Result<Done, CliError> {
    let failed = |error| CliError::io("read the selected lines from a temporary file", error);
    let manner = session.manner;
    let mut progress = Progress::new("edit", lines.len(), !manner.json && !manner.quiet);
    let mut done = Done::default();
    loop {
        let (mut taken, before) = (SpillList::new(), done.edited);
        let mut reader = lines.read().map_err(failed)?;
        loop {
            let batch = reader.take(BATCH, CALL_BYTES).map_err(failed)?;
            if batch.is_empty() {
                break;
            }
            let ended = edit_batch(session, line_edit, (rules, resigner), &batch).await;
            let (replacements, answers) = ended.inspect_err(|_| {
                session.context.say(&format!("stopped after {}; repeating the command is safe", tasks(done.edited)));
            })?;
            done.gone += (batch.len() - replacements.len()) as u64;
            for (one, answer) in replacements.iter().zip(answers) {
                match answer {
                    Edited::Done => done.edited += 1,
                    // Signed since it was looked at: somebody has submitted it again.
                    Edited::Gone | Edited::Unsigned => done.gone += 1,
                    Edited::Taken => taken.push(one.old.as_str()).map_err(failed)?,
                }
            }
            progress.set(done.edited + done.gone);
        }
        done.taken = taken.len();
        if done.taken == 0 || done.edited == before {
            let mut reader = taken.read().map_err(failed)?;
            done.example = reader.take(1, CALL_BYTES).map_err(failed)?.pop();
            return Ok(done);
        }
        lines = taken;
    }
}

/// Edits some lines, signed where they are signed. One that can no longer be signed again is left out.
async fn edit_batch(
    session: &CtlContext,
    line_edit: &LineEdit,
    (rules, resigner): (ParseRules, &Resigner),
    batch: &[String],
) -> Result<(Vec<Replacement>, Vec<Edited>), QueueError> {
    let signatures = queue_identity::signatures_of(&session.conn, batch).await?;
    let mut made = Vec::with_capacity(batch.len());
    for (line, signature) in batch.iter().zip(signatures) {
        let Ok(old) = TaskLine::parse(line, rules.order) else { continue };
        let Ok(new) = line_edit.apply(&old, rules.order) else { continue };
        let Ok(signature) = resigner.seal(line, signature.as_deref(), &new) else { continue };
        made.push(Replacement { old, new, signature });
    }
    let answers = edit(&session.conn, &made).await?;
    Ok((made, answers))
}

fn result_text(done: &Done) -> String {
    let mut text = format!("edited {}", tasks(done.edited));
    if done.gone > 0 {
        text.push_str(&format!("; skipped {} that started or changed in the meantime", count(done.gone)));
    }
    if let (1.., Some(example)) = (done.taken, &done.example) {
        let id = TaskId::of(example);
        let line = shorten(&safe(example), SHOWN - 17);
        text.push_str(&format!(
            "\nskipped {} whose new line is in the queue already, or has ended, such as:\n{id} {line}",
            count(done.taken)
        ));
    }
    text
}

fn finish(session: &mut CtlContext, selected: u64, plan: &EditPlan, done: &Done, text: &str) -> Result<(), CliError> {
    if !session.manner.json {
        return session.tell(text);
    }
    let examples: Vec<_> = plan.examples.iter().map(|(old, new)| json!({ "old": old, "new": new })).collect();
    session.out.json(&json!({
        "command": "edit", "dry_run": session.manner.dry_run, "selected": selected, "changed": done.edited,
        "running": plan.running, "not_waiting": plan.ended, "unchanged": plan.unchanged, "taken": done.taken,
        "gone": done.gone, "examples": examples,
    }))
}
