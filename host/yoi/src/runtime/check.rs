//! `yoi runtime check`: reads everything that a data folder holds, and says what is sound.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{Digest, WorkspaceId};
use futures_util::TryStreamExt;
use serde::Serialize;
use worker_runtime::Runtime;
use worker_runtime::blob_store::{self, Condition};
use worker_runtime::content::BundleFinding;
use worker_runtime::metadata::MetadataStore;

use super::gaps::{self, Gaps, UnavailableMount};
use super::open::{self, Kept};
use crate::error::{CliError, exit_code};
use crate::output::Output;
use crate::text::{Rows, bytes};

/// Reads everything that a data folder holds, and says what is sound.
///
/// What is damaged is set aside and not served any more; putting it again heals it. With `--config`, names the
/// capabilities that no tool answers and the mounts whose folder is not there. The service must not be running.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder: what `data` in the config names.
    #[arg(required_unless_present = "config")]
    folder: Option<PathBuf>,
    /// The config of the service: its data folder, its bucket, its limits. A folder that is named counts
    /// before it.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Default, Serialize)]
struct Document {
    schema: &'static str,
    sound: Vec<Sound>,
    damaged: Vec<Digest>,
    missing: Vec<Digest>,
    metadata: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_damage: Option<Damage>,
    /// Bundles that violate rules which are newer than they are. They still open.
    bundles: Vec<Bundle>,
    /// Parts of the config that the service cannot honour, if `--config` names the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Gaps>,
}

/// Damage of metadata, and what can be saved.
#[derive(Serialize)]
struct Damage {
    message: String,
    help: &'static str,
}

#[derive(Serialize)]
struct Bundle {
    workspace: WorkspaceId,
    digest: Digest,
    findings: Vec<BundleFinding>,
}

#[derive(Serialize)]
struct Sound {
    digest: Digest,
    bytes: u64,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let document = crate::block_on(check(args))??;
    let whole = document.damaged.is_empty() && document.missing.is_empty() && document.metadata == "sound";
    output.result(&document, || text(&document));
    Ok(ExitCode::from(if whole { 0 } else { exit_code("blob_damaged") }))
}

async fn check(args: &Args) -> Result<Document, CliError> {
    let mut gaps = None;
    let kept = match (&args.folder, &args.config) {
        (Some(folder), _) => Kept::in_folder(folder).await?,
        (None, Some(path)) => {
            let config = open::read(path)?;
            gaps = Some(Gaps::of(&config.policy)?);
            Kept::of_config(config).await?
        }
        (None, None) => {
            return Err(CliError::new("usage", "nothing is named", "name a data folder, or `--config FILE`"));
        }
    };
    let blobs = kept.blobs.clone();
    let mut found = Vec::new();
    let mut metadata_damage = None;
    let metadata = match &kept.metadata {
        Ok(metadata) => metadata.check().await,
        Err(error) => Err(error.clone()),
    };
    let checked = match metadata {
        Ok(()) => {
            let runtime = kept.runtime().await?;
            let conditions = runtime.management().check().await?;
            found = findings(&runtime).await?;
            (conditions, "sound")
        }
        // What should be there is not known; what is there can be read all the same.
        Err(error) => {
            metadata_damage = Some(Damage { message: error.to_string(), help: error.help() });
            (blob_store::check_each(&*blobs, blob_store::digests(&*blobs).await?).await?, error.code())
        }
    };
    // What was set aside by an earlier look, and not put again since, is still known to be damaged.
    let set_aside: BTreeSet<Digest> = blobs.set_aside().try_collect().await?;
    let mut document = Document {
        schema: "yoi.runtime-check/1",
        metadata: checked.1,
        metadata_damage,
        bundles: found,
        config: gaps,
        ..Document::default()
    };
    for (digest, condition) in checked.0 {
        match condition {
            Condition::Sound(bytes) => document.sound.push(Sound { digest, bytes }),
            Condition::Damaged => document.damaged.push(digest),
            Condition::Missing if set_aside.contains(&digest) => document.damaged.push(digest),
            Condition::Missing => document.missing.push(digest),
        }
    }
    Ok(document)
}

/// Bundles that would be refused if they came in now. One that does not open is damaged, which is told of its blobs.
async fn findings(runtime: &Runtime) -> Result<Vec<Bundle>, CliError> {
    let mut found = Vec::new();
    for workspace in runtime.management().tenants().await? {
        let content = runtime.content(&workspace);
        for bundle in content.bundles(None, usize::MAX).await? {
            let findings = content.findings(bundle.digest).await.unwrap_or_default();
            if !findings.is_empty() {
                found.push(Bundle { workspace: workspace.clone(), digest: bundle.digest, findings });
            }
        }
    }
    Ok(found)
}

fn text(document: &Document) -> String {
    let mut rows = Rows::default();
    let total = document.sound.iter().map(|blob| blob.bytes).sum();
    rows.row("sound", format!("{} blobs, {}", document.sound.len(), bytes(total)));
    rows.row("damaged", format!("{}", document.damaged.len()));
    rows.list("", document.damaged.iter().map(ToString::to_string));
    rows.row("missing", format!("{}", document.missing.len()));
    rows.list("", document.missing.iter().map(ToString::to_string));
    rows.row("metadata", document.metadata);
    rows.list("", document.metadata_damage.iter().flat_map(|damage| [damage.message.as_str(), damage.help]));
    if let Some(Gaps { unanswered_tools, unavailable_mounts }) = &document.config {
        rows.noted_list("capabilities", unanswered_tools.iter().map(|tool| (format!("tool:{tool}"), gaps::UNANSWERED)));
        let name = |gone: &UnavailableMount| format!("workspaces.{}.mounts.{}", gone.workspace, gone.mount);
        rows.noted_list("mounts", unavailable_mounts.iter().map(|gone| (name(gone), gaps::UNAVAILABLE)));
    }
    for bundle in &document.bundles {
        rows.noted(
            "findings",
            bundle.digest,
            format!("workspace {}: opens, and would be refused if it came in now", bundle.workspace),
        );
        rows.list("", bundle.findings.iter().map(|finding| &finding.message));
    }
    rows.into_text()
}
