//! `yoi resolver events`.

use std::process::ExitCode;

use bundles::one_line;
use runtime_api::event::EventKind;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;
use crate::text::{Rows, time};

/// Events that are printed by default.
const DEFAULT_LIMIT: usize = 100;

/// Lists the changes of a service's resolvers, oldest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only events after the event with this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, env = "YOI_AFTER")]
    after: u64,
    /// Maximum number of events.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_LIMIT, env = "YOI_LIMIT")]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let events = args.server.send(|client| async move { client.runtime_events(args.after, args.limit).await })?;
    output.result(&json!({ "schema": "yoi.resolver-events/1", "events": events }), || {
        let mut rows = Rows::default();
        for event in &events {
            rows.row(&event.number.to_string(), format!("{} {}", time(event.at), words(&event.kind)));
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

fn words(kind: &EventKind) -> String {
    match kind {
        EventKind::ResolverAdmitted { resolver } => format!("added {}", resolver.short()),
        EventKind::ResolverActivated { resolver, previous, change_set } => {
            let allowed = match change_set {
                Some(changes) => format!("with changes {}", changes.short()),
                None => "without a comparison".to_owned(),
            };
            format!("activated {} in place of {} {allowed}", resolver.short(), previous.short())
        }
        EventKind::ResolverDiverged { resolver, profile, field } => {
            let what = if field.is_empty() { "the outcome".to_owned() } else { one_line(field) };
            format!("{} differs from the accepted comparison in {what} of {profile}", resolver.short())
        }
        EventKind::ResolverRolledBack { resolver, previous } => {
            format!("rolled back to {} from {}", resolver.short(), previous.short())
        }
        EventKind::ResolverRevoked { resolver } => format!("revoked {}", resolver.short()),
        EventKind::ResolverRemoved { resolver } => format!("removed {}", resolver.short()),
        // A Runtime's own events are those of its resolvers.
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
