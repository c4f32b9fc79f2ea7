//! `yoi worker create`: a worker from a profile.

use std::process::ExitCode;

use bundles::{Capability, Digest, one_line};
use clap::builder::BoolishValueParser;
use host_policy::ProfileSelector;
use serde_json::json;
use worker_runtime::worker::{CreateWorkerRequest, DisplayName, Intent, WorkerId, WorkerState};

use super::bundle_name::BundleName;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Makes a worker from a profile.
///
/// Asking again with the same makes no second one, so a command that was cut off can be given again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The worker's id, which you choose: letters, digits, `-`, `_` and `.`.
    id: WorkerId,
    /// The profile: `NAME` of the bundle, or `builtin:NAME` for one that ships inside.
    #[arg(long, short, value_name = "PROFILE", env = "YOI_PROFILE")]
    profile: ProfileSelector,
    /// A bundle that the Runtime has: its digest, 4 or more of the first hex digits, `newest`, or the folder or
    /// built file that was put. Leave it out for `builtin:NAME`.
    #[arg(long, short, value_name = "BUNDLE", env = "YOI_BUNDLE_DIGEST")]
    bundle: Option<BundleName>,
    /// What the worker is for, in your words. No resolver sees it.
    #[arg(long, value_name = "TEXT", env = "YOI_INTENT")]
    intent: Option<Intent>,
    /// A capability without which there is to be no worker. May be repeated.
    #[arg(long, value_name = "CAPABILITY", env = "YOI_REQUIRE", value_delimiter = ',')]
    require: Vec<Capability>,
    /// What people call the worker.
    #[arg(long, value_name = "NAME", env = "YOI_NAME")]
    name: Option<DisplayName>,
    /// The resolver, by its digest. By default the one that is active on the Runtime.
    #[arg(long, value_name = "DIGEST", env = "YOI_RESOLVER_DIGEST")]
    resolver: Option<Digest>,
    /// Takes the bundle also where the Runtime has a newer revision. It is recorded that you said so.
    #[arg(long, env = "YOI_ALLOW_OLDER", value_parser = BoolishValueParser::new())]
    allow_older: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let named = args.bundle.as_ref().map(|name| name.on(&args.remote)).transpose()?;
    let (bundle, remote) = match named {
        Some((bundle, remote)) => (Some(bundle), remote),
        None => (None, args.remote.clone()),
    };
    let request = CreateWorkerRequest {
        profile: args.profile.clone(),
        bundle,
        intent: args.intent.clone(),
        required_capabilities: args.require.clone(),
        display_name: args.name.clone(),
        resolver: args.resolver,
        allow_older: args.allow_older,
    };
    let created = remote.ask(|client| async move { client.create_worker(&args.id, &request).await })?;
    if let WorkerState::Stopped { .. } = created.worker.state {
        let message = format!(
            "`{}` was there before, asked for with the same, and is {}",
            args.id,
            super::state(&created.worker)
        );
        let help = "choose another id: a worker that is stopped takes no more calls";
        return Err(CliError::new("worker_stopped", message, help).with_details(json!({ "worker": created.worker })));
    }
    for finding in &created.findings {
        let (code, message) = (one_line(&finding.code), one_line(&finding.message));
        output.note(&format!("warning[{code}]: {message}; the bundle was stored before this rule"));
    }
    let document = json!({
        "schema": "yoi.worker-create/1", "created": created.new, "worker": created.worker,
        "bundle_findings": created.findings,
    });
    output.result(&document, || {
        let (id, rows) = (&args.id, super::rows(&created.worker));
        if created.new {
            return format!("created {id}\n\n{rows}");
        }
        let suspended = match &created.worker.state {
            WorkerState::Suspended(_) => ", and is suspended: `yoi worker show` names the cause",
            WorkerState::Running | WorkerState::Stopped { .. } => "",
        };
        format!("{id} was there before, asked for with the same{suspended}\n\n{rows}")
    });
    Ok(ExitCode::SUCCESS)
}
