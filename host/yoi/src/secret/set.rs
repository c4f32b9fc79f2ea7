//! `yoi secret set`: a value on its way from a person or a program to where it is kept.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::SecretString;
use serde_json::json;
use worker_runtime::secret::MAX_SECRET_BYTES;
use zeroize::Zeroizing;

use super::{FolderArgs, reference};
use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Sets a secret, new or in the place of an old one.
///
/// The value is read from standard input, or from a file; at a terminal it is asked for and not shown. One
/// newline at its end is no part of it. It is never an argument: those can be seen by every user of the
/// machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The secret's name, as bundles and configs refer to it.
    name: String,
    /// Read the value from a file.
    #[arg(long, value_name = "FILE", env = "YOI_FROM_FILE")]
    from_file: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderArgs,
}

/// A value, the newline after it, and one byte that shows that it is too long.
const MOST: usize = MAX_SECRET_BYTES + 2;

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let name = reference(&args.name)?;
    let folder = args.folder.open()?;
    let value = value(args)?;
    let is_new = folder.set(&name, &value)?;
    let document = json!({ "schema": "yoi.secret-set/1", "name": name, "created": is_new });
    output.result(&document, || {
        let done = if is_new { "set" } else { "replaced" };
        format!("{done} {name}; a workspace may use it whose config has it among its `secrets`\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn value(args: &Args) -> Result<SecretString, CliError> {
    let bytes = match &args.from_file {
        Some(path) => files::read_perhaps_secret(path, MOST, "file")?,
        None if std::io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password(format!("value of {} (not shown): ", args.name));
            Zeroizing::new(typed.map_err(|_| unreadable())?.into_bytes())
        }
        None => {
            // Room for all of it: a buffer that grew would leave its beginning behind.
            let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 64));
            std::io::stdin().lock().take(MOST as u64 + 1).read_to_end(&mut bytes).map_err(|_| unreadable())?;
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
            "invalid_value",
            format!("a secret is UTF-8 text of 1 to {MAX_SECRET_BYTES} bytes, and this is not"),
            format!("pass it on standard input: `yoi secret set {} < FILE`", args.name),
        )),
    }
}

fn unreadable() -> CliError {
    CliError::new("unreadable", "standard input cannot be read", "pass the value with `--from-file FILE`")
}
