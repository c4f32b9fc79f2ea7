//! `yoi runtime gc`: takes away what nothing uses. A service does so by itself now and then.

use std::path::PathBuf;
use std::process::ExitCode;

use runtime_api::runtime::Garbage;
use serde_json::json;

use super::open::{self, Kept};
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes};

/// Takes away what nothing uses.
///
/// Never what a worker, a pin or a bundle uses, nor what came in a short while ago (`unused_blob_seconds`,
/// by default a day).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder of a service that is not running; else a running one is asked.
    #[arg(long, value_name = "FOLDER", env = "YOI_DATA")]
    data: Option<PathBuf>,
    /// The config of a service that is not running: its data folder, its bucket, its limits. A folder that
    /// is named counts before it.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let collected = async |kept: Kept| Ok::<_, CliError>(kept.runtime().await?.management().collect_garbage().await?);
    let garbage: Garbage = match (&args.data, &args.config) {
        (Some(folder), _) => crate::block_on(async { collected(Kept::in_folder(folder).await?).await })??,
        (None, Some(config)) => {
            crate::block_on(async { collected(Kept::of_config(open::read(config)?).await?).await })??
        }
        (None, None) => args.server.ask(|client| async move { client.collect_garbage().await })?,
    };
    let document = json!({ "schema": "yoi.runtime-gc/1", "workspaces": garbage.workspaces, "strays": garbage.strays });
    output.result(&document, || {
        let mut rows = Rows::default();
        for (workspace, taken) in &garbage.workspaces {
            let young = if taken.young > 0 { format!(", {} kept: too young", taken.young) } else { String::new() };
            rows.row(workspace.as_str(), format!("{} blobs, {}{young}", taken.blobs, bytes(taken.bytes)));
        }
        rows.row("of nobody", format!("{} blobs", garbage.strays));
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
