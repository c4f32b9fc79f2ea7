//! `yoi backend publish`: publishes a bundle.

use std::path::PathBuf;
use std::process::ExitCode;

use backend_api::body::SetDesiredRequest;
use backend_api::desired::Stage;
use backend_client::PublicationOutcome;
use serde_json::json;

use super::stage;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;
use crate::runtime::packages::PackageState;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes, count, time};
use crate::upload::Upload;

/// Publishes a bundle with the blobs and plugin packages that the Backend lacks.
///
/// A bundle that differs from the newest one only in revision, time and provenance makes no new revision. With `--use` the
/// bundle becomes the desired one, and the Backend brings it to the Runtimes of the workspace. Without it, `yoi backend use`
/// does that later. The default of `--workspace` is the workspace of the bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`, or built bundle. Signatures are uploaded too.
    bundle: PathBuf,
    /// File with the envelope. Default: the envelope in the bundle.
    #[arg(long, value_name = "FILE", env = "YOI_SIGNATURE")]
    signature: Option<PathBuf>,
    /// Makes the bundle the desired one.
    #[arg(long = "use", env = "YOI_USE", value_parser = clap::builder::BoolishValueParser::new())]
    select: bool,
    /// Only these Runtimes get the bundle first, with `--use`: a percentage (`25%`) or labels (`ring=canary`).
    #[arg(long, value_name = "STAGE", env = "YOI_STAGE", value_parser = stage::parse, requires = "select")]
    stage: Option<Stage>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?.bundle;
    let mut upload = Upload::open(&args.bundle, args.signature.as_deref(), &limits, output)?;
    let workspace = upload.contents.bundle().manifest().workspace.id.clone();
    let backend = args.backend.with_default_workspace(&workspace);
    let to_send = &mut upload;
    let (published, desired) = backend.send(|client| async move {
        to_send.send_packages(client.content()).await?;
        let published = client.publish(&to_send.contents).await?;
        let desired = match args.select {
            true => {
                let bundle = published.bundle.digest;
                let request = SetDesiredRequest { bundle, allow_older: false, stage: args.stage.clone() };
                Some(client.set_desired(&request).await?)
            }
            false => None,
        };
        Ok((published, desired))
    })?;
    upload.note_missing("the Backend", output);
    let outcome = match published.outcome {
        PublicationOutcome::New => "published",
        PublicationOutcome::Known => "known",
        PublicationOutcome::Unchanged => "unchanged",
    };
    let document = json!({
        "schema": "yoi.backend-publish/1",
        "workspace": workspace,
        "outcome": outcome,
        "sent": published.uploaded.digests,
        "sent_bytes": published.uploaded.bytes,
        "packages": upload.packages,
        "bundle": published.bundle,
        "desired": desired.as_ref().and_then(|view| view.desired.as_ref()),
    });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("workspace", &workspace);
        let note = match published.outcome {
            PublicationOutcome::New => "new",
            PublicationOutcome::Known => "published before",
            PublicationOutcome::Unchanged => "nothing changed but revision, time and provenance; no new revision",
        };
        rows.noted("revision", published.bundle.revision, note);
        rows.row("stored", time(published.bundle.stored_at));
        match published.uploaded.digests.len() {
            0 => rows.row("sent", "only the manifest; the Backend has all blobs"),
            some => rows.noted("sent", count(some, "blob"), bytes(published.uploaded.bytes)),
        }
        let sent = upload.packages.iter().filter(|package| package.state == PackageState::Sent).count();
        if !upload.packages.is_empty() {
            rows.row("packages", format!("sent {sent} of {}", count(upload.packages.len(), "package")));
        }
        match desired.as_ref().and_then(|view| view.desired.as_ref()) {
            Some(desired) => {
                let part = desired.rollout.as_ref().map(|rollout| format!("for {}", rollout.stage)).unwrap_or_default();
                rows.noted("desired", format!("generation {}", desired.target.generation), part);
            }
            None => rows.noted("desired", "not changed", "yoi backend use makes the bundle the desired one"),
        }
        format!("{}\n{}", published.bundle.digest, rows.into_text())
    });
    Ok(ExitCode::SUCCESS)
}
