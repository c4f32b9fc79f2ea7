//! `yoi runtime gc`: takes away what nothing uses, while no service runs. A service does so by itself.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::open;
use crate::error::CliError;
use crate::output::Output;
use crate::text::{Rows, bytes};

/// Takes away what nothing uses.
///
/// Never what a worker, a pin or a bundle uses, nor what came in during the last day. The service must not
/// be running: it collects garbage by itself (`collect_garbage_minutes`), or for who holds an operator's
/// token (`DELETE /v1/garbage`).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder: what `data` in the config names.
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let garbage = crate::block_on(async {
        let runtime = open::upkeep(&args.folder).await?;
        Ok::<_, CliError>(runtime.management().collect_garbage().await?)
    })??;
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
