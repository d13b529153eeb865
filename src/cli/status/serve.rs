//! `distcomp-status serve`: the dashboard. One loop reads Redis for all viewers. Pages that need more read it themselves, within bounds.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::args::ServeArgs;
use super::context::StatusContext;
use super::operator_desk::RedisDesk;
use super::redis_source::{OverviewLoop, RedisSource};
use crate::cli::exit::CliError;
use crate::config::warning_of_open_secret;
use crate::process::signals::{SignalRequest, Signals};
use crate::process::{raise_open_files, reap_orphans};
use crate::queue::inspect;
use crate::view::dashboard::{AppState, LiveState, OrderDesk, QueuePlace, router};
use crate::view::glyphs;
use crate::view::web::{
    HostGuard, MIN_TOKEN, OperatorAccess, ServerLimits, TokenAccess, WeakToken, is_loopback, serve as serve_http,
};

/// The variable that may hold the token.
const TOKEN: &str = "DISTCOMP_DASHBOARD_TOKEN";

/// The variable that may hold the operator's token.
const OPERATOR_TOKEN: &str = "DISTCOMP_DASHBOARD_OPERATOR_TOKEN";

/// What serves must know before Redis is asked anything.
pub(super) struct ListenPlan {
    listener: std::net::TcpListener,
    address: SocketAddr,
    access: TokenAccess,
    operators: Option<OperatorAccess>,
}

/// Checks the token and takes the port, so that a mistake is told at once.
pub(super) fn plan_listening(args: &ServeArgs) -> Result<ListenPlan, CliError> {
    let token = token(args.token_file.as_deref(), TOKEN)?;
    let operator_token = operator_token(args, token.as_ref())?;
    if token.is_none() && !is_loopback(&args.listen) {
        return Err(CliError::Usage(format!(
            "--listen {} is reachable from other machines and requires a token: set --token-file FILE or {TOKEN}, or listen on 127.0.0.1 and use `ssh -L`",
            args.listen
        )));
    }
    let bind = || {
        let listener = std::net::TcpListener::bind(args.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, address) =
        bind().map_err(|error: io::Error| CliError::io(format!("listen on {}", args.listen), error))?;
    let refused = |weak: WeakToken| {
        CliError::Usage(format!("{weak}: create one of {MIN_TOKEN} characters or more with `openssl rand -hex 24`"))
    };
    let access = match token {
        None => TokenAccess::open(),
        Some(token) => TokenAccess::locked(&token, address.port()).map_err(refused)?,
    };
    let operators = operator_token.map(|token| OperatorAccess::new(&token, address.port()));
    Ok(ListenPlan { listener, address, access, operators: operators.transpose().map_err(refused)? })
}

/// Tokens that others on this machine can read.
pub(super) fn warnings(args: &ServeArgs) -> impl Iterator<Item = String> {
    let files = [("--token-file", &args.token_file), ("--operator-token-file", &args.operator_token_file)];
    files.into_iter().filter_map(|(flag, file)| warning_of_open_secret(flag, file.as_deref()?))
}

/// The token of operators, where there are any; it must not be the one that viewers know.
fn operator_token(args: &ServeArgs, viewers: Option<&SecretString>) -> Result<Option<SecretString>, CliError> {
    if !args.allow_actions {
        return Ok(None);
    }
    let Some(token) = token(args.operator_token_file.as_deref(), OPERATOR_TOKEN)? else {
        return Err(CliError::Usage(format!(
            "--allow-actions requires a token for operators: set --operator-token-file FILE or {OPERATOR_TOKEN}"
        )));
    };
    if viewers.is_some_and(|viewers| viewers.expose_secret() == token.expose_secret()) {
        return Err(CliError::Usage(
            "the operator's token is the viewers' token: create another one, which viewers do not know".to_owned(),
        ));
    }
    Ok(Some(token))
}

fn token(file: Option<&Path>, variable: &str) -> Result<Option<SecretString>, CliError> {
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|error| CliError::io(format!("read {}", path.display()), error))?;
        return Ok(Some(SecretString::from(text.trim())));
    }
    Ok(std::env::var(variable).ok().filter(|token| !token.is_empty()).map(|token| SecretString::from(token.trim())))
}

/// Half of the descriptors that this process may have, and no more than any site needs: the rest is for Redis and files.
fn limits() -> ServerLimits {
    const MOST: u64 = 1024;
    let open_files = raise_open_files().map_or(MOST, |files| files.limit);
    let connections = usize::try_from((open_files / 2).min(MOST)).unwrap_or(1).max(4);
    ServerLimits { connections, head: Duration::from_secs(10), lifetime: None }
}

/// Serves until SIGINT or SIGTERM.
pub(super) async fn serve(session: &mut StatusContext, args: &ServeArgs, plan: ListenPlan) -> Result<(), CliError> {
    glyphs::follow_pages();
    let mut signals = Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate])
        .map_err(|error| CliError::io("listen for signals", error))?;
    let listener = TcpListener::from_std(plan.listener).map_err(|error| CliError::io("listen", error))?;
    let live = Arc::new(LiveState::new(inspect::shown_overview(&session.conn).await?));
    let source = Arc::new(
        RedisSource::new(session.context.client()?, session.conn.clone()).with_defaults(&session.context.config),
    );
    session.context.begin_to_follow();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(reap_orphans());
    // Else the first scrape would lack it.
    source.publish_extras(&live).await;
    let reader = tokio::spawn(OverviewLoop { source: Arc::clone(&source), live: Arc::clone(&live) }.run());
    // Only where that was asked for is there a connection that may write: one for each order.
    let desk: Option<Arc<dyn OrderDesk>> = match &plan.operators {
        Some(_) => {
            Some(Arc::new(RedisDesk::open(session.context.client()?, Arc::clone(&session.context.config)).await?))
        }
        None => None,
    };
    let place = QueuePlace { server: session.conn.at(), prefix: &session.context.config.key_prefix };
    let config = Arc::clone(&session.context.config);
    let state = AppState::new(live, source, plan.access, session.order, config, place, stopped.clone())
        .with_shapes(args.shapes.clone());
    let state = match plan.operators {
        Some(operators) => state.with_operators(operators),
        None => state,
    };
    let guard = HostGuard::new(plan.address, &args.allowed_host);
    let app = router(state, guard, desk, args.base_path.clone());
    let serving = tokio::spawn(serve_http(listener, app, limits(), stopped));
    session.context.say(&format!("the dashboard is at http://{}{} ; Ctrl-C ends it", plan.address, args.base_path));
    signals.next().await;
    // First no new viewers and no open streams, then nobody who reads for them.
    let _ = stop.send(true);
    let _ = serving.await;
    reader.abort();
    Ok(())
}
