//! `yoi secret set`: stores the value of a secret.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use runtime_api::Code;
use secrecy::SecretString;
use serde_json::json;
use worker_runtime::secret::MAX_SECRET_BYTES;
use zeroize::Zeroizing;

use super::{FolderArgs, reference};
use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Sets a secret. Replaces its value if the secret exists.
///
/// The value is read from standard input or from a file. A terminal prompts for it without showing it. One newline at the end
/// is removed. The value is never an argument, because every user of the machine can see arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the secret, as in bundles and configs.
    name: String,
    /// Reads the value from a file.
    #[arg(long, value_name = "FILE", env = "YOI_FROM_FILE")]
    from_file: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

/// Maximum size of the input: a value and a line end of up to two bytes.
const MAX_INPUT_BYTES: usize = MAX_SECRET_BYTES + 2;

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let name = reference(&args.name)?;
    let folder = args.folder.open()?;
    let value = value(args)?;
    let is_new = folder.set(&name, &value)?;
    let document = json!({ "schema": "yoi.secret-set/1", "name": name, "created": is_new });
    output.result(&document, || {
        let done = if is_new { "set" } else { "replaced" };
        format!("{done} {name}; to grant it to a workspace, add it to the `secrets` of the workspace in the config\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn value(args: &Args) -> Result<SecretString, CliError> {
    let bytes = match &args.from_file {
        Some(path) => files::read_possible_secret(path, MAX_INPUT_BYTES, "file")?,
        None if std::io::stdin().is_terminal() => {
            let entered = rpassword::prompt_password(format!("value of {} (not shown): ", args.name));
            Zeroizing::new(entered.map_err(|_| unreadable())?.into_bytes())
        }
        None => {
            // Reserve the whole capacity: a buffer that grows leaves copies of the secret in freed memory.
            let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_INPUT_BYTES + 64));
            std::io::stdin()
                .lock()
                .take(MAX_INPUT_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(|_| unreadable())?;
            bytes
        }
    };
    let value = match bytes.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => &bytes,
    };
    let usable = (1..=MAX_SECRET_BYTES).contains(&value.len());
    match std::str::from_utf8(value) {
        Ok(text) if usable => Ok(SecretString::from(text.to_owned())),
        _ => Err(CliError::new(
            Code::InvalidValue,
            format!("invalid secret: expected UTF-8 text of 1 to {MAX_SECRET_BYTES} bytes"),
            format!("pass the value on standard input: `yoi secret set {} < FILE`", args.name),
        )),
    }
}

fn unreadable() -> CliError {
    CliError::new(Code::Unreadable, "cannot read standard input", "pass the value with `--from-file FILE`")
}
