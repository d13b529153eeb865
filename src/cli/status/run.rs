//! The steps of `distcomp-status`: connect, then show one of the views.

use std::process::ExitCode;

use serde_json::json;

use super::args::{StatusArgs, TasksArgs, View};
use super::context::StatusContext;
use super::{batches, events, explain, export, failures, learnt, list, logs, serve, state, wait, watch};
use crate::cli::common::{Context, run};
use crate::cli::exit::{CliError, Exit};
use crate::cli::local::{self, Purpose};
use crate::cli::output::{Out, columns, columns_or_all, is_terminal};
use crate::queue::guard::Access;
use crate::queue::{aside, inspect};
use crate::view::json::with_ids;
use crate::{queue, view};

/// The whole command.
#[must_use]
pub fn main() -> ExitCode {
    run("distcomp-status", status)
}

async fn status(args: StatusArgs) -> Result<Exit, CliError> {
    if matches!(&args.view, Some(View::Show { raw: true, .. } | View::Tasks(TasksArgs { raw: true, .. })))
        && is_terminal()
    {
        return Err(CliError::Usage(
            "--raw is for a pipe or a file: the output of tasks could control this terminal".to_owned(),
        ));
    }
    let (context, access) = local::load("distcomp-status", &args.common, &args.local, Purpose::Use).await?;
    let ended = show(args, context).await;
    local::close(access, ended).await
}

async fn show(args: StatusArgs, context: Context) -> Result<Exit, CliError> {
    let plan = match &args.view {
        Some(View::Serve(args)) => {
            serve::warnings(args).for_each(|warning| context.warn(&warning));
            Some(serve::plan_listening(args)?)
        }
        Some(_) | None => None,
    };
    let (conn, order) = context.connect(Access::Read).await?;
    let mut session = StatusContext { context, conn, order, out: Out::new(), json: args.json };
    let mut exit = Exit::Done;
    match args.view {
        None => overview(&mut session).await?,
        Some(View::Batches) => batches::batches(&mut session).await?,
        Some(View::Batch { name }) => batches::batch(&mut session, &name).await?,
        Some(View::Limits) => limits(&mut session).await?,
        Some(View::Wait(args)) => exit = wait::wait(&mut session, &args).await?,
        Some(View::Learnt) => learnt::learnt(&mut session).await?,
        Some(View::Workers) => workers(&mut session).await?,
        Some(View::Tasks(args)) => list::tasks(&mut session, &args).await?,
        Some(View::Show { line, raw }) => super::show::show(&mut session, &line, raw).await?,
        Some(View::State { lines }) => state::state(&mut session, &lines).await?,
        Some(View::Failures { all, group }) => failures::failures(&mut session, all, &group).await?,
        Some(View::Export(args)) => export::export(&mut session, &args).await?,
        Some(View::Watch(args)) => exit = watch::watch(&session, &args).await?,
        Some(View::Logs(args)) => exit = logs::logs(&mut session, &args).await?,
        Some(View::Events(args)) => exit = events::events(&mut session, &args).await?,
        Some(View::Serve(args)) => {
            if let Some(plan) = plan {
                serve::serve(&mut session, &args, plan).await?;
            }
        }
        Some(View::Explain { line }) => explain::explain(&mut session, line.as_deref()).await?,
    }
    session.out.finish()?;
    Ok(exit)
}

async fn overview(session: &mut StatusContext) -> Result<(), CliError> {
    let overview = inspect::shown_overview(&session.conn).await?;
    let set_aside = local::set_aside(&session.context, &session.conn).await?;
    if session.json {
        let mut json = view::json::overview(&overview).map_err(|error| CliError::stdout(error.into()))?;
        if session.context.is_local {
            json["set_aside"] = json!(aside::count(&session.conn).await?);
        }
        return session.out.json(&json);
    }
    session.out.text(&view::overview::overview(&overview, columns(), columns_or_all()))?;
    session.out.text(&view::workers::suspects(&overview.workers, overview.now))?;
    set_aside.map_or(Ok(()), |text| session.out.line(&text))
}

async fn limits(session: &mut StatusContext) -> Result<(), CliError> {
    let limits = queue::limits::all_views(&session.conn).await?;
    if session.json {
        return limits.iter().try_for_each(|limit| session.out.json(&json!(limit)));
    }
    session.out.text(&view::limits::limits(&limits, columns()))
}

async fn workers(session: &mut StatusContext) -> Result<(), CliError> {
    let overview = inspect::shown_overview(&session.conn).await?;
    if !session.json {
        if let Some(alarm) = view::deaths::nobody_lives(&overview) {
            session.out.line(&view::style::paint(view::style::BAD, &alarm))?;
        }
        session.out.text(&view::workers::workers(&overview.workers, columns()))?;
        session.out.text(&view::deaths::deaths(&overview.workers))?;
        session.out.text(&view::workers::extras(&overview.workers, overview.now))?;
        session.out.text(&view::workers::suspects(&overview.workers, overview.now))?;
        return session.out.text(&view::workers::containment(&overview.workers));
    }
    for worker in &overview.workers {
        session.out.json(&with_ids(json!(worker)))?;
    }
    Ok(())
}
