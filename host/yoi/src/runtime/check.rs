//! `yoi runtime check`: reads everything that a data folder holds, and says what is sound.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{Digest, WorkspaceId};
use futures_util::TryStreamExt;
use runtime_api::bundle::BundleFinding;
use serde::Serialize;
use worker_runtime::Runtime;
use worker_runtime::blob_store::{self, BlobCondition};
use worker_runtime::metadata::MetadataStore;

use super::gaps::{self, Gaps, UnavailableMount, UnavailableSecret, UnusableCapability};
use super::open::{self, Kept};
use crate::error::{CliError, exit_code};
use crate::output::Output;
use crate::text::{Rows, bytes};

/// Reads everything that a data folder holds, and says what is sound.
///
/// What is damaged is set aside and not served any more; putting it again heals it. The service must not be running.
///
/// With `--config`, the config is judged first: what keeps the service from starting, and as warnings the
/// capabilities that no tool answers or no host has, the mounts whose folder is not there and the secrets without a
/// value. If the data folder does not exist yet or a service uses it, the answer says so and has the rest.
///
/// Ends with 0 if all is sound; else with the exit code of the first refusal of the config, or of what is damaged (3),
/// or of why the data was not checked: 5 if there is no data folder, 1 if it is in use. Warnings do not count.
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

const SCHEMA: &str = "yoi.runtime-check/1";

#[derive(Default, Serialize)]
struct Document {
    schema: &'static str,
    sound: Vec<Sound>,
    damaged: Vec<Digest>,
    missing: Vec<Digest>,
    metadata: &'static str,
    /// The reason why the data was not checked, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_checked: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_damage: Option<Damage>,
    /// Bundles that violate rules which are newer than they are. They still open.
    bundles: Vec<Bundle>,
    /// The verdict on the config, if `--config` names the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Verdict>,
}

/// The verdict on a config.
#[derive(Serialize)]
struct Verdict {
    /// Everything for which the service would not start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Reason>,
    /// Parts that the service cannot honour.
    #[serde(flatten)]
    gaps: Gaps,
}

/// An error as a part of the answer.
#[derive(Serialize)]
struct Reason {
    code: &'static str,
    message: String,
    help: String,
}

impl From<CliError> for Reason {
    fn from(error: CliError) -> Self {
        Self { code: error.own_code(), message: error.message, help: error.help }
    }
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
    output.result(&document, || text(&document));
    Ok(ExitCode::from(document.failure().map_or(0, exit_code)))
}

impl Document {
    /// Returns the code that decides how the command ends.
    fn failure(&self) -> Option<&'static str> {
        let refused = self.config.as_ref().and_then(|verdict| verdict.refused.first());
        let reason = refused.or(self.not_checked.as_ref()).map(|reason| reason.code);
        let whole = self.damaged.is_empty() && self.missing.is_empty() && self.metadata == "sound";
        reason.or((!whole).then_some("blob_damaged"))
    }
}

async fn check(args: &Args) -> Result<Document, CliError> {
    match (&args.folder, &args.config) {
        (Some(folder), _) => check_data(Kept::in_folder(folder).await?).await,
        (None, Some(path)) => {
            let config = open::read(path)?;
            let refused = config.refusals().into_iter().map(Reason::from).collect();
            let verdict = Verdict { refused, gaps: Gaps::of(&config).await? };
            let document = match Kept::of_config(config).await {
                Ok(kept) => check_data(kept).await?,
                Err(mut error) => {
                    if error.code == "not_found" {
                        error.help = "the first start of the service makes it".to_owned();
                    }
                    let not_checked = Some(error.into());
                    Document { schema: SCHEMA, metadata: "not_checked", not_checked, ..Document::default() }
                }
            };
            Ok(Document { config: Some(verdict), ..document })
        }
        (None, None) => Err(CliError::new("usage", "nothing is named", "name a data folder, or `--config FILE`")),
    }
}

async fn check_data(kept: Kept) -> Result<Document, CliError> {
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
    let set_aside: BTreeSet<Digest> = blobs.quarantined().try_collect().await?;
    let mut document =
        Document { schema: SCHEMA, metadata: checked.1, metadata_damage, bundles: found, ..Document::default() };
    for (digest, condition) in checked.0 {
        match condition {
            BlobCondition::Sound(bytes) => document.sound.push(Sound { digest, bytes }),
            BlobCondition::Damaged => document.damaged.push(digest),
            BlobCondition::Missing if set_aside.contains(&digest) => document.damaged.push(digest),
            BlobCondition::Missing => document.missing.push(digest),
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
    if let Some(verdict) = &document.config {
        config_rows(&mut rows, verdict);
    }
    if let Some(reason) = &document.not_checked {
        rows.row("data", format!("not checked: {}", reason.message));
        rows.row("", &reason.help);
        return rows.into_text();
    }
    let total = document.sound.iter().map(|blob| blob.bytes).sum();
    rows.row("sound", format!("{} blobs, {}", document.sound.len(), bytes(total)));
    rows.row("damaged", format!("{}", document.damaged.len()));
    rows.list("", document.damaged.iter().map(ToString::to_string));
    rows.row("missing", format!("{}", document.missing.len()));
    rows.list("", document.missing.iter().map(ToString::to_string));
    rows.row("metadata", document.metadata);
    rows.list("", document.metadata_damage.iter().flat_map(|damage| [damage.message.as_str(), damage.help]));
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

fn config_rows(rows: &mut Rows, verdict: &Verdict) {
    let Gaps { unanswered_tools, unknown_capabilities, unavailable_mounts, unavailable_secrets } = &verdict.gaps;
    rows.row("config", if verdict.refused.is_empty() { "understood" } else { "refused" });
    rows.noted_list("", verdict.refused.iter().map(|reason| (&reason.message, &reason.help)));
    let unanswered =
        |tool: &String| (format!("tool:{tool}"), format!("{}{}", gaps::UNANSWERED, gaps::or_the_one_meant(tool)));
    let unknown =
        |found: &UnusableCapability| (found.capability.to_string(), format!("{}; {}", found.problem, found.help));
    let capabilities = unanswered_tools.iter().map(unanswered).chain(unknown_capabilities.iter().map(unknown));
    rows.noted_list("capabilities", capabilities);
    let name = |gone: &UnavailableMount| format!("workspaces.{}.mounts.{}", gone.workspace, gone.mount);
    rows.noted_list("mounts", unavailable_mounts.iter().map(|gone| (name(gone), gaps::UNAVAILABLE)));
    let place = |gone: &UnavailableSecret| match &gone.workspace {
        Some(workspace) => format!("workspaces.{workspace}.secrets: {}", gone.secret),
        None => format!("service.bucket.secret_access_key: {}", gone.secret),
    };
    let why = |gone: &UnavailableSecret| format!("{}; {}", gone.problem, gone.help);
    rows.noted_list("secrets", unavailable_secrets.iter().map(|gone| (place(gone), why(gone))));
}
