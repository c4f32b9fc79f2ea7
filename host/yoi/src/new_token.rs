//! Output of commands that issue a token.

use std::path::Path;
use std::process::ExitCode;

use runtime_api::token::TokenId;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::files::{self, NewSecretFile};
use crate::output::Output;

/// Prints a new token, or writes it to a file. If that fails, the token is lost: the caller revokes it, or says how.
pub(crate) fn print(
    id: &TokenId,
    token: &str,
    out: Option<(&Path, NewSecretFile<'_>)>,
    output: &Output,
) -> Result<ExitCode, CliError> {
    match out {
        Some((path, file)) => {
            file.finish(Zeroizing::new(format!("{token}\n")).as_bytes())?;
            let document = json!({ "schema": "yoi.token/1", "id": id, "file": files::shown(path) });
            output.result(&document, || format!("wrote token {id} to {}\n", files::shown(path)));
        }
        None => {
            let document = json!({ "schema": "yoi.token/1", "id": id, "token": token });
            output.note(&format!("note: token {id} is shown only once; store it where only its owner can read it"));
            output.result(&document, || format!("{token}\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Like [`print()`], for tokens of a Backend.
pub(crate) fn print_of_backend(
    id: &TokenId,
    token: String,
    out: Option<(&Path, NewSecretFile<'_>)>,
    output: &Output,
) -> Result<ExitCode, CliError> {
    print(id, &Zeroizing::new(token), out, output).map_err(|error| {
        let help = format!("{}; revoke the lost token: `yoi backend token revoke {id}`", error.help);
        CliError { help, ..error }
    })
}
