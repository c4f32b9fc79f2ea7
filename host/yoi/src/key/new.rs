//! `yoi key new`: a key to sign with.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::signature::SigningKey;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::text::Rows;

/// Makes a signing key, in a file that only its owner can read.
///
/// The key itself is never printed. Its public key is what a host's config names, so that bundles which
/// this key signed are taken in.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to write. It must not be there yet.
    #[arg(long, short, value_name = "FILE", default_value = "signing.key", env = "YOI_KEY")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let key = SigningKey::generate(getrandom::fill).map_err(|_| {
        CliError::new("failed", "this machine gives no random numbers", "try again when the system has started")
    })?;
    files::write_secret(&args.out, key.to_file().as_bytes(), "signing key")?;
    let public = key.public_key();
    let document = json!({ "schema": "yoi.key-new/1", "path": files::shown(&args.out), "public_key": public, "key_id": public.id() });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("public key", public);
        rows.row("key id", public.id());
        format!(
            "wrote {}: whoever can read it can sign with it\n\n{}\na host that is to demand its signature says so in its config, under the workspace:\n  signatures = {{ posture = \"required\", keys = [\"{public}\"] }}\n",
            files::shown(&args.out),
            rows.into_text()
        )
    });
    Ok(ExitCode::SUCCESS)
}
