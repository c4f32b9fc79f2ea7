//! `yoi worker create`: creates a worker from a profile.

use std::process::ExitCode;

use bundles::{Capability, Digest, one_line};
use clap::builder::BoolishValueParser;
use host_policy::ProfileSelector;
use runtime_api::Code;
use serde_json::json;
use worker_runtime::worker::{CreateWorkerRequest, DisplayName, Intent, WorkerId, WorkerState};

use super::bundle_name::BundleName;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Creates a worker from a profile.
///
/// The command is idempotent: with the same arguments it returns the existing worker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the new worker: letters, digits, `-`, `_` and `.`.
    id: WorkerId,
    /// Profile: `NAME` of the bundle, or `builtin:NAME` for a profile of the built-in bundle.
    #[arg(long, short, value_name = "PROFILE", env = "YOI_PROFILE")]
    profile: ProfileSelector,
    /// Bundle on the Runtime: a digest, 4 or more of its first hex digits, `newest`, or the folder or built file that was
    /// uploaded. Omit it for `builtin:NAME`.
    #[arg(long, short, value_name = "BUNDLE", env = "YOI_BUNDLE_DIGEST")]
    bundle: Option<BundleName>,
    /// Purpose of the worker. Resolvers do not see it.
    #[arg(long, value_name = "TEXT", env = "YOI_INTENT")]
    intent: Option<Intent>,
    /// Capability that the worker requires. Can be repeated.
    #[arg(long, value_name = "CAPABILITY", env = "YOI_REQUIRE", value_delimiter = ',')]
    require: Vec<Capability>,
    /// Display name of the worker.
    #[arg(long, value_name = "NAME", env = "YOI_NAME")]
    name: Option<DisplayName>,
    /// Digest of the resolver. Default: the active resolver of the Runtime.
    #[arg(long, value_name = "DIGEST", env = "YOI_RESOLVER_DIGEST")]
    resolver: Option<Digest>,
    /// Allows a bundle that is older than the newest revision on the Runtime. The Runtime records this.
    #[arg(long, env = "YOI_ALLOW_OLDER", value_parser = BoolishValueParser::new())]
    allow_older: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let named = args.bundle.as_ref().map(|name| name.find(&args.remote)).transpose()?;
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
    let created = remote.send(|client| async move { client.create_worker(&args.id, &request).await })?;
    if let WorkerState::Stopped { .. } = created.worker.state {
        let message = format!("worker `{}` already exists and is {}", args.id, super::state(&created.worker));
        let help = "choose another id; a stopped worker accepts no calls";
        return Err(CliError::new(Code::WorkerStopped, message, help).with_details(json!({ "worker": created.worker })));
    }
    for finding in &created.findings {
        let (code, message) = (one_line(&finding.code), one_line(&finding.message));
        output.note(&format!("warning[{code}]: {message}; the stored bundle is older than this rule"));
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
            WorkerState::Suspended(_) => " and is suspended; `yoi worker show` shows the cause",
            WorkerState::Running | WorkerState::Stopped { .. } => "",
        };
        format!("{id} already exists{suspended}\n\n{rows}")
    });
    Ok(ExitCode::SUCCESS)
}
