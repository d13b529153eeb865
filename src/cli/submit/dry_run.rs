//! `--dry-run`: checks everything and says how it was read. Nothing is sent.

use std::io::IsTerminal as _;

use serde_json::json;

use super::args::SubmitArgs;
use super::check::{CheckReport, check, live, warn_of_nothing};
use super::origin::Origin;
use super::reader::TaskReader;
use super::task_file::ParseRules;
use crate::cli::common::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Out;
use crate::queue::LiveWorkers;
use crate::queue::guard::Access;
use crate::view::glyphs;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, tasks};

/// Checks the files. The queue's field order counts where it can be asked for; without Redis it is the configured one.
pub(super) async fn dry_run(context: &Context, args: &SubmitArgs) -> Result<Exit, CliError> {
    let mut workers = LiveWorkers::default();
    let order = match (context.config.field_order, context.connect(Access::Read).await) {
        (_, Ok((conn, order))) => {
            workers = live(&conn).await;
            order
        }
        (configured, Err(CliError::Queue(error))) if error.is_transient() => {
            let order = configured.unwrap_or_default();
            context.warn(&format!("failed to {error}; the lines are read as {order}"));
            order
        }
        (_, Err(error)) => return Err(error),
    };
    if let Some(configured) = context.config.field_order.filter(|configured| *configured != order) {
        return Err(CliError::Usage(format!(
            "task_field_order is \"{configured}\" here and \"{order}\" in the queue: set it to \"{order}\" in conf.json"
        )));
    }
    let rules = ParseRules { order, python_workers: context.config.python_workers };
    let origin = Origin::open(args.named())?;
    let found = check(context, &origin, rules, workers, args.quiet)?;
    let mut out = Out::new();
    if args.json {
        let steps: Vec<_> =
            found.plan.tasks.iter().map(|(name, tasks)| json!({ "name": name, "tasks": tasks })).collect();
        out.json(&json!({ "valid": found.valid, "invalid": found.invalid, "bytes": origin.bytes(), "batch": found.plan.name(), "steps": steps }))?;
    } else if args.parsable {
        write_tasks(&mut out, TaskReader::new(&origin, rules))?;
        warn_of_nothing(context, &origin, &found);
    } else if !args.quiet {
        say_dry_run(&mut out, context, &found)?;
    }
    out.finish()?;
    if let Some(misread) = &found.misread {
        return Err(CliError::Usage(misread.clone()));
    }
    if found.invalid == 0 || args.skip_invalid {
        found.offers.warnings().iter().for_each(|warning| context.warn(warning));
    }
    if found.invalid == 0 {
        return Ok(Exit::Done);
    }
    let invalid = format!("{} invalid", counted(found.invalid, "line"));
    if !args.skip_invalid {
        return Err(CliError::Usage(invalid));
    }
    context.say(&invalid);
    Ok(Exit::Done)
}

/// Bytes of task lines that are written at once.
const WRITTEN: usize = 64 * 1024;

/// All task lines: made safe on a terminal, and for programs as they are.
fn write_tasks(out: &mut Out, mut reader: TaskReader<'_>) -> Result<(), CliError> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut lines = String::new();
    while let Some(line) = reader.next()? {
        let Ok(task) = line.task else { continue };
        if is_terminal {
            out.line(&safe(task.as_str()))?;
            continue;
        }
        lines.push_str(task.as_str());
        lines.push('\n');
        if lines.len() >= WRITTEN {
            out.bytes(lines.as_bytes())?;
            lines.clear();
        }
    }
    out.bytes(lines.as_bytes())
}

/// The first tasks, how many more there are, and how all were read.
pub(super) fn say_dry_run(out: &mut Out, context: &Context, found: &CheckReport) -> Result<(), CliError> {
    let first = &found.profile.first;
    first.iter().try_for_each(|line| out.line(&safe(line)))?;
    let more = found.valid - first.len() as u64;
    if more > 0 {
        out.line(&format!("{} {} more", glyphs::ellipsis(), count(more)))?;
    }
    out.line(&format!("{} {} valid", tasks(found.valid), if found.valid == 1 { "is" } else { "are" }))?;
    if found.valid > 0 {
        let default = context.config.default_timeout.map(|limit| limit.as_secs());
        out.line(&format!("read as {}", found.profile.words(default)))?;
    }
    found.plan.shown().iter().try_for_each(|step| out.line(&format!("in {step}")))?;
    found.repeated.words().map_or(Ok(()), |repeated| out.line(&repeated))
}
