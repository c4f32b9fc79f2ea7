//! `yoi runtime serve`: runs the Runtime as a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use runtime_api::Code;
use runtime_service::{RuntimeService, ServiceOptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use worker_runtime::Runtime;

use super::backend::Polling;
use super::gaps::Gaps;
use super::logs::LogArgs;
use super::open::{self, Config};
use super::reload::{self, LastRead};
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;

/// Runs the service until it receives SIGTERM or SIGINT.
///
/// Prints its address to stdout and the log to stderr. The service reads the policy of the config again within two seconds
/// after the file has changed, or at once on SIGHUP. If the new policy is invalid, the service logs the error and keeps the
/// previous policy. Changes of `[service]`, `[limits]`, `[egress]` and `[backend]` take effect at the next start; until then,
/// the log and `/readyz?verbose` show `restart_needed`. On SIGTERM or SIGINT the service accepts no new requests and waits for those in
/// flight. After `shutdown_ms` it aborts them, which rolls them back. Then it stops the services of plugins.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Config (TOML). `yoi runtime init` writes one.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

/// Port of a Runtime, if the config names none.
const DEFAULT_PORT: u16 = 7070;

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let text = config_file::text(&args.config)?;
    let config = open::parse(&text, &args.config)?;
    let last_read = reload::LastRead::at_start(&text, &args.config);
    config.settings.service.require_private()?;
    let _log = args.log.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|_| cannot_start("the asynchronous runtime"))?.block_on(serve(args, config, last_read, output))
}

pub(crate) fn cannot_start(what: &str) -> CliError {
    CliError::new(
        Code::Failed,
        format!("cannot start {what}"),
        "raise the limits of the system for threads and open files",
    )
}

async fn serve(args: &Args, config: Config, last_read: LastRead, output: &Output) -> Result<ExitCode, CliError> {
    let runtime = config.open(output).await?;
    let (listener, listening) = listen(config.settings.service.listen(DEFAULT_PORT)).await?;
    let options = ServiceOptions {
        hosts: config.settings.service.hosts_at(listening),
        limits: config.settings.service.limits.clone(),
        ..ServiceOptions::default()
    };
    let service = RuntimeService::new(runtime.clone(), options);
    Gaps::log(&config);
    let polling = Polling::start(&config, &runtime).await?;
    let stop = stop_signals()?;
    let hang_up = signal(SignalKind::hangup()).map_err(|_| cannot_start("listening for SIGHUP"))?;
    let minutes = config.settings.service.collect_garbage_minutes;
    let collector = tokio::spawn(collect(runtime.clone(), minutes));
    let services = runtime.management();
    let watch = reload::watch(args.config.clone(), config, last_read, service.clone(), runtime, hang_up);
    let reloader = tokio::spawn(watch);
    let url = format!("http://{listening}");
    let document = json!({ "schema": "yoi.runtime-serve/1", "listening": url });
    output.result(&document, || format!("listening on {url}\n"));
    tracing::info!(target: "yoi::service", address = %listening, "listening");
    let stopped = service.serve(listener, wait_for_stop(stop)).await;
    reloader.abort();
    collector.abort();
    if let Some(polling) = polling {
        polling.end().await;
    }
    services.stop_services().await;
    tracing::info!(target: "yoi::service", cut = stopped.cut, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// Listens on an address, and returns the address with its port.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let unavailable = |error: std::io::Error| {
        let message = format!("cannot listen on {address}: {}", error.kind());
        CliError::new(
            Code::AddressUnavailable,
            message,
            "stop the program that uses the address, or change `listen` in the config",
        )
    };
    let listener = TcpListener::bind(address).await.map_err(unavailable)?;
    let listening = listener.local_addr().map_err(unavailable)?;
    Ok((listener, listening))
}

pub(crate) fn stop_signals() -> Result<[Signal; 2], CliError> {
    let on = |kind| signal(kind).map_err(|_| cannot_start("listening for signals"));
    Ok([on(SignalKind::terminate())?, on(SignalKind::interrupt())?])
}

/// Waits for the first SIGTERM or SIGINT. A second one ends the process at once.
pub(crate) async fn wait_for_stop([mut terminate, mut interrupt]: [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(target: "yoi::service", "stopping: waiting for requests in flight");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
}

/// Collects garbage every `minutes` minutes. Zero disables it.
pub(crate) async fn collect(runtime: Runtime, minutes: u64) {
    if minutes == 0 {
        return;
    }
    let mut interval = tokio::time::interval(Duration::from_secs(minutes.saturating_mul(60)));
    interval.tick().await;
    loop {
        interval.tick().await;
        match runtime.management().collect_garbage().await {
            Ok(garbage) => {
                let blobs: u64 = garbage.workspaces.values().map(|one| one.blobs).sum();
                tracing::info!(target: "yoi::upkeep", blobs, strays = garbage.strays, "garbage collected");
            }
            Err(error) => tracing::warn!(target: "yoi::upkeep", code = error.code().as_str(), "garbage not collected"),
        }
    }
}
