//! What the commands about the resolvers of a service share.

use std::convert::Infallible;
use std::process::ExitCode;
use std::str::FromStr;

use bundles::Digest;
use runtime_api::resolver::{ResolverState, ResolverSummary};
use runtime_client::{Client, ClientError};
use serde_json::json;

use crate::digest_prefix::Named;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, bytes};

/// A resolver of a service: a digest, or the first digits of one.
#[derive(Debug, Clone)]
pub(super) struct ResolverName(String);

impl FromStr for ResolverName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl ResolverName {
    /// Returns the digest of the resolver.
    pub(super) fn on(&self, server: &ServerArgs) -> Result<Digest, CliError> {
        if let Ok(digest) = self.0.parse() {
            return Ok(digest);
        }
        if !Named::is_prefix(&self.0) {
            return Err(CliError::new(
                "usage",
                format!(
                    "invalid resolver `{}`: expected a digest, or 4 or more of its first digits",
                    bundles::shown(&self.0)
                ),
                "list the resolvers with `yoi resolver list`",
            ));
        }
        let listed = server.send(|client| async move { client.resolvers().await })?;
        let resolvers = Named { kind: "resolver", list: "yoi resolver list" };
        resolvers.find(&self.0, listed.iter().map(|resolver| resolver.digest))
    }
}

pub(super) fn state(resolver: &ResolverSummary) -> String {
    match resolver.state {
        ResolverState::Admitted => "admitted".to_owned(),
        ResolverState::Active => match resolver.activated_at {
            Some(at) => format!("active since {at}"),
            None => "active".to_owned(),
        },
        ResolverState::Retired => "retired".to_owned(),
        ResolverState::Revoked => match resolver.revoked_at {
            Some(at) => format!("revoked at {at}"),
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
            Some(at) => rows.row("admitted", at),
            None => rows.row("admitted", "ships with the program"),
        }
        rows.into_text()
    });
}
