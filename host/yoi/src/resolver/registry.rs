//! Naming and printing the resolvers of a service, for the commands `add` to `remove`.

use std::process::ExitCode;

use bundles::Digest;
use runtime_api::Code;
use runtime_api::resolver::{ResolverState, ResolverSummary};
use runtime_client::{Client, ClientError};
use serde_json::json;

use crate::digest_prefix::DigestLookup;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes, time};

/// A resolver of a service, and the service.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Digest of the resolver, or 4 or more of its first digits.
    resolver: String,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

impl Target {
    /// Returns the digest of the resolver. Asks the service if only the first digits are given.
    pub(super) fn digest(&self) -> Result<Digest, CliError> {
        find(&self.resolver, &self.server)
    }
}

/// Returns the digest that a name stands for. Asks the service if only the first digits are given.
pub(super) fn find(name: &str, server: &ServerArgs) -> Result<Digest, CliError> {
    if let Ok(digest) = name.parse() {
        return Ok(digest);
    }
    if !DigestLookup::is_prefix(name) {
        return Err(CliError::new(
            Code::Usage,
            format!("invalid resolver `{}`: expected a digest, or 4 or more of its first digits", bundles::shown(name)),
            "list the resolvers with `yoi resolver list`",
        ));
    }
    let listed = server.send(|client| async move { client.resolvers().await })?;
    let resolvers = DigestLookup { kind: "resolver", list: "yoi resolver list" };
    resolvers.find(name, listed.iter().map(|resolver| resolver.digest))
}

pub(super) fn state(resolver: &ResolverSummary) -> String {
    match resolver.state {
        ResolverState::Admitted => "admitted".to_owned(),
        ResolverState::Active => match resolver.activated_at {
            Some(at) => format!("active since {}", time(at)),
            None => "active".to_owned(),
        },
        ResolverState::Retired => "retired".to_owned(),
        ResolverState::Revoked => match resolver.revoked_at {
            Some(at) => format!("revoked at {}", time(at)),
            None => "revoked".to_owned(),
        },
    }
}

/// Sends a request that changes a resolver, and prints its summary.
pub(super) fn change<F>(
    server: &ServerArgs,
    output: &Output,
    request: impl FnOnce(Client) -> F,
) -> Result<ExitCode, CliError>
where
    F: Future<Output = Result<ResolverSummary, ClientError>>,
{
    print(&server.send(request)?, output);
    Ok(ExitCode::SUCCESS)
}

/// Prints the summary of a resolver.
pub(super) fn print(resolver: &ResolverSummary, output: &Output) {
    output.result(&json!({ "schema": "yoi.resolver/1", "resolver": resolver }), || {
        let mut rows = Rows::default();
        rows.row("resolver", resolver.digest);
        rows.row("state", state(resolver));
        rows.row("size", bytes(resolver.bytes));
        match resolver.admitted_at {
            Some(at) => rows.row("admitted", time(at)),
            None => rows.row("admitted", "ships with the program"),
        }
        rows.into_text()
    });
}
