//! `yoi backend runtimes token`: issues the token with which a Runtime polls the Backend.

use std::path::PathBuf;
use std::process::ExitCode;

use ::bundles::RuntimeName;

use crate::error::CliError;
use crate::files::NewSecretFile;
use crate::new_token;
use crate::output::Output;
use crate::remote::BackendServerArgs;

/// Issues the token with which a Runtime polls the Backend, and shows it once.
///
/// The Runtime has `polls = true` in the config of the Backend, and the token is a secret on its own host. The token is good
/// for nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Runtime.
    name: RuntimeName,
    /// Writes the token to a new file that only its owner can read, instead of showing it.
    #[arg(long, short, value_name = "FILE", env = "YOI_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendServerArgs,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    // Create the file first: if this fails, no token is issued that is then lost.
    let file = args.out.as_deref().map(|path| NewSecretFile::create(path, "token file")).transpose()?;
    let issued = args.backend.send(|client| async move { client.issue_pull_token(&args.name).await })?;
    new_token::print_of_backend(&issued.summary.id, issued.token, args.out.as_deref().zip(file), output)
}
