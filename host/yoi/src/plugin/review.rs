//! `yoi plugin review`: reviews what a plugin may do.

use std::path::PathBuf;
use std::process::ExitCode;

use host_policy::PluginChange;
use serde_json::json;

use super::grants::HostArgs;
use super::{card, source};
use crate::digest_prefix::DigestLookup;
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes, count};

/// Reviews what a plugin may do, for the person who decides. The most dangerous requests come first.
///
/// With `--config`, the command fails if something that the package requests is not granted (exit code 4). The component is
/// neither compiled nor run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    package: PathBuf,
    #[command(flatten)]
    host: HostArgs,
    /// Earlier version: a package, or the digest of a package that the config grants. Shows what the new version widens and
    /// narrows.
    #[arg(long, value_name = "PACKAGE|DIGEST", env = "YOI_AGAINST")]
    against: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?.bundle;
    let package = source::open(&args.package, &limits)?;
    let manifest = package.manifest();
    let host = args.host.read(&package)?;
    let (review, is_compared) = host.review(manifest);
    let against = match &args.against {
        None => None,
        Some(path) => Some(match path.to_str().filter(|text| DigestLookup::is_prefix(text) && !path.exists()) {
            Some(digest) => {
                let (digest, old) = host.find(digest)?;
                (digest, format!("the grant of {}", old.name), PluginChange::since_grant(old, manifest))
            }
            None => {
                let old = source::open(path, &limits)?;
                let name = format!("{} {}", old.manifest().name(), old.manifest().version());
                (old.digest(), name, PluginChange::new(old.manifest(), manifest))
            }
        }),
    };
    let refusal = host.refusal(&review);
    let mut document = super::summary(&package, "yoi.plugin-review/1");
    host.add_to(&mut document, &review);
    document.insert("code".to_owned(), json!(refusal.map(|code| code.as_str())));
    let change = against.as_ref().map(|(digest, name, change)| {
        json!({ "digest": digest, "name": name, "widened": change.widened(), "narrowed": change.narrowed() })
    });
    document.insert("against".to_owned(), json!(change));
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("plugin", format!("{} {}", manifest.name(), manifest.version()));
        rows.noted("package", package.digest(), bytes(package.blob().bytes().len() as u64));
        host.rows(&mut rows);
        card::statements(&mut rows, &review, is_compared);
        if let Some((digest, name, change)) = &against {
            rows.noted("against", digest, name);
            for (label, lists) in [("  widens", change.widened()), ("  narrows", change.narrowed())] {
                card::or_none(&mut rows, label, card::items(lists).into_iter().map(|item| (item, "")));
            }
        }
        for (label, kind) in card::KINDS {
            kind.all(&mut rows, label, &review, is_compared);
        }
        rows.into_text()
    });
    let Some(code) = refusal else { return Ok(ExitCode::SUCCESS) };
    if output.is_text() {
        let missing = count(review.missing().count(), "requested permission");
        let verb = if review.missing().count() == 1 { "is" } else { "are" };
        let help = "grant the package with `yoi plugin enable`, or let the plugin request less";
        return Ok(output.error(&CliError::new(code, format!("{missing} {verb} not granted"), help)));
    }
    Ok(ExitCode::from(code.exit_code()))
}
