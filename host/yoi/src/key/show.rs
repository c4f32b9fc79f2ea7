//! `yoi key show`: prints the public key and the id of a key.

use std::process::ExitCode;

use serde_json::json;

use super::Kind;
use crate::error::CliError;
use crate::output::Output;
use crate::text::Rows;

/// Shows the public key and the key id of a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File with a signing key or a public key, or a public key.
    #[arg(value_name = "FILE")]
    key: String,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let (public, kind) = super::read_public(&args.key)?;
    let document = json!({ "schema": "yoi.key/1", "kind": kind, "public_key": public, "key_id": public.id() });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("public key", public);
        rows.row("key id", public.id());
        if kind == Kind::Signing {
            rows.noted("", "", "the file holds the signing key; keep it secret");
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
