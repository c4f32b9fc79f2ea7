//! `yoi runtime status`: is it there, can it work, what is it.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::client::{Client, ClientError, Problem, RuntimeStatus};

use crate::error::{CliError, exit_code};
use crate::output::Output;
use crate::remote::RemoteArgs;
use crate::text::Rows;

/// Says whether a Runtime is there and can work, and what it is.
///
/// Whether it is there everybody may know; what it is, who has a token with the scope `operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: RemoteArgs,
}

/// What was found out.
struct Found {
    /// Why it cannot work, where it cannot.
    not_ready: Option<Box<Problem>>,
    about: Result<RuntimeStatus, &'static str>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let Found { not_ready, about } = args.remote.ask_as_anybody(found)?;
    let exit = not_ready.as_ref().map_or(0, |problem| exit_code(problem.code()));
    let told = not_ready.as_ref().map(|problem| json!({ "code": problem.code(), "message": problem.detail() }));
    let document = json!({
        "schema": "yoi.runtime-status/1",
        "live": true,
        "ready": not_ready.is_none(),
        "problem": told,
        "runtime": about.as_ref().ok().map(|about| &about.runtime),
        "capabilities": about.as_ref().ok().map(|about| &about.capabilities),
    });
    output.result(&document, || {
        let mut rows = Rows::default();
        match &not_ready {
            None => rows.row("state", "ready"),
            Some(problem) => rows.noted("state", "not ready", format!("{} [{}]", problem.detail(), problem.code())),
        }
        match &about {
            Err(why) => rows.noted("about", "", why),
            Ok(about) => {
                let runtime = &about.runtime;
                rows.row("version", &runtime.version);
                rows.list("workspaces", &runtime.workspaces);
                rows.row("resolver", runtime.active_resolver);
                let others = runtime.resolvers.iter().filter(|digest| **digest != runtime.active_resolver);
                rows.list("others", others);
                rows.row("builtin", runtime.builtin_bundle);
                rows.list("tools", &about.capabilities.tools);
                rows.list("worlds", &about.capabilities.worlds);
            }
        }
        rows.into_text()
    });
    Ok(ExitCode::from(exit))
}

async fn found(client: Client, has_token: bool) -> Result<Found, ClientError> {
    client.live().await?;
    let not_ready = match client.ready().await {
        Ok(()) => None,
        Err(ClientError::Problem(problem)) => Some(problem),
        Err(error) => return Err(error),
    };
    let about = if !has_token {
        Err("more is told to a token with the scope `operator`; none is given")
    } else if not_ready.is_some() {
        Err("it cannot say")
    } else {
        match client.runtime().await {
            Ok(about) => Ok(about),
            Err(ClientError::Problem(problem)) if problem.code() == "scope_missing" => {
                Err("more is told to a token with the scope `operator`")
            }
            Err(error) => return Err(error),
        }
    };
    Ok(Found { not_ready, about })
}
