//! `yoi backend serve`: runs the Backend.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use runtime_api::Code;
use runtime_service::ServiceOptions;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use yoi_workspace_server::Backend;
use yoi_workspace_server::service::BackendService;

use super::config::{self, Config, DEFAULT_PORT, OpenRuntimes};
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;
use crate::runtime::logs::LogArgs;
use crate::runtime::reload::{LastRead, READ_INTERVAL, read_file};
use crate::runtime::serve::{cannot_start, collect, listen, stop_signals, wait_for_stop};

/// Runs the Backend until it receives SIGTERM or SIGINT.
///
/// Prints its address to stdout and the log to stderr. The Backend reads the workspaces and Runtimes of the config again within
/// two seconds after the file has changed, or at once on SIGHUP, and likewise the policies of embedded Runtimes. If the new config is invalid, the Backend logs the error and
/// goes on with the previous one. On SIGTERM or SIGINT it accepts no new requests and waits for those in flight.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Config (TOML). `yoi backend init` writes one.
    #[arg(long, value_name = "FILE", default_value = "backend.toml", env = "YOI_BACKEND_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let text = config_file::text(&args.config)?;
    let config = config::parse(&text, &args.config)?;
    let last_read = LastRead::at_start(&text, &args.config);
    config.settings.service.require_private()?;
    let _log = args.log.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|_| cannot_start("the asynchronous runtime"))?.block_on(serve(args, config, last_read, output))
}

async fn serve(args: &Args, config: Config, last_read: LastRead, output: &Output) -> Result<ExitCode, CliError> {
    let (backend, runtimes) = config.open(output).await?;
    let (listener, listening) = listen(config.settings.service.listen(DEFAULT_PORT)).await?;
    let options = ServiceOptions {
        hosts: config.settings.service.hosts_at(listening),
        limits: config.settings.service.limits.clone(),
        ..ServiceOptions::default()
    };
    let service = BackendService::new(backend.clone(), options);
    let stop = stop_signals()?;
    let hang_up = signal(SignalKind::hangup()).map_err(|_| cannot_start("listening for SIGHUP"))?;
    let collector = tokio::spawn(collect(backend.catalogue().clone(), config.settings.service.collect_garbage_minutes));
    let (stop_reconciling, stopped) = oneshot::channel::<()>();
    let reconciling = backend.clone();
    let reconciler = tokio::spawn(async move {
        reconciling
            .run(async {
                // The sender is dropped if this task outlives the service.
                let _ = stopped.await;
            })
            .await;
    });
    let url = format!("http://{listening}");
    let document = json!({ "schema": "yoi.backend-serve/1", "listening": url });
    output.result(&document, || format!("listening on {url}\n"));
    tracing::info!(target: "yoi::backend", address = %listening, "listening");
    let mut in_force = (config, runtimes);
    let cut = tokio::select! {
        ended = service.serve(listener, wait_for_stop(stop)) => ended.cut,
        () = watch(&args.config, &mut in_force, last_read, &backend, output, hang_up) => 0,
    };
    let _ = stop_reconciling.send(());
    let _ = reconciler.await;
    collector.abort();
    for embedded in in_force.1.values().filter_map(|runtime| runtime.embedded.as_ref()) {
        embedded.runtime.management().stop_services().await;
    }
    tracing::info!(target: "yoi::backend", cut, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// Follows the config file. Never returns.
async fn watch(
    path: &Path,
    in_force: &mut (Config, OpenRuntimes),
    mut last_read: LastRead,
    backend: &Backend,
    output: &Output,
    mut hang_up: Signal,
) {
    let mut interval = tokio::time::interval(READ_INTERVAL);
    loop {
        let is_hang_up = tokio::select! {
            _ = interval.tick() => false,
            _ = hang_up.recv() => true,
        };
        for (name, runtime) in &mut in_force.1 {
            if let Some(embedded) = &mut runtime.embedded {
                embedded.follow(name).await;
            }
        }
        let place = path.to_owned();
        let Ok((read, text)) = tokio::task::spawn_blocking(move || read_file(&place)).await else { continue };
        if !is_hang_up && read == last_read {
            continue;
        }
        last_read = read;
        match reload(text, path, in_force, backend, output).await {
            Ok(new) => {
                if new.0.settings.has_other_service(&in_force.0.settings) {
                    tracing::warn!(target: "yoi::config", code = Code::RestartNeeded.as_str(), "`[service]` or `[limits]` changed; these tables take effect at the next start");
                }
                *in_force = new;
                tracing::info!(target: "yoi::config", runtimes = in_force.1.len(), "the new config is in force");
            }
            Err(error) => {
                let (code, reason) = (error.code.as_str(), error.message.as_str());
                tracing::error!(target: "yoi::config", code, reason, help = error.help, "the new config is invalid; the previous config stays in force");
            }
        }
    }
}

async fn reload(
    text: Result<String, CliError>,
    path: &Path,
    before: &(Config, OpenRuntimes),
    backend: &Backend,
    output: &Output,
) -> Result<(Config, OpenRuntimes), CliError> {
    let config = config::parse(&text?, path)?;
    let runtimes = config.runtimes(Some((&before.0, &before.1)), output).await?;
    backend.replace_workspaces(config.catalogue_config(), config.workspaces()).await?;
    backend.replace_runtimes(config::entries(&runtimes));
    Ok((config, runtimes))
}
