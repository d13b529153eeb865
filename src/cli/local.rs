//! `--local` of the commands that show or change a queue: the queue of `distcomp-worker --local` in a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use tokio::time::{Instant, sleep};

use super::common::{CommonArgs, Context, path_parser};
use super::exit::CliError;
use super::output::warn;
use crate::config::{self, ConfigSource, DEFAULT_FILE, Overrides, Role};
use crate::local::LocalAccess;
use crate::model::FieldOrder;
use crate::queue::guard::Access;
use crate::queue::select::StateScan;
use crate::queue::{Connection, aside};
use crate::view::ctl_command::look_at_directory;
use crate::view::text::tasks;

/// How long the server may be away before that is mentioned: one process hands it over to another.
const HANDOVER: Duration = Duration::from_secs(5);
/// Between attempts to reach it.
const LOOK: Duration = Duration::from_millis(100);

/// The flag.
#[derive(Clone, Debug, Args)]
pub struct LocalArgs {
    /// Use the queue of `distcomp-worker --local` in the current directory, or in DIR
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ".",
        value_parser = path_parser(),
        value_hint = ValueHint::DirPath,
        global = true,
        hide_short_help = true,
        help_heading = "Common options"
    )]
    pub local: Option<PathBuf>,
}

/// What a command does with the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Looks at it, or changes what is there.
    Use,
    /// Adds to it: where there is none, one is made.
    Add,
}

/// Loads the configuration, and with `--local` finds the queue; hand the access to [`close`] at the end.
pub(crate) async fn load(
    program: &'static str,
    common: &CommonArgs,
    local: &LocalArgs,
    purpose: Purpose,
) -> Result<(Context, Option<LocalAccess>), CliError> {
    let Some(dir) = &local.local else {
        return Ok((Context::load(program, common)?, None));
    };
    look_at_directory(dir);
    let source = source_in(common.source(), dir);
    let mut overrides = Overrides::of_process(None);
    // Only the state directory is wanted here: how to reach another Redis does not count, right or wrong.
    overrides.private_server = Some(PathBuf::new());
    let loaded = config::load(&source, &overrides, Role::Client).map_err(CliError::Config)?;
    for warning in &loaded.warnings {
        warn(program, warning);
    }
    let access = LocalAccess::open(&loaded.config.state_dir, dir, purpose == Purpose::Add).await?;
    overrides.private_server = Some(access.socket());
    let loaded = config::load(&source, &overrides, Role::Client).map_err(CliError::Config)?;
    let following = Some(access.following());
    Ok((Context { config: loaded.config, file: loaded.file, program, is_local: true, following }, Some(access)))
}

/// The end of a command: a server that was started for it is stopped.
pub(crate) async fn close<T>(access: Option<LocalAccess>, ended: Result<T, CliError>) -> Result<T, CliError> {
    let closed = match access {
        Some(access) => access.close().await,
        None => Ok(()),
    };
    let done = ended?;
    closed?;
    Ok(done)
}

/// The queue again after a run took its server over, which takes a moment; `None` elsewhere, and where it takes longer.
pub(crate) async fn connect_again(context: &Context) -> Option<Connection> {
    let begun = Instant::now();
    while context.is_local && begun.elapsed() < HANDOVER {
        sleep(LOOK).await;
        if let Ok((conn, _)) = context.connect(Access::Read).await {
            return Some(conn);
        }
    }
    None
}

/// The file that counts in another directory is the one that is found there.
pub(super) fn source_in(source: ConfigSource, dir: &Path) -> ConfigSource {
    let there = dir.join(DEFAULT_FILE);
    if source == ConfigSource::Default && dir != Path::new(".") && there.exists() {
        ConfigSource::Found(there)
    } else {
        source
    }
}

/// What is set aside in a queue of `--local`, in words; nothing elsewhere, or where nothing is.
pub(crate) async fn set_aside(context: &Context, conn: &Connection) -> Result<Option<String>, CliError> {
    let number = if context.is_local { aside::count(conn).await? } else { 0 };
    Ok((number > 0).then(|| {
        format!(
            "{} set aside: earlier commands in this directory left them; distcomp run --all runs them too",
            tasks(number)
        )
    }))
}

/// Puts all back that runs of `--local` have set aside.
pub(crate) async fn restore_all(conn: &Connection, order: FieldOrder) -> Result<(), CliError> {
    let mut scan = StateScan::of_aside();
    while let Some(page) = scan.next(conn).await? {
        let page: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
        for batch in page.chunks(aside::BATCH) {
            aside::restore(conn, batch, order).await?;
        }
    }
    Ok(())
}
