//! `yoi backend audit`: shows the audit log.

use std::process::ExitCode;

use backend_api::audit::{Actor, AuditEntry};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;
use crate::text::{Rows, time};

/// Shows the audit log: who did what, and what was refused. Oldest entry first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of an entry. The list begins after it.
    #[arg(long, value_name = "N", default_value_t = 0, env = "YOI_AFTER")]
    after: u64,
    /// Maximum number of entries.
    #[arg(long, value_name = "N", default_value_t = 100, env = "YOI_LIMIT")]
    limit: usize,
    #[command(flatten)]
    backend: BackendServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let entries = args.backend.send(|client| async move { client.audit(args.after, args.limit).await })?;
    output.result(&json!({ "schema": "yoi.backend-audit/1", "entries": entries }), || {
        if entries.is_empty() {
            return "no entries\n".to_owned();
        }
        let mut rows = Rows::default();
        for entry in &entries {
            let actor = match &entry.actor {
                Actor::Backend => "the Backend".to_owned(),
                Actor::Local => "this machine".to_owned(),
                Actor::Token { token } => format!("token {token}"),
                Actor::Session { session, token } => format!("session {session} of token {token}"),
            };
            let refused = entry.refused.map(|code| format!(", refused [{}]", code.as_str())).unwrap_or_default();
            let line = format!("{} by {actor}{refused}", action(entry));
            rows.noted(&entry.number.to_string(), line, time(entry.at));
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Formats an action: its name, then its values.
fn action(entry: &AuditEntry) -> String {
    let value = serde_json::to_value(&entry.action).unwrap_or_default();
    let Value::Object(fields) = value else { return String::new() };
    let name = fields.get("action").and_then(Value::as_str).unwrap_or_default().replace('_', " ");
    let values = fields.iter().filter(|(key, _)| *key != "action").map(|(key, value)| match value {
        Value::String(text) => format!(" {key}={text}"),
        other => format!(" {key}={other}"),
    });
    format!("{name}{}", values.collect::<String>())
}
