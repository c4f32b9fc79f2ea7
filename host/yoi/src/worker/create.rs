//! `yoi worker create`: a worker from a profile.

use std::process::ExitCode;

use bundles::{Capability, Digest};
use clap::builder::BoolishValueParser;
use host_policy::ProfileSelector;
use serde_json::json;
use worker_runtime::worker::{CreateWorkerRequest, DisplayName, Intent, WorkerId, WorkerState};

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
    /// The bundle, by its digest; none for `builtin:NAME`. `yoi runtime bundles` lists what is there.
    #[arg(long, short, value_name = "DIGEST", env = "YOI_BUNDLE_DIGEST")]
    bundle: Option<Digest>,
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
    let request = CreateWorkerRequest {
        profile: args.profile.clone(),
        bundle: args.bundle,
        intent: args.intent.clone(),
        required_capabilities: args.require.clone(),
        display_name: args.name.clone(),
        resolver: args.resolver,
        allow_older: args.allow_older,
    };
    let created = args.remote.ask(|client| async move { client.create_worker(&args.id, &request).await })?;
    let document = json!({ "schema": "yoi.worker-create/1", "created": created.new, "worker": created.worker });
    output.result(&document, || {
        let (id, rows) = (&args.id, super::rows(&created.worker));
        if created.new {
            return format!("created {id}\n\n{rows}");
        }
        let stopped = match &created.worker.state {
            WorkerState::Running => "",
            WorkerState::Suspended(_) => ", and is suspended: `yoi worker show` names the cause",
            WorkerState::Stopped { .. } => ", and is stopped: choose another id for one that runs",
        };
        format!("{id} was there before, asked for with the same{stopped}\n\n{rows}")
    });
    Ok(ExitCode::SUCCESS)
}
