//! `yoi backend placements`: shows on which Runtimes a profile could run.

use std::process::ExitCode;

use backend_api::placement::{Placement, PlacementTable};
use bundles::{Capability, Need};
use host_policy::ProfileSelector;
use runtime_api::worker::CreateWorkerRequest;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;
use crate::text::Rows;
use crate::worker::BundleName;

/// Shows on which Runtimes a worker with a profile could run, and what the others lack.
///
/// The Backend resolves the profile with the facts that each Runtime publishes. Facts say nothing about network targets and
/// grants of plugins, so a Runtime can still refuse the worker. Exits with 4 if no Runtime could run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Profile: `NAME` of the bundle, or `builtin:NAME` for a profile of the built-in bundle.
    profile: ProfileSelector,
    /// Bundle: a digest, its first hex digits, `newest`, or the folder or file of the bundle. Default: the desired bundle.
    #[arg(long, short, value_name = "BUNDLE", env = "YOI_BUNDLE_DIGEST")]
    bundle: Option<BundleName>,
    /// Capability that the worker requires. Can be repeated.
    #[arg(long, value_name = "CAPABILITY", env = "YOI_REQUIRE", value_delimiter = ',')]
    require: Vec<Capability>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let remote = args.backend.remote();
    let (bundle, remote) = match args.bundle.as_ref().map(|name| name.find(&remote)).transpose()? {
        Some((bundle, remote)) => (Some(bundle), remote),
        None => (None, remote),
    };
    let request = CreateWorkerRequest {
        profile: args.profile.clone(),
        bundle,
        intent: None,
        required_capabilities: args.require.clone(),
        display_name: None,
        resolver: None,
        allow_older: true,
    };
    let table =
        remote.send(|client| async move { backend_client::BackendClient::from(client).placements(&request).await })?;
    output.result(&json!({ "schema": "yoi.backend-placements/1", "placements": table }), || text(&table));
    let can_run = table.runtimes.iter().any(|one| one.can_run);
    Ok(if can_run { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

fn text(table: &PlacementTable) -> String {
    if table.runtimes.is_empty() {
        return "the workspace may be on no Runtime; `yoi backend explain` shows why\n".to_owned();
    }
    let mut rows = Rows::default();
    for Placement { runtime, can_run, code, missing, other_resolver } in &table.runtimes {
        let word = if *can_run { "can run" } else { "cannot run" };
        let note = match code {
            Some(code) => format!("[{code}]"),
            None if *other_resolver => "with another resolver, whose result may differ".to_owned(),
            None => String::new(),
        };
        rows.noted(runtime.as_ref(), word, note);
        for lack in missing {
            let effect = match lack.need {
                Need::Required => "required",
                Need::Optional => "the worker runs without it",
            };
            rows.noted("", format!("  lacks {}", lack.subject), format!("({effect}) [{}]", lack.rule));
        }
    }
    rows.into_text()
}
