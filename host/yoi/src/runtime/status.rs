//! `yoi runtime status`: prints the readiness and the summary of a Runtime.

use std::process::ExitCode;

use runtime_api::Code;
use runtime_api::body::{Readiness, RuntimeInfo};
use runtime_api::runtime::WorkspaceUsage;
use runtime_client::{Client, ClientError};
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes, count};

/// Shows the readiness of a Runtime, and its summary.
///
/// The readiness requires no token. The summary requires a token with the scope `operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// Status of a Runtime.
struct Status {
    readiness: Readiness,
    /// Summary, or the reason why it is unknown.
    info: Result<RuntimeInfo, &'static str>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let Status { readiness, info } = args.server.send_with_optional_token(status)?;
    let info = info.as_ref();
    let document = json!({
        "schema": "yoi.runtime-status/1",
        "live": true,
        "ready": readiness.ready,
        "checks": readiness.checks,
        "runtime": info.ok().map(|info| &info.runtime),
        "capabilities": info.ok().map(|info| &info.capabilities),
        "usage": info.ok().map(|info| &info.usage),
    });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("state", if readiness.ready { "ready" } else { "not ready" });
        let failed = readiness.checks.iter().filter(|check| check.outcome != "ok");
        rows.noted_list("failed", failed.map(|check| (&check.name, &check.outcome)));
        match info {
            Err(reason) => rows.noted("summary", "", reason),
            Ok(RuntimeInfo { runtime, capabilities, usage }) => {
                rows.row("id", &runtime.id);
                rows.row("version", &runtime.version);
                rows.noted_list(
                    "workspaces",
                    runtime.workspaces.iter().map(|id| (id, usage.get(id).map(usage_text).unwrap_or_default())),
                );
                rows.row("resolver", runtime.active_resolver);
                rows.list("others", runtime.resolvers.iter().filter(|digest| **digest != runtime.active_resolver));
                rows.row("builtin", runtime.builtin_bundle);
                rows.list("tools", &capabilities.tools);
                rows.list("worlds", &capabilities.worlds);
            }
        }
        rows.into_text()
    });
    // A Runtime that is not ready is not a usage error, but the exit code must show it.
    Ok(if readiness.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn usage_text(usage: &WorkspaceUsage) -> String {
    let count = |number: u64, what| count(usize::try_from(number).unwrap_or(usize::MAX), what);
    format!("{}, {}, {}", count(usage.bundles, "bundle"), count(usage.workers, "worker"), bytes(usage.bytes))
}

async fn status(client: Client, has_token: bool) -> Result<Status, ClientError> {
    let readiness = client.readiness().await?;
    if !has_token {
        return Ok(Status { readiness, info: Err("requires a token with the scope `operator`; none is given") });
    }
    let info = match client.runtime().await {
        Ok(info) => Ok(info),
        Err(ClientError::Problem(problem)) if problem.known_code() == Some(Code::ScopeMissing) => {
            Err("requires a token with the scope `operator`")
        }
        Err(ClientError::Problem(_)) if !readiness.ready => Err("not available"),
        Err(error) => return Err(error),
    };
    Ok(Status { readiness, info })
}
