//! `yoi runtime status`: is it there, can it work, what is it.

use std::process::ExitCode;

use runtime_api::body::{Readiness, RuntimeInfo};
use runtime_api::runtime::WorkspaceUsage;
use runtime_client::{Client, ClientError};
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes, count};

/// Says whether a Runtime is there and can work, and what it is.
///
/// Whether it is there everybody may know; what it is, who has a token with the scope `operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// What was found out.
struct Found {
    readiness: Readiness,
    about: Result<RuntimeInfo, &'static str>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let Found { readiness, about } = args.server.ask_as_anybody(found)?;
    let about = about.as_ref();
    let document = json!({
        "schema": "yoi.runtime-status/1",
        "live": true,
        "ready": readiness.ready,
        "checks": readiness.checks,
        "runtime": about.ok().map(|about| &about.runtime),
        "capabilities": about.ok().map(|about| &about.capabilities),
        "usage": about.ok().map(|about| &about.usage),
    });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("state", if readiness.ready { "ready" } else { "cannot do its work" });
        let wrong = readiness.checks.iter().filter(|check| check.outcome != "ok");
        rows.noted_list("wrong", wrong.map(|check| (&check.name, &check.outcome)));
        match about {
            Err(why) => rows.noted("about", "", why),
            Ok(RuntimeInfo { runtime, capabilities, usage }) => {
                rows.row("version", &runtime.version);
                rows.noted_list(
                    "workspaces",
                    runtime.workspaces.iter().map(|id| (id, usage.get(id).map(used).unwrap_or_default())),
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
    // What cannot do its work is no mistake of who asks, and no success.
    Ok(if readiness.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn used(usage: &WorkspaceUsage) -> String {
    let count = |number: u64, what| count(usize::try_from(number).unwrap_or(usize::MAX), what);
    format!("{}, {}, {}", count(usage.bundles, "bundle"), count(usage.workers, "worker"), bytes(usage.bytes))
}

async fn found(client: Client, has_token: bool) -> Result<Found, ClientError> {
    let readiness = client.readiness().await?;
    if !has_token {
        return Ok(Found { readiness, about: Err("more is told to a token with the scope `operator`; none is given") });
    }
    let about = match client.runtime().await {
        Ok(about) => Ok(about),
        Err(ClientError::Problem(problem)) if problem.code() == "scope_missing" => {
            Err("more is told to a token with the scope `operator`")
        }
        Err(ClientError::Problem(_)) if !readiness.ready => Err("it cannot say"),
        Err(error) => return Err(error),
    };
    Ok(Found { readiness, about })
}
