//! `yoi runtime serve`: the Runtime as a service, until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use runtime_service::{RuntimeService, ServiceOptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use worker_runtime::Runtime;

use super::gaps::Gaps;
use super::logs::LogArgs;
use super::open::{self, Config};
use super::reload::{self, Seen};
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;

/// Runs the service until it is told to stop.
///
/// Says on stdout where it listens; the log goes to stderr. The host's part of the config is read again
/// within two seconds after the file has changed, or at once on SIGHUP; a mistake in it is logged, and what
/// was in force before stays so. What `[service]` and `[limits]` say counts from the next start; where they
/// were changed, the log and `/readyz?verbose` say `restart_needed`. On SIGTERM or SIGINT nothing new is
/// taken, what is going on ends, and what does not end in time (`shutdown_ms`) is dropped, which rolls it
/// back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config (TOML); `yoi runtime init` writes one.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let text = config_file::text(&args.config)?;
    let config = open::parse(&text, &args.config)?;
    let seen = reload::Seen::of_start(&text, &args.config);
    config.settings.service.is_private()?;
    let _log = args.log.begin()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|_| broken("the asynchronous runtime"))?.block_on(serve(args, config, seen, output))
}

fn broken(what: &str) -> CliError {
    CliError::new("failed", format!("{what} cannot be started"), "see to it that the system allows more")
}

async fn serve(args: &Args, config: Config, seen: Seen, output: &Output) -> Result<ExitCode, CliError> {
    let listen = config.settings.service.listen;
    let unavailable = |error: std::io::Error| {
        let message = format!("the service cannot listen on {listen}: {}", error.kind());
        CliError::new("address_unavailable", message, "stop what listens there, or write another `listen`")
    };
    let runtime = config.open(output).await?;
    let listener = TcpListener::bind(listen).await.map_err(unavailable)?;
    let listening = listener.local_addr().map_err(unavailable)?;
    let options = ServiceOptions {
        hosts: config.settings.service.known_as(listening),
        limits: config.settings.service.limits.clone(),
        ..ServiceOptions::default()
    };
    let service = RuntimeService::new(runtime.clone(), options);
    Gaps::log(&config);
    let stop = stop_signals()?;
    let hang_up = signal(SignalKind::hangup()).map_err(|_| broken("listening for SIGHUP"))?;
    let minutes = config.settings.service.collect_garbage_minutes;
    let collecting = tokio::spawn(collect(runtime.clone(), minutes));
    let watch = reload::watch(args.config.clone(), config, seen, service.clone(), runtime, hang_up);
    let reloading = tokio::spawn(watch);
    let url = format!("http://{listening}");
    let document = json!({ "schema": "yoi.runtime-serve/1", "listening": url });
    output.result(&document, || format!("listening on {url}\n"));
    tracing::info!(target: "yoi::service", address = %listening, "listening");
    let stopped = service.serve(listener, stopped(stop)).await;
    reloading.abort();
    collecting.abort();
    tracing::info!(target: "yoi::service", cut = stopped.cut, "stopped");
    Ok(ExitCode::SUCCESS)
}

fn stop_signals() -> Result<[Signal; 2], CliError> {
    let on = |kind| signal(kind).map_err(|_| broken("listening for signals"));
    Ok([on(SignalKind::terminate())?, on(SignalKind::interrupt())?])
}

/// Waits for the first signal to stop; a second one ends the process as it would have without us.
async fn stopped([mut terminate, mut interrupt]: [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(target: "yoi::service", "stopping: what is going on may end");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
}

async fn collect(runtime: Runtime, minutes: u64) {
    if minutes == 0 {
        return;
    }
    let mut clock = tokio::time::interval(Duration::from_secs(minutes.saturating_mul(60)));
    clock.tick().await;
    loop {
        clock.tick().await;
        match runtime.management().collect_garbage().await {
            Ok(garbage) => {
                let blobs: u64 = garbage.workspaces.values().map(|one| one.blobs).sum();
                tracing::info!(target: "yoi::upkeep", blobs, strays = garbage.strays, "garbage collected");
            }
            Err(error) => tracing::warn!(target: "yoi::upkeep", code = error.code(), "garbage not collected"),
        }
    }
}
