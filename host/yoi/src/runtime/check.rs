//! `yoi runtime check`: verifies a data folder and a config.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{Digest, WorkspaceId};
use futures_util::TryStreamExt;
use runtime_api::Code;
use runtime_api::bundle::BundleFinding;
use serde::Serialize;
use worker_runtime::Runtime;
use worker_runtime::blob_store::{self, BlobCondition};
use worker_runtime::metadata::MetadataStore;

use super::gaps::{self, Gaps, UnavailableMount, UnavailableSecret, UnusableCapability};
use super::open::{self, DataStores};
use crate::error::CliError;
use crate::output::Output;
use crate::text::{Rows, bytes};

/// Verifies all data of a data folder, and the config of a service.
///
/// Damaged blobs are set aside and no longer served. A new upload of the content repairs them. The service must not be
/// running.
///
/// With `--config`, the config is checked first. Errors keep the service from starting. Warnings are capabilities without a
/// tool, unknown capabilities, mounts whose folder does not exist and secrets without a value. If the data folder does not
/// exist yet or a service uses it, only the config is checked.
///
/// The exit code is 0 if everything is sound. Otherwise it is that of the first error of the config, 3 for damaged or missing
/// data, 5 if the data folder does not exist, or 1 if the folder is in use. Warnings do not change the exit code.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data folder: the value of `data` in the config.
    #[arg(required_unless_present = "config")]
    folder: Option<PathBuf>,
    /// Config of the service, with its data folder, bucket and limits. Ignored if FOLDER is given.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
}

const SCHEMA: &str = "yoi.runtime-check/1";

#[derive(Default, Serialize)]
struct Document {
    schema: &'static str,
    sound: Vec<SoundBlob>,
    damaged: Vec<Digest>,
    missing: Vec<Digest>,
    metadata: &'static str,
    /// Reason why the data was not checked, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_checked: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_damage: Option<Damage>,
    /// Bundles that violate newer rules. They can still be opened.
    bundles: Vec<Bundle>,
    /// Result of the check of the config, if `--config` is given without FOLDER.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<ConfigReport>,
}

/// Result of the check of a config.
#[derive(Serialize)]
struct ConfigReport {
    /// Errors that keep the service from starting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Reason>,
    /// Warnings.
    #[serde(flatten)]
    gaps: Gaps,
}

/// An error in the output.
#[derive(Serialize)]
struct Reason {
    code: Code,
    message: String,
    help: String,
}

impl From<CliError> for Reason {
    fn from(error: CliError) -> Self {
        Self { code: error.code, message: error.message, help: error.help }
    }
}

/// Damage of the metadata and its remedy.
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
struct SoundBlob {
    digest: Digest,
    bytes: u64,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let document = crate::block_on(check(args))??;
    output.result(&document, || text(&document));
    Ok(ExitCode::from(document.failure().map_or(0, Code::exit_code)))
}

impl Document {
    /// Returns the error code that determines the exit code.
    fn failure(&self) -> Option<Code> {
        let refused = self.config.as_ref().and_then(|report| report.refused.first());
        let reason = refused.or(self.not_checked.as_ref()).map(|reason| reason.code);
        let is_sound = self.damaged.is_empty() && self.missing.is_empty() && self.metadata == "sound";
        reason.or((!is_sound).then_some(Code::BlobDamaged))
    }
}

async fn check(args: &Args) -> Result<Document, CliError> {
    match (&args.folder, &args.config) {
        (Some(folder), _) => check_data(DataStores::in_folder(folder).await?).await,
        (None, Some(path)) => {
            let config = open::read(path)?;
            let refused = config.refusals().into_iter().map(Reason::from).collect();
            let report = ConfigReport { refused, gaps: Gaps::of(&config).await? };
            let document = match DataStores::of_config(config).await {
                Ok(stores) => check_data(stores).await?,
                Err(mut error) => {
                    if error.code == Code::NotFound {
                        error.help = "start the service to create the data folder".to_owned();
                    }
                    let not_checked = Some(error.into());
                    Document { schema: SCHEMA, metadata: "not_checked", not_checked, ..Document::default() }
                }
            };
            Ok(Document { config: Some(report), ..document })
        }
        (None, None) => {
            Err(CliError::new(Code::Usage, "no data folder is given", "pass a data folder or `--config FILE`"))
        }
    }
}

