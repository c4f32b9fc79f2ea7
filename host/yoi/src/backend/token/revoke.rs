//! `yoi backend token revoke`: revokes a token.

use std::process::ExitCode;
use std::str::FromStr;

use runtime_api::token::TokenId;
use serde_json::json;

use super::TargetArgs;
use crate::error::CliError;
use crate::output::Output;

/// Revokes a token.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Id of the token, as `yoi backend token list` shows it: the part of the token between its two `_`.
    #[arg(value_parser = |text: &str| TokenId::from_str(text).map_err(|_| "invalid token id: expected 16 hexadecimal digits"))]
    id: TokenId,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let revoked = args.target.run(
        |management| async move { management.revoke_token(&args.id).await.map(Into::into) },
        |client| async move { client.revoke_token(&args.id).await },
    )?;
    let document = json!({ "schema": "yoi.token-revoked/1", "id": revoked.id, "revoked_at": revoked.revoked_at });
    output.result(&document, || format!("revoked {}\n", revoked.id));
    Ok(ExitCode::SUCCESS)
}
