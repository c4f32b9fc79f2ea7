//! `yoi resolver list`.

use std::process::ExitCode;

use serde_json::json;

use super::registry;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes};

/// Lists the resolvers of a service.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let resolvers = args.server.send(|client| async move { client.resolvers().await })?;
    output.result(&json!({ "schema": "yoi.resolvers/1", "resolvers": resolvers }), || {
        let mut rows = Rows::default();
        for resolver in &resolvers {
            let size = bytes(resolver.bytes);
            rows.noted(&resolver.digest.to_string(), registry::state(resolver), size);
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
