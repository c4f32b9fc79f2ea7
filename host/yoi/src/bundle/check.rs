//! `yoi bundle check`: is it a bundle, what was proved of it, what was scanned for.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::leaks::{self, Kind};
use bundles::{BundleLimits, Diagnostic};
use serde::Serialize;

use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::text::Rows;

/// Says whether something is a bundle, what was proved of it and what was scanned for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with a `bundle.toml`, a built bundle, or `builtin`.
    bundle: PathBuf,
    /// Lists every rule of the scan.
    #[arg(long)]
    rules: bool,
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
    diagnostics: &'a [Diagnostic],
    proved: &'a [&'static str],
    scanned: Scanned,
    accepted: Vec<Accepted>,
}

#[derive(Serialize)]
struct Scanned {
    secret_rules: usize,
    host_path_rules: usize,
    rules: Vec<&'static str>,
}

#[derive(Serialize)]
struct Accepted {
    rule: String,
    field: String,
    reason: String,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let source = bundle_source::open(&args.bundle, &BundleLimits::default())?;
    let manifest = source.bundle.manifest();
    let none = bundles::Diagnostics::default();
    let told = source.built.as_ref().map_or(&none, |built| &built.diagnostics);
    let of_kind = |kind: Kind| leaks::rules().filter(|rule| rule.kind() == kind).count();
    let accepted = manifest.accepted.iter();
    let document = Document {
        schema: "yoi.bundle-check/1",
        ok: true,
        summary: super::summary(&source.bundle),
        diagnostics: &told.list,
        proved: &PROVED,
        scanned: Scanned {
            secret_rules: of_kind(Kind::Secret),
            host_path_rules: of_kind(Kind::HostPath),
            rules: leaks::rules().map(leaks::Rule::id).collect(),
        },
        accepted: accepted
            .map(|one| Accepted { rule: one.rule.clone(), field: one.field.clone(), reason: one.reason.clone() })
            .collect(),
    };
    output.result(&document, || {
        let mut text = bundle_source::render(told);
        let mut rows = Rows::default();
        rows.row("bundle", source.bundle.digest());
        let scanned = &document.scanned;
        rows.list("proved", PROVED);
        rows.row(
            "scanned",
            format!(
                "every text, for {} kinds of credentials and {} kinds of host paths; nothing found",
                scanned.secret_rules, scanned.host_path_rules
            ),
        );
        rows.list(
            "accepted",
            document.accepted.iter().map(|one| format!("{} at `{}`: {}", one.rule, one.field, one.reason)),
        );
        if args.rules {
            rows.list("rules", leaks::rules().map(|rule| format!("{}: {}", rule.id(), rule.what())));
        }
        text.push_str(&rows.into_text());
        text
    });
    Ok(ExitCode::SUCCESS)
}
