//! What all commands share: common flags, loading the configuration, connecting to Redis, starting and ending.

use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, ValueHint};
use secrecy::SecretString;

use super::exit::{CliError, Exit};
use super::output::{complain, fail, fail_as, is_json, stderr, stdout, warn};
use super::secrets::{hidden, keep};
use super::words::{self, Meaning};
use crate::config::{self, Config, ConfigSource, Overrides, Role};
use crate::local::{Following, has_queue};
use crate::model::FieldOrder;
use crate::process::signals::{self, SignalRequest, Signals};
use crate::queue::guard::{self, Access};
use crate::queue::{Client, Connection, QueueError};
use crate::view::glyphs;
use crate::view::safe_text::safe;

/// How long one call may take: people's commands are patient with a busy server.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The flags of all commands.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Configuration file [default: conf.json, if it exists]
    // Empty is accepted and counts as not given: `DISTCOMP_CONFIG=` means so.
    #[arg(
        long,
        value_name = "PATH",
        env = "DISTCOMP_CONFIG",
        value_parser = path_parser(),
        value_hint = ValueHint::FilePath,
        global = true,
        help_heading = "Common options"
    )]
    pub config: Option<PathBuf>,
    /// Redis server; overrides the file
    ///
    /// `redis://[USER:PASSWORD@]HOST:PORT/DB`, `rediss://…`, `redis+unix://PATH`, `redis+sentinel://HOST,HOST/MASTER/DB`
    #[arg(
        long,
        value_name = "URL",
        env = "DISTCOMP_REDIS_URL",
        hide_env_values = true,
        global = true,
        help_heading = "Common options"
    )]
    pub redis_url: Option<SecretString>,
}

/// The value of a flag, or of the variable in its place, that is a path: no shell replaces `~` after `--flag=`, or in a unit of systemd.
pub(crate) fn path_parser() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| config::expand_path(text.as_ref()))
}

impl CommonArgs {
    /// The file that is named, if any is: an empty name is none.
    pub(crate) fn source(&self) -> ConfigSource {
        let named = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        named.map_or(ConfigSource::Default, ConfigSource::Named)
    }
}

/// What a command works with.
pub(crate) struct Context {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// The name of the program, for messages.
    pub(crate) program: &'static str,
    /// Whether the queue is that of a private server (`--local`).
    pub(crate) is_local: bool,
    /// Of a queue of `--local` that another process may run.
    pub(crate) following: Option<Following>,
}

impl Context {
    /// Loads the configuration and passes its warnings on.
    pub(crate) fn load(program: &'static str, args: &CommonArgs) -> Result<Self, CliError> {
        let source = args.source();
        let overrides = Overrides::of_process(args.redis_url.clone());
        let loaded = config::load(&source, &overrides, Role::Client).map_err(CliError::Config)?;
        for warning in &loaded.warnings {
            warn(program, warning);
        }
        Ok(Self { config: loaded.config, file: loaded.file, program, is_local: false, following: None })
    }

    /// Another one of the same queue, for a step of its own.
    pub(crate) fn again(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            file: self.file.clone(),
            program: self.program,
            is_local: self.is_local,
            following: None,
        }
    }

    /// Where Redis is, for who makes connections of his own.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::new(&self.config.redis, &self.config.key_prefix, RESPONSE_TIMEOUT)?)
    }

    /// Connects, and makes sure that this is a server and a queue we may use.
    pub(crate) async fn connect(&self, access: Access) -> Result<(Connection, FieldOrder), CliError> {
        let conn = self.client()?.connect().await.map_err(|error| hint(error, self))?;
        let order = guard::handshake(&conn, self.config.field_order, access).await?;
        Ok((conn, order))
    }

    /// From now on this command only follows the queue: with `--local`, a run that starts may take the server over.
    pub(crate) fn begin_to_follow(&self) {
        if let Some(following) = &self.following {
            following.begin();
        }
    }

    /// A message for the person at the terminal.
    pub(crate) fn say(&self, message: &str) {
        complain(self.program, message);
    }

    /// A warning for the person at the terminal.
    pub(crate) fn warn(&self, message: &str) {
        warn(self.program, message);
    }
}

