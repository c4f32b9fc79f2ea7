//! `yoi secret`: the secrets of this host. Each is a file in a folder that only its owner can access.

mod list;
mod rm;
mod set;

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{InvalidName, SecretRef};
use etcetera::BaseStrategy;
use runtime_api::Code;
use worker_runtime::secret::{SecretDirectory, SecretDirectoryError};

use crate::error::CliError;
use crate::output::Output;

/// Sets, lists and removes the secrets of this host.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Sets a secret. The value comes from standard input or a file.
    Set(set::Args),
    /// Lists the names of the secrets.
    List(list::Args),
    /// Removes a secret.
    Rm(rm::Args),
}

/// Argument that names the folder of the secrets.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FolderArgs {
    /// Folder of the secrets, accessible only to its owner. Default: `yoi/secrets` in the user's data folder.
    #[arg(long, value_name = "FOLDER", env = "YOI_SECRETS")]
    secrets: Option<PathBuf>,
}

impl FolderArgs {
    /// Opens the folder. Creates it if it does not exist.
    fn open(&self) -> Result<SecretDirectory, CliError> {
        let folder = match &self.secrets {
            Some(folder) => folder.clone(),
            None => default_folder()?,
        };
        Ok(SecretDirectory::open(&folder)?)
    }
}

/// Parses the name of a secret. The argument parser would print an invalid name, which may be the secret itself.
fn reference(name: &str) -> Result<SecretRef, CliError> {
    name.parse().map_err(|error: InvalidName| CliError::new(Code::Usage, error.problem(), error.remedy()))
}

/// Returns the default folder of the secrets of a user.
pub(crate) fn default_folder() -> Result<PathBuf, CliError> {
    let folders = etcetera::choose_base_strategy().map_err(|_| {
        CliError::new(Code::Usage, "the user has no data folder", "name the folder with `--secrets FOLDER`")
    })?;
    Ok(folders.data_dir().join("yoi").join("secrets"))
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Set(args) => set::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Rm(args) => rm::run(args, output),
    }
}

impl From<SecretDirectoryError> for CliError {
    fn from(error: SecretDirectoryError) -> Self {
        Self::of_library(error.code(), error.to_string(), error.help())
    }
}
