//! `yoi runtime gc`: collects garbage. A running service also does so periodically.

use std::path::PathBuf;
use std::process::ExitCode;

use runtime_api::runtime::Garbage;
use serde_json::json;

use super::open::{self, DataStores};
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes};

/// Removes unused blobs.
///
/// Blobs that a worker, a pin or a bundle uses stay, and so do recent blobs (`unused_blob_seconds`, by default a day).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data folder of a service that is not running. Without `--data` and `--config`, a running service collects garbage.
    #[arg(long, value_name = "FOLDER", env = "YOI_DATA")]
    data: Option<PathBuf>,
    /// Config of a service that is not running, with its data folder, bucket and limits. `--data` takes precedence.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let collect =
        async |stores: DataStores| Ok::<_, CliError>(stores.runtime().await?.management().collect_garbage().await?);
    let garbage: Garbage = match (&args.data, &args.config) {
        (Some(folder), _) => crate::block_on(async { collect(DataStores::in_folder(folder).await?).await })??,
        (None, Some(config)) => {
            crate::block_on(async { collect(DataStores::of_config(open::read(config)?).await?).await })??
        }
        (None, None) => args.server.send(|client| async move { client.collect_garbage().await })?,
    };
    let document = json!({ "schema": "yoi.runtime-gc/1", "workspaces": garbage.workspaces, "strays": garbage.strays });
    output.result(&document, || {
        let mut rows = Rows::default();
        for (workspace, removed) in &garbage.workspaces {
            let young =
                if removed.young > 0 { format!(", {} recent blobs stay", removed.young) } else { String::new() };
            rows.row(workspace.as_str(), format!("{} blobs, {}{young}", removed.blobs, bytes(removed.bytes)));
        }
        rows.row("no workspace", format!("{} blobs", garbage.strays));
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