async fn check_data(stores: DataStores) -> Result<Document, CliError> {
    let blobs = stores.blobs.clone();
    let mut bundles = Vec::new();
    let mut metadata_damage = None;
    let metadata = match &stores.metadata {
        Ok(metadata) => metadata.check().await,
        Err(error) => Err(error.clone()),
    };
    let checked = match metadata {
        Ok(()) => {
            let runtime = stores.runtime().await?;
            let conditions = runtime.management().check().await?;
            bundles = findings(&runtime).await?;
            (conditions, "sound")
        }
        // Without metadata the expected blobs are unknown, but the existing blobs can be verified.
        Err(error) => {
            metadata_damage = Some(Damage { message: error.to_string(), help: error.help() });
            (blob_store::check_each(&*blobs, blob_store::digests(&*blobs).await?).await?, error.code().as_str())
        }
    };
    // Blobs that an earlier check set aside and that were not uploaded again are damaged, not missing.
    let set_aside: BTreeSet<Digest> = blobs.quarantined().try_collect().await?;
    let mut document =
        Document { schema: SCHEMA, metadata: checked.1, metadata_damage, bundles, ..Document::default() };
    for (digest, condition) in checked.0 {
        match condition {
            BlobCondition::Sound(bytes) => document.sound.push(SoundBlob { digest, bytes }),
            BlobCondition::Damaged => document.damaged.push(digest),
            BlobCondition::Missing if set_aside.contains(&digest) => document.damaged.push(digest),
            BlobCondition::Missing => document.missing.push(digest),
        }
    }
    Ok(document)
}

/// Returns the bundles that would be refused if they were uploaded now. A bundle that cannot be opened is damaged and appears
/// among the blobs.
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
    if let Some(report) = &document.config {
        config_rows(&mut rows, report);
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
            format!("workspace {}: usable, but a new upload would be refused", bundle.workspace),
        );
        rows.list("", bundle.findings.iter().map(|finding| &finding.message));
    }
    rows.into_text()
}

fn config_rows(rows: &mut Rows, report: &ConfigReport) {
    let Gaps { unanswered_tools, unknown_capabilities, unavailable_mounts, unavailable_secrets } = &report.gaps;
    rows.row("config", if report.refused.is_empty() { "valid" } else { "invalid" });
    rows.noted_list("", report.refused.iter().map(|reason| (&reason.message, &reason.help)));
    let unanswered =
        |tool: &String| (format!("tool:{tool}"), format!("{}{}", gaps::UNANSWERED, gaps::suggestion(tool)));
    let unknown =
        |found: &UnusableCapability| (found.capability.to_string(), format!("{}; {}", found.problem, found.help));
    let capabilities = unanswered_tools.iter().map(unanswered).chain(unknown_capabilities.iter().map(unknown));
    rows.noted_list("capabilities", capabilities);
    let name = |mount: &UnavailableMount| format!("workspaces.{}.mounts.{}", mount.workspace, mount.mount);
    rows.noted_list("mounts", unavailable_mounts.iter().map(|mount| (name(mount), gaps::UNAVAILABLE)));
    let place = |secret: &UnavailableSecret| match &secret.workspace {
        Some(workspace) => format!("workspaces.{workspace}.secrets: {}", secret.secret),
        None => format!("service.bucket.secret_access_key: {}", secret.secret),
    };
    let cause = |secret: &UnavailableSecret| format!("{}; {}", secret.problem, secret.help);
    rows.noted_list("secrets", unavailable_secrets.iter().map(|secret| (place(secret), cause(secret))));
}
