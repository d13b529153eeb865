//! The steps of `distcomp-ctl`: check, connect, run one command.

use std::process::ExitCode;

use super::args::{Command, CtlArgs};
use super::autoscale::autoscale;
use super::context::CtlContext;
use super::{batches, change, down, edit, keygen, limit, quarantine, reclaim, share, switch, up};
use crate::cli::common::{Context, run};
use crate::cli::completion::{answer, script};
use crate::cli::exit::{CliError, Exit};
use crate::cli::generate::{PROGRAMS, generate};
use crate::cli::local::{self, Purpose};
use crate::cli::output::Out;
use crate::local::LocalAccess;
use crate::queue::control::Change;
use crate::queue::guard::Access;
use crate::view::safe_text::safe;

/// The whole command.
#[must_use]
pub fn main() -> ExitCode {
    answer().unwrap_or_else(|| run("distcomp-ctl", ctl))
}

async fn ctl(args: CtlArgs) -> Result<Exit, CliError> {
    if let Command::Keygen { out } = &args.command {
        return keygen::keygen(out, args.manner);
    }
    if let Command::Completions { shell } = args.command {
        let mut out = Out::new();
        out.text(&script(shell, &PROGRAMS))?;
        out.finish()?;
        return Ok(Exit::Done);
    }
    if let Command::Generate { dir } = &args.command {
        let files = generate(dir)?;
        if !args.manner.quiet {
            let mut out = Out::new();
            out.line(&format!("wrote {files} files below {}", safe(&dir.display().to_string())))?;
            out.finish()?;
        }
        return Ok(Exit::Done);
    }
    match &args.command {
        Command::Requeue(select) => change::check(Change::Requeue, select)?,
        Command::Cancel(select) => change::check(Change::Cancel, select)?,
        Command::Purge { select, quarantined: false } => change::check(Change::Purge, select)?,
        Command::Edit { select, set, replace } => edit::check(select, set, replace)?,
        Command::Up(fleet) => up::check(fleet)?,
        Command::Purge { .. }
        | Command::Down { .. }
        | Command::Autoscale(_)
        | Command::Pause { .. }
        | Command::Close { .. }
        | Command::Release { .. }
        | Command::Resume { .. }
        | Command::Share { .. }
        | Command::Limit { .. }
        | Command::Drain { .. }
        | Command::Stop
        | Command::Reclaim { .. }
        | Command::Keygen { .. }
        | Command::Completions { .. }
        | Command::Generate { .. } => {}
    }
    let (context, access) = local::load("distcomp-ctl", &args.common, &args.local, Purpose::Use).await?;
    let is_alone = access.as_ref().is_some_and(LocalAccess::is_own);
    let ended = change_queue(args, context, is_alone).await;
    local::close(access, ended).await
}

/// `is_alone`: the queue is that of `--local` in a directory where no run is at work.
async fn change_queue(args: CtlArgs, context: Context, is_alone: bool) -> Result<Exit, CliError> {
    // A dry run leaves no trace, not even the record of the field order.
    let only_asks = matches!(&args.command, Command::Limit { to: None, .. })
        || matches!(&args.command, Command::Autoscale(args) if args.provider.is_once())
        || matches!(&args.command, Command::Share { share: None, weights } if weights.is_empty());
    let access = if args.manner.dry_run || only_asks {
        Access::Read
    } else if matches!(args.command, Command::Purge { .. }) {
        Access::Free
    } else {
        Access::Write
    };
    let (conn, order) = context.connect(access).await?;
    if is_alone {
        // Nothing claims: what runs have set aside waits like the rest, and can be selected like it.
        local::restore_all(&conn, order).await?;
    }
    let mut session = CtlContext { context, conn, order, out: Out::new(), manner: args.manner, told: None };
    let mut ended = Exit::Done;
    match args.command {
        Command::Up(fleet) => ended = up::up(&mut session, &fleet).await?,
        Command::Autoscale(args) => ended = autoscale(&mut session, &args).await?,
        Command::Down { fleet, no_wait } => ended = down::down(&mut session, &fleet, !no_wait).await?,
        Command::Requeue(select) => change::apply(&mut session, Change::Requeue, &select).await?,
        Command::Cancel(select) => change::apply(&mut session, Change::Cancel, &select).await?,
        Command::Purge { quarantined: true, .. } => quarantine::empty(&mut session).await?,
        Command::Purge { select, .. } => change::apply(&mut session, Change::Purge, &select).await?,
        Command::Edit { select, set, replace } => edit::apply(&mut session, &select, &set, &replace).await?,
        Command::Pause { batches } if batches.is_empty() => switch::pause(&mut session).await?,
        Command::Pause { batches } => batches::pause(&mut session, &batches).await?,
        Command::Resume { batches, .. } if !batches.is_empty() => batches::resume(&mut session, &batches).await?,
        Command::Resume { workers, .. } if workers.is_empty() => switch::resume(&mut session).await?,
        Command::Resume { workers, .. } => switch::undrain(&mut session, &workers).await?,
        Command::Drain { workers, all: _ } => switch::drain(&mut session, &workers).await?,
        Command::Share { share, weights } => share::share(&mut session, share, &weights).await?,
        Command::Close { batches } => batches::close(&mut session, &batches).await?,
        Command::Release { names } => batches::release(&mut session, &names).await?,
        Command::Limit { name, to: None } => limit::show(&mut session, &name).await?,
        Command::Limit { name, to: Some(to) } => limit::set(&mut session, &name, to).await?,
        Command::Stop => switch::stop(&mut session).await?,
        // Done above: they need no queue.
        Command::Keygen { .. } | Command::Completions { .. } | Command::Generate { .. } => {}
        Command::Reclaim { workers, forget: true, .. } => reclaim::forget(&mut session, &workers).await?,
        Command::Reclaim { workers, force, .. } => reclaim::reclaim(&mut session, &workers, force).await?,
    }
    session.out.finish()?;
    Ok(ended)
}
