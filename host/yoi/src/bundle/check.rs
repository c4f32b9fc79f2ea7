//! `yoi bundle check`: verifies a bundle, scans it and checks its signatures.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::signature::{KeyId, Posture, Signers, judge};
use bundles::{BundleLimits, Diagnostic};
use clap::builder::BoolishValueParser;
use leak_scan::Kind;
use runtime_api::Code;
use serde::Serialize;

use crate::bundle_source::{self, Source};
use crate::error::CliError;
use crate::key;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, count};

/// Verifies a bundle and scans it for credentials and host paths.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`, built bundle, or `builtin`.
    bundle: PathBuf,
    /// Lists the rules of the scan.
    #[arg(long, env = "YOI_RULES", value_parser = BoolishValueParser::new())]
    rules: bool,
    /// Treats warnings as errors, for example a condition that no host can satisfy.
    #[arg(long, env = "YOI_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// Key that must have signed the bundle: a public key, or a file with one. Can be repeated; all keys must have signed.
    #[arg(long, value_name = "KEY", env = "YOI_SIGNED_BY", value_delimiter = ',')]
    signed_by: Vec<String>,
    /// File with the envelope. Default: the envelope in the bundle.
    #[arg(long, value_name = "FILE", env = "YOI_SIGNATURE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
}

/// Properties of every bundle that can be opened.
const PROVED: [&str; 6] = [
    "every name matches its grammar, and no grammar allows a path or a value",
    "secrets are references and mounts are labels; no field can hold a value, a host path, a socket or a session",
    "every name refers to a declaration, and every blob exists with its digest and size",
    "every profile has a C3 order without cycles, within the limit for its length",
    "the manifest is canonical (RFC 8785), without unknown fields or duplicate keys",
    "no part exceeds its limit for size or depth",
];

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    ok: bool,
    #[serde(flatten)]
    summary: serde_json::Value,
    warnings: &'a [Diagnostic],
    proved: &'a [&'static str],
    scanned: ScanSummary,
    accepted: Vec<AcceptedFinding>,
    signatures: Vec<Signature>,
}

#[derive(Serialize)]
struct ScanSummary {
    secret_rules: usize,
    host_path_rules: usize,
    rules: Vec<&'static str>,
    /// Parts that are not scanned.
    not_scanned: &'static [&'static str],
}

#[derive(Serialize)]
struct AcceptedFinding {
    rule: String,
    field: String,
    reason: String,
}

#[derive(Serialize)]
struct Signature {
    key_id: KeyId,
    /// `true` if the signature was verified with the key. Requires `--signed-by`.
    verified: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?.bundle;
    let source = bundle_source::open(&args.bundle, &limits)?;
    let signatures = signatures(args, &source, &limits)?;
    let manifest = source.bundle.manifest();
    let warnings = match &source.built {
        Some(built) => built.diagnostics.clone(),
        None => bundles::warnings(manifest),
    };
    if args.strict {
        bundle_source::refuse_warnings(&warnings)?;
    }
    bundle_source::note_warnings(&warnings, output);
    let of_kind = |kind: Kind| leak_scan::rules().filter(|rule| rule.kind() == kind).count();
    let accepted = manifest.accepted.iter();
    let document = Document {
        schema: "yoi.bundle-check/1",
        ok: true,
        summary: super::summary(&source.bundle),
        warnings: &warnings.list,
        proved: &PROVED,
        scanned: ScanSummary {
            secret_rules: of_kind(Kind::Secret),
            host_path_rules: of_kind(Kind::HostPath),
            rules: leak_scan::rules().map(leak_scan::LeakRule::id).collect(),
            not_scanned: if manifest.plugins.is_empty() { &[] } else { &["plugin_packages"] },
        },
        accepted: accepted
            .map(|one| AcceptedFinding { rule: one.rule.clone(), field: one.field.clone(), reason: one.reason.clone() })
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
                "all texts, for {} kinds of credentials and {} kinds of host paths; {}",
                scanned.secret_rules,
                scanned.host_path_rules,
                if manifest.accepted.is_empty() {
                    "no findings"
                } else {
                    "no findings except those that the author accepts"
                }
            ),
        );
        if !manifest.plugins.is_empty() {
            let packages = count(manifest.plugins.len(), "plugin package");
            rows.row("not scanned", format!("{packages}; each host must review the programs in a package"));
        }
        rows.list(
            "accepted",
            document.accepted.iter().map(|one| format!("{} at `{}`: {}", one.rule, one.field, one.reason)),
        );
        rows.noted_list(
            "signed by",
            document.signatures.iter().map(|one| {
                (one.key_id, if one.verified { "verified" } else { "not verified; pass the key with --signed-by" })
            }),
        );
        if args.rules {
            rows.list("rules", leak_scan::rules().map(|rule| format!("{}: {}", rule.id(), rule.description())));
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Returns the signatures, verified with the keys of `--signed-by`.
fn signatures(args: &Args, source: &Source, limits: &BundleLimits) -> Result<Vec<Signature>, CliError> {
    let separate = match &args.signature {
        Some(path) => Some(bundle_source::read_envelope(path, &source.bundle, limits)?),
        None => None,
    };
    let envelope = separate.as_ref().or(source.envelope.as_ref());
    let verified = if args.signed_by.is_empty() {
        Vec::new()
    } else {
        let keys: Result<Vec<_>, CliError> = args.signed_by.iter().map(|key| Ok(key::read_public(key)?.0)).collect();
        let signers = Signers::new(keys?, None)
            .map_err(|error| CliError::new(Code::Usage, format!("`--signed-by`: {error}"), "name each key once"))?;
        judge(&Posture::Required(signers), source.bundle.manifest_bytes(), envelope)?
    };
    let claimed = envelope.into_iter().flat_map(|envelope| envelope.claimed_key_ids());
    Ok(claimed.map(|key_id| Signature { key_id, verified: verified.contains(&key_id) }).collect())
}
