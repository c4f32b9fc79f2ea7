//! `yoi key`: the keys that sign bundles.

mod new;
mod show;

use std::path::Path;
use std::process::ExitCode;

use bundles::encoding;
use bundles::signature::{InvalidPublicKey, MAX_SIGNING_KEY_BYTES, PublicKey, SigningKey};
use runtime_api::Code;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Creates and shows signing keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates a signing key in a file that only its owner can read.
    New(new::Args),
    /// Shows the public key and the key id of a key.
    Show(show::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::Show(args) => show::run(args, output),
    }
}

/// Reads a signing key.
pub(crate) fn read_signing(path: &Path) -> Result<SigningKey, CliError> {
    let content = files::read_secret(path, MAX_SIGNING_KEY_BYTES, "signing key")?;
    SigningKey::from_file(&content)
        .map_err(|error| CliError::of_library(error.code(), format!("`{}`: {error}", files::shown(path)), error.help()))
}

/// Reads the public key that KEY names. KEY is a public key, or a file with a public key or a signing key.
pub(crate) fn read_public(key: &str) -> Result<(PublicKey, Kind), CliError> {
    let refused = |error: InvalidPublicKey, message: String| CliError::of_library(error.code(), message, error.help());
    if key.starts_with("ed25519:") {
        let public = key.parse().map_err(|error: InvalidPublicKey| refused(error, error.to_string()))?;
        return Ok((public, Kind::Public));
    }
    let path = Path::new(key);
    let content = files::read_possible_secret(path, MAX_SIGNING_KEY_BYTES, "key")?;
    if let Ok(signing) = SigningKey::from_file(&content) {
        return Ok((signing.public_key(), Kind::Signing));
    }
    let text = std::str::from_utf8(&content).unwrap_or_default();
    if encoding::is_wide(&content) {
        return Err(CliError::new(
            Code::InvalidKey,
            format!("invalid key file `{}`: it is UTF-16", files::shown(path)),
            "save the file as UTF-8",
        ));
    }
    match encoding::key_line(text).parse() {
        Ok(public) => Ok((public, Kind::Public)),
        Err(error @ InvalidPublicKey::Weak) => Err(refused(error, format!("`{}`: {error}", files::shown(path)))),
        Err(InvalidPublicKey::Spelling | InvalidPublicKey::SigningKey) => Err(CliError::new(
            Code::InvalidKey,
            format!("`{}` holds neither a signing key nor a public key", files::shown(path)),
            "name a file that `yoi key new` wrote, or a file with a public key: `ed25519:` and base64",
        )),
    }
}

/// Kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Signing,
    Public,
}
