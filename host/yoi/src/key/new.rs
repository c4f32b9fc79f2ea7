//! `yoi key new`: creates a signing key.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::signature::SigningKey;
use runtime_api::Code;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::text::Rows;

/// Creates a signing key in a file that only its owner can read.
///
/// The key is never printed. Write its public key into the config of a host, so that the host accepts bundles that this key
/// signed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to write. It must not exist.
    #[arg(long, short, value_name = "FILE", default_value = "signing.key", env = "YOI_KEY")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let key = SigningKey::generate(getrandom::fill).map_err(|_| {
        CliError::new(Code::Failed, "the system has no random numbers", "retry when the system has started")
    })?;
    files::write_secret(&args.out, key.to_file().as_bytes(), "signing key")?;
    let public = key.public_key();
    let document = json!({ "schema": "yoi.key-new/1", "path": files::shown(&args.out), "public_key": public, "key_id": public.id() });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("public key", public);
        rows.row("key id", public.id());
        format!(
            "wrote {}; anyone who can read this file can sign bundles\n\n{}\nto require this signature, write into the config of a host, under the workspace:\n  signatures = {{ posture = \"required\", keys = [\"{public}\"] }}\n",
            files::shown(&args.out),
            rows.into_text()
        )
    });
    Ok(ExitCode::SUCCESS)
}
