//! `yoi backend runtimes`: lists the Runtimes of the fleet, adds and removes remote ones, and issues tokens for those that poll.

mod add;
mod remove;
mod token;

use std::process::ExitCode;

use backend_api::fleet::Access;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;
use crate::text::{Rows, time};

/// Lists the Runtimes: how the Backend reaches them, their labels, and what they report about themselves.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    backend: BackendServerArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    // These variants have no doc comments: they would replace the longer help texts of the arguments.
    Add(add::Args),
    Remove(remove::Args),
    Token(token::Args),
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(Command::Add(args)) => add::run(args, output),
        Some(Command::Remove(args)) => remove::run(args, output),
        Some(Command::Token(args)) => token::run(args, output),
        None => list(args, output),
    }
}

fn list(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let runtimes = args.backend.send(|client| async move { client.runtimes().await })?;
    output.result(&json!({ "schema": "yoi.backend-runtimes/1", "runtimes": runtimes }), || {
        if runtimes.is_empty() {
            return "no Runtimes; write a table [runtimes.NAME] in the config of the Backend\n".to_owned();
        }
        let mut rows = Rows::default();
        for runtime in &runtimes {
            let access = match runtime.access {
                Access::Embedded => "embedded",
                Access::Remote => "remote",
                Access::Pulled => "polls",
            };
            let labels: Vec<String> = runtime.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let version = runtime.report.as_ref().map_or("not read yet", |report| report.version.as_str());
            let seen = match (&runtime.failure, runtime.last_seen) {
                (Some(failure), _) => format!("{} since {}", failure.code.as_str(), time(failure.since)),
                (None, Some(at)) => format!("seen {}", time(at)),
                (None, None) => "never seen".to_owned(),
            };
            let line = [access.to_owned(), version.to_owned(), seen].join(", ");
            rows.noted(runtime.name.as_ref(), line, labels.join(" "));
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
