//! `yoi bundle check`: is it a bundle, what was proved of it, what was scanned for.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::signature::{KeyId, Posture, Signers, judge};
use bundles::{BundleLimits, Diagnostic};
use clap::builder::BoolishValueParser;
use leak_scan::Kind;
use serde::Serialize;

use crate::bundle_source::{self, Source};
use crate::error::CliError;
use crate::key;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, count};

/// Says whether something is a bundle, what was proved of it and what was scanned for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with a `bundle.toml`, a built bundle, or `builtin`.
    bundle: PathBuf,
    /// Lists every rule of the scan.
    #[arg(long, env = "YOI_RULES", value_parser = BoolishValueParser::new())]
    rules: bool,
    /// Treats warnings as errors, for example a condition that no host fulfils.
    #[arg(long, env = "YOI_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// A key that must have signed: its public key, or a file with it. May be repeated; all must have.
    #[arg(long, value_name = "KEY", env = "YOI_SIGNED_BY", value_delimiter = ',')]
    signed_by: Vec<String>,
    /// An envelope that travels apart from the bundle, instead of the one beside its manifest.
    #[arg(long, value_name = "FILE", env = "YOI_SIGNATURE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
}

/// What holds for every bundle, because its types have no room for anything else.
const PROVED: [&str; 6] = [
    "every name is in its grammar, and none of the grammars has room for a path or a value",
    "secrets are references, mounts are labels; there is no field for a value, a host path, a socket or a session",
    "every name leads to a declaration, every blob is there and has its digest and size",
    "every profile has one C3 order, without cycles, within the bound on its chain",
    "the manifest is canonical (RFC 8785), without unknown fields or duplicate keys",
    "nothing is larger or deeper than its limit",
];

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    ok: bool,
    #[serde(flatten)]
    summary: serde_json::Value,
    warnings: &'a [Diagnostic],
    proved: &'a [&'static str],
    scanned: Scanned,
    accepted: Vec<Accepted>,
    signatures: Vec<Signature>,
}

#[derive(Serialize)]
struct Scanned {
    secret_rules: usize,
    host_path_rules: usize,
    rules: Vec<&'static str>,
    /// What the scan does not look into.
    not_scanned: &'static [&'static str],
}

#[derive(Serialize)]
struct Accepted {
    rule: String,
    field: String,
    reason: String,
}

#[derive(Serialize)]
struct Signature {
    key_id: KeyId,
    /// Whether it is known to be by that key, which takes the key.
    verified: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?.bundle;
    let source = bundle_source::open(&args.bundle, &limits)?;
    let signatures = signatures(args, &source, &limits)?;
    let manifest = source.bundle.manifest();
    let told = match &source.built {
        Some(built) => built.diagnostics.clone(),
        None => bundles::warnings(manifest),
    };
    if args.strict {
        bundle_source::refuse_warnings(&told)?;
    }
    bundle_source::note_warnings(&told, output);
    let of_kind = |kind: Kind| leak_scan::rules().filter(|rule| rule.kind() == kind).count();
    let accepted = manifest.accepted.iter();
    let document = Document {
        schema: "yoi.bundle-check/1",
        ok: true,
        summary: super::summary(&source.bundle),
        warnings: &told.list,
        proved: &PROVED,
        scanned: Scanned {
            secret_rules: of_kind(Kind::Secret),
            host_path_rules: of_kind(Kind::HostPath),
            rules: leak_scan::rules().map(leak_scan::Rule::id).collect(),
            not_scanned: if manifest.plugins.is_empty() { &[] } else { &["plugin_packages"] },
        },
        accepted: accepted
            .map(|one| Accepted { rule: one.rule.clone(), field: one.field.clone(), reason: one.reason.clone() })
            .collect(),
        signatures,
    };
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("bundle", source.bundle.digest());
        let scanned = &document.scanned;
        rows.list("proved", PROVED);
        rows.row(
            "scanned",
            format!(
                "every text, for {} kinds of credentials and {} kinds of host paths; {}",
                scanned.secret_rules,
                scanned.host_path_rules,
                if manifest.accepted.is_empty() {
                    "nothing found"
                } else {
                    "nothing found but what its author accepts"
                }
            ),
        );
        if !manifest.plugins.is_empty() {
            let packages = count(manifest.plugins.len(), "plugin package");
            rows.row("not scanned", format!("{packages}: a package is a program, which each host reviews for itself"));
        }
        rows.list(
            "accepted",
            document.accepted.iter().map(|one| format!("{} at `{}`: {}", one.rule, one.field, one.reason)),
        );
        rows.noted_list(
            "signed by",
            document.signatures.iter().map(|one| {
                (one.key_id, if one.verified { "good" } else { "not checked: give its key with --signed-by" })
            }),
        );
        if args.rules {
            rows.list("rules", leak_scan::rules().map(|rule| format!("{}: {}", rule.id(), rule.description())));
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Who signed, as far as keys were given to know it by.
fn signatures(args: &Args, source: &Source, limits: &BundleLimits) -> Result<Vec<Signature>, CliError> {
    let apart = match &args.signature {
        Some(path) => Some(bundle_source::read_envelope(path, &source.bundle, limits)?),
        None => None,
    };
    let envelope = apart.as_ref().or(source.envelope.as_ref());
    let good = if args.signed_by.is_empty() {
        Vec::new()
    } else {
        let keys: Result<Vec<_>, CliError> = args.signed_by.iter().map(|key| Ok(key::read_public(key)?.0)).collect();
        let signers = Signers::new(keys?, None)
            .map_err(|error| CliError::new("usage", format!("`--signed-by`: {error}"), "name each key once"))?;
        judge(&Posture::Required(signers), source.bundle.manifest_bytes(), envelope)?
    };
    let claimed = envelope.into_iter().flat_map(|envelope| envelope.claimed_key_ids());
    Ok(claimed.map(|key_id| Signature { key_id, verified: good.contains(&key_id) }).collect())
}