/// Parses the command line, runs the command, and maps its end to an exit code.
pub(crate) fn run<A, F>(program: &'static str, command: impl FnOnce(A) -> F) -> ExitCode
where
    A: Parser,
    F: Future<Output = Result<Exit, CliError>>,
{
    let args: A = match parse() {
        Ok(args) => args,
        Err(exit) => return exit.into(),
    };
    signals::unblock();
    keep(program);
    glyphs::follow_locale(|name| std::env::var_os(name));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            fail_as(program, "io", &format!("failed to start: {error}"));
            return Exit::Usage.into();
        }
    };
    match runtime.block_on(command(args)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !matches!(error, CliError::ClosedPipe) {
                fail(program, &error);
            }
            error.exit().into()
        }
    }
}

/// The arguments; where they are wrong, or help is asked for, that is said, and this is the exit.
pub(crate) fn parse<A: Parser>() -> Result<A, Exit> {
    let is_run = std::env::args_os().next().is_some_and(|name| name == words::RUN);
    let command = if is_run { A::command().override_usage(words::RUN_USAGE) } else { A::command() };
    let parsed = command.try_get_matches().and_then(|mut found| A::from_arg_matches_mut(&mut found));
    parsed.map_err(|error| {
        let name = if is_run { words::RUN.to_owned() } else { A::command().get_name().to_owned() };
        if let Some(answer) = answer_of(&error, &name) {
            fail_as(&name, "usage", &answer);
            return Exit::Usage;
        }
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        let hidden = hidden(&error.render().to_string(), std::env::args_os().skip(1));
        if error.use_stderr() && is_json() {
            let text = hidden.unwrap_or_else(|| error.render().to_string());
            fail_as(&name, "usage", text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return exit;
        }
        match hidden {
            // A closed pipe under `--help | head` is nobody's mistake.
            None if error.use_stderr() => drop(stderr().write_all(error.render().ansi().to_string().as_bytes())),
            None => drop(stdout().write_all(error.render().ansi().to_string().as_bytes())),
            Some(text) => drop(io::stderr().lock().write_all(text.as_bytes())),
        }
        exit
    })
}

/// What is right in place of a word that is no command here; clap would name the one that is spelt most alike.
fn answer_of(error: &clap::Error, program: &str) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let shown = safe(word);
    Some(match words::meaning(word) {
        Meaning::Command(found) => {
            let name = found.program.file();
            let right = [&[name], found.first].concat().join(" ");
            if name == program {
                format!("{shown} is no command of {program}: use {right}")
            } else {
                format!("{shown} is a command of {name}: use {right}")
            }
        }
        Meaning::Unclear(answer) => format!("{shown} is no command: {answer}"),
        Meaning::Near(near) => {
            let right = [&[near.program.file()], near.first].concat().join(" ");
            format!("{shown} is no command of {program} (did you mean {right}?); {program} --help lists all")
        }
        Meaning::Unknown => format!("{shown} is no command of {program}; {program} --help lists all"),
    })
}

/// Runs what would go on for ever, until SIGINT or SIGTERM.
pub(crate) async fn until_signal(endless: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let mut signals = Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate])
        .map_err(|error| CliError::io("listen for signals", error))?;
    tokio::select! {
        ended = endless => ended,
        asked = signals.next() => Ok(asked.into()),
    }
}

/// What helps somebody whose Redis cannot be reached, in a directory that has a queue of its own.
fn hint(error: QueueError, context: &Context) -> QueueError {
    let QueueError::Unavailable { at, message } = error else { return error };
    if context.is_local || !has_queue(&context.config.state_dir, Path::new(".")) {
        return QueueError::Unavailable { at, message };
    }
    let message = format!("{message}; this directory has a queue of distcomp run: {} --local", context.program);
    QueueError::Unavailable { at, message }
}
