//! `yoi bundle show`: prints the content of a bundle.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::ProfileName;
use bundles::manifest::{Layer, Workflow};
use clap::builder::BoolishValueParser;
use runtime_api::Code;
use serde_json::json;

use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes};

/// Shows the content of a bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`, built bundle, or `builtin`.
    bundle: PathBuf,
    /// Shows only the digest.
    #[arg(long, env = "YOI_DIGEST", value_parser = BoolishValueParser::new())]
    digest: bool,
    /// Shows one profile, layer by layer.
    #[arg(long, short, value_name = "NAME", conflicts_with = "digest", env = "YOI_SHOW_PROFILE")]
    profile: Option<ProfileName>,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let source = bundle_source::open(&args.bundle, &args.limits.read()?.bundle)?;
    let (bundle, manifest) = (&source.bundle, source.bundle.manifest());
    if args.digest {
        let document = json!({ "schema": "yoi.bundle-digest/1", "digest": bundle.digest() });
        output.result(&document, || format!("{}\n", bundle.digest()));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &args.profile {
        let profile = manifest.profiles.get(name).ok_or_else(|| {
            let near = bundles::nearest(name.as_str(), manifest.profiles.keys().map(AsRef::as_ref));
            let help = near.map_or_else(
                || "list the profiles with `yoi bundle show`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            CliError::new(Code::UnknownProfile, format!("profile `{name}` not found in this bundle"), help)
        })?;
        let document = json!({ "schema": "yoi.bundle-profile/1", "name": name, "profile": profile });
        output.result(&document, || {
            let mut rows = Rows::default();
            rows.row("profile", name);
            rows.noted("", "", &profile.description);
            rows.list("extends", &profile.extends);
            for (index, layer) in profile.layers.iter().enumerate() {
                rows.noted_list(&format!("layer {index}"), layer_lines(layer));
            }
            rows.into_text()
        });
        return Ok(ExitCode::SUCCESS);
    }
    let mut document = super::summary(bundle);
    if let Some(document) = document.as_object_mut() {
        document.insert("schema".to_owned(), "yoi.bundle/1".into());
        let claimed = source.envelope.iter().flat_map(|envelope| envelope.claimed_key_ids());
        document.insert("signatures".to_owned(), claimed.map(|id| json!({ "key_id": id })).collect());
        document.insert("manifest".to_owned(), json!(manifest));
    }
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("bundle", bundle.digest());
        rows.noted("workspace", &manifest.workspace.id, &manifest.workspace.name);
        if !manifest.workspace.description.is_empty() {
            rows.row("description", &manifest.workspace.description);
        }
        if !manifest.workspace.repository.is_empty() {
            rows.row("repository", &manifest.workspace.repository);
        }
        rows.noted("revision", manifest.revision, &manifest.created_at);
        rows.list("from", [&manifest.provenance.source, &manifest.provenance.repository].into_iter().flatten());
        rows.list("", manifest.provenance.commit.as_ref());
        let claimed = source.envelope.iter().flat_map(|envelope| envelope.claimed_key_ids());
        rows.noted_list("signed by", claimed.map(|id| (id, "not verified; see `yoi bundle check --signed-by`")));
        rows.noted_list(
            "profiles",
            manifest.profiles.iter().map(|(name, profile)| {
                let parents: Vec<&str> = profile.extends.iter().map(AsRef::as_ref).collect();
                let extends = if parents.is_empty() { String::new() } else { format!(" < {}", parents.join(", ")) };
                (format!("{name}{extends}"), &profile.description)
            }),
        );
        rows.noted_list(
            "prompts",
            manifest.prompts.iter().map(|(name, prompt)| (name, bytes(prompt.text.size.into()))),
        );
        rows.noted_list(
            "workflows",
            manifest.workflows.iter().map(|(name, workflow)| match workflow {
                Workflow::Definition(blob) => (name, bytes(blob.size.into())),
                Workflow::Reference(uri) => (name, uri.to_string()),
            }),
        );
        rows.noted_list(
            "tools",
            manifest.tools.iter().map(|(name, tool)| (name, format!("{}: {}", tool.source, tool.description))),
        );
        rows.noted_list(
            "plugins",
            manifest
                .plugins
                .iter()
                .map(|(name, plugin)| (format!("{name} {}", plugin.version), plugin.package.digest.short())),
        );
        rows.noted_list(
            "models",
            manifest.models.iter().map(|(name, model)| (name, format!("{} / {}", model.provider, model.model))),
        );
        rows.list("denied", manifest.policy.authorities.deny.iter().map(ToString::to_string));
        rows.list(
            "accepted",
            manifest.accepted.iter().map(|one| format!("{} at `{}`: {}", one.rule, one.field, one.reason)),
        );
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Formats each field of a layer as a line with its JSON value.
fn layer_lines(layer: &Layer) -> Vec<(String, String)> {
    let value = serde_json::to_value(layer).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    let lines: Vec<_> = fields.map(|(name, value)| (name.clone(), value.to_string())).collect();
    if lines.is_empty() { vec![("sets nothing".to_owned(), String::new())] } else { lines }
}
