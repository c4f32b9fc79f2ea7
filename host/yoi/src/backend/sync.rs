//! `yoi backend sync`: brings the Runtimes of a workspace up to date at once.

use std::process::ExitCode;
use std::time::Duration;

use backend_api::body::WorkspaceView;
use backend_api::fleet::{Condition, RuntimeView};
use backend_client::BackendClient;
use clap::builder::BoolishValueParser;
use runtime_client::ClientError;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::status;
use crate::error::CliError;
use crate::output::Output;
use crate::progress::Progress;
use crate::remote::BackendArgs;

/// Makes the Backend read the Runtimes of a workspace at once, and retry what they refused.
///
/// With `--wait` the command waits until each Runtime that may have the workspace is in sync, refuses the bundle or cannot be
/// reached. With `--require-all` it exits with 4 unless all of them are in sync.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits for the Runtimes.
    #[arg(long, env = "YOI_WAIT", value_parser = BoolishValueParser::new())]
    wait: bool,
    /// Waits for the Runtimes, and exits with 4 unless all of them are in sync.
    #[arg(long, env = "YOI_REQUIRE_ALL", value_parser = BoolishValueParser::new())]
    require_all: bool,
    /// Maximum time to wait, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, env = "YOI_TIMEOUT")]
    timeout: u32,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Time between two reads of the state of the fleet.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// State of the fleet for one workspace.
struct State {
    workspace: WorkspaceView,
    runtimes: Vec<RuntimeView>,
}

/// Number of Runtimes by condition, of those that should have the desired bundle.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    in_sync: usize,
    failed: usize,
    waiting: usize,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let wait = args.wait || args.require_all;
    let timeout = Duration::from_secs(args.timeout.into());
    let progress = Progress::new("Runtimes");
    let state = args.backend.send(|client| async move {
        client.sync().await?;
        let deadline = Instant::now() + timeout;
        loop {
            let state = State::read(&client).await?;
            let counts = state.counts();
            let settled = counts.in_sync + counts.failed;
            progress.set(settled, settled + counts.waiting);
            if !wait || counts.waiting == 0 || Instant::now() >= deadline {
                return Ok(state);
            }
            sleep(POLL_INTERVAL).await;
        }
    })?;
    let counts = state.counts();
    let document = json!({
        "schema": "yoi.backend-sync/1",
        "in_sync": counts.in_sync,
        "failed": counts.failed,
        "waiting": counts.waiting,
        "workspace": state.workspace,
        "runtimes": state.runtimes,
    });
    output.result(&document, || status::text(std::slice::from_ref(&state.workspace), &state.runtimes));
    let missing = counts.failed + counts.waiting;
    if args.require_all && missing > 0 {
        let total = missing + counts.in_sync;
        output.note(&format!("error: {missing} of {total} Runtimes are not in sync"));
        return Ok(ExitCode::from(4));
    }
    Ok(ExitCode::SUCCESS)
}

impl State {
    async fn read(client: &BackendClient) -> Result<Self, ClientError> {
        Ok(Self { workspace: client.desired().await?, runtimes: client.runtimes().await? })
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, pair) in status::pairs(&self.runtimes, &self.workspace.id) {
            match pair.condition {
                Condition::InSync => counts.in_sync += 1,
                Condition::Refused { .. } | Condition::Unavailable(_) => counts.failed += 1,
                Condition::Pending | Condition::Unknown | Condition::Ahead => counts.waiting += 1,
                Condition::NotAllowed | Condition::NothingDesired => {}
            }
        }
        counts
    }
}
