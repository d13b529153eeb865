//! The steps of `distcomp-worker`, in order.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::args::WorkerArgs;
use super::load::{load, program};
use super::{check, local};
use crate::cli::common::parse;
use crate::cli::exit::{CliError, Exit};
use crate::cli::keys::public_keys;
use crate::cli::output::{fail, fail_as};
use crate::config::Role;
use crate::process::signals::{SignalRequest, Signals};
use crate::view::glyphs;
use crate::worker::start_checks::{look_at_node, warn_of_order, warn_of_signing_key, withheld};
use crate::worker::state::StateDir;
use crate::worker::{BootPlan, Metrics, boot, keepers};
use crate::{process, telemetry, worker};

/// The whole command. As a keeper, which is how it starts itself again for its tasks, it does nothing else.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = process::keeper_main_if_asked() {
        return code;
    }
    let mut args: WorkerArgs = match parse() {
        Ok(args) => args,
        Err(exit) => return exit.into(),
    };
    process::signals::unblock();
    crate::cli::secrets::keep(program());
    glyphs::follow_locale(|name| std::env::var_os(name));
    process::return_large_blocks();
    telemetry::init(
        args.log_format,
        if args.local {
            "error"
        } else if args.check {
            "warn"
        } else {
            "info"
        },
    );
    // One thread: the loops hand small things to each other, and waking another thread for each would cost more than the work.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(4)
        .on_thread_park(worker::coalescing::pause)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            fail_as(program(), "io", &format!("failed to start: {error}"));
            return Exit::Usage.into();
        }
    };
    let ended = runtime.block_on(async {
        // Without it a file that reaches its limit ends the worker, which is no reason not to start.
        let _ = process::signals::survive_file_size_limit();
        tokio::spawn(process::reap_orphans());
        if args.local {
            local::run(&mut args).await
        } else if args.check {
            check::run(&args).await
        } else {
            daemon(&args).await
        }
    });
    runtime.shutdown_background();
    telemetry::flush();
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            fail(program(), &error);
            error.exit().into()
        }
    }
}

async fn daemon(args: &WorkerArgs) -> Result<Exit, CliError> {
    let (watcher, loaded) = load(args, None, Role::Worker)?;
    for warning in loaded.warnings.iter().chain(&loaded.python_notes) {
        tracing::warn!("{warning}");
    }
    let config = loaded.config;
    let keys = public_keys(&config, loaded.file.as_deref())?;
    if let Some(warning) = warn_of_signing_key(&config) {
        tracing::warn!("{warning}");
    }
    let name = args.worker_name()?;
    let state = StateDir::of_worker(&config, &name, None)?;
    let metrics = args.metrics_listen.map(|address| {
        Metrics::listen(address).map_err(|error| CliError::io(format!("serve metrics at {address}"), error))
    });
    let metrics = metrics.transpose()?;
    if let Some(metrics) = &metrics {
        tracing::info!(address = %metrics.address(), "serving /metrics and /healthz");
    }
    let plan = BootPlan {
        config,
        watcher,
        worker: name,
        keys: keys.iter().map(|(_, key)| key.clone()).collect(),
        allow_insecure: args.allow_insecure,
        is_burst: args.burst,
        hangup_ends: std::io::stderr().is_terminal(),
        waits_for_redis: !args.burst,
        metrics,
        share: args.share(),
        keeper_program: keepers::THIS_PROGRAM.into(),
    };
    let mut setup = tokio::select! {
        setup = boot(plan, &state) => setup?,
        () = asked_to_stop() => {
            tracing::info!("stopped before the first claim");
            return Ok(Exit::Done);
        }
    };
    let (node, warnings) = look_at_node(&setup.config, &mut setup.probe);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    setup.identity.warn_of_slots(&setup.config);
    if let Some(warning) = warn_of_order(&setup.config, setup.identity.order) {
        tracing::warn!("{warning}");
    }
    let withheld = withheld(&setup.config);
    if !withheld.is_empty() {
        tracing::info!(variables = withheld, "variables that contain a secret are withheld from tasks");
    }
    tracing::info!(
        worker = %setup.identity.worker,
        redis = setup.client.at(),
        slots = setup.config.max_tasks.min(setup.identity.most_slots),
        memory = %node.total.mem(),
        cores = %node.total.cpu(),
        containment = setup.keeper_factory.containment(),
        signed_by = keys.iter().map(|(_, key)| key.id().to_string()).collect::<Vec<_>>().join(","),
        version = env!("CARGO_PKG_VERSION"),
        "started"
    );
    worker::run(setup).await?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// SIGTERM or SIGINT while the worker waits for Redis: nothing runs, so it just goes. SIGHUP means nothing yet: the file was read a moment ago.
async fn asked_to_stop() {
    let Ok(mut signals) = Signals::of(&[SignalRequest::Terminate, SignalRequest::Interrupt, SignalRequest::Hangup])
    else {
        return std::future::pending().await;
    };
    while signals.next().await == SignalRequest::Hangup {}
}
