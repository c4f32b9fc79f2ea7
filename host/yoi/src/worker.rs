//! `yoi worker`: the workers of a Runtime.

mod bundle_name;
mod call;
mod create;
mod history;
mod list;
mod logs;
mod remove;
mod send;
mod show;
mod stop;

use std::process::ExitCode;

use bundles::one_line;
use worker_runtime::worker::{StopReason, Suspension, WorkerState, WorkerSummary};

use crate::error::CliError;
use crate::output::Output;

use crate::text::{Rows, time};
pub(crate) use bundle_name::BundleName;

/// Creates workers on a Runtime, calls their tools and shows their history.
// The variants have no doc comments: they would replace the longer help texts of the arguments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Create(create::Args),
    List(list::Args),
    Show(show::Args),
    Call(call::Args),
    Send(send::Args),
    History(history::Args),
    Logs(logs::Args),
    Stop(stop::Args),
    Remove(remove::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Create(args) => create::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Show(args) => show::run(args, output),
        Command::Call(args) => call::run(args, output),
        Command::Send(args) => send::run(args, output),
        Command::History(args) => history::run(args, output),
        Command::Logs(args) => logs::run(args, output),
        Command::Stop(args) => stop::run(args, output),
        Command::Remove(args) => remove::run(args, output),
    }
}

/// Formats the state of a worker.
fn state(worker: &WorkerSummary) -> String {
    match &worker.state {
        WorkerState::Running => "running".to_owned(),
        WorkerState::Suspended(Suspension { detail, .. }) => format!("suspended: {}", one_line(detail)),
        WorkerState::Stopped { reason, .. } => format!("stopped: {}", stop_reason(*reason)),
    }
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Requested => "on request",
        StopReason::ResolverRevoked => "its resolver was revoked",
        StopReason::BundleRevoked => "its bundle was revoked",
    }
}

/// Formats the summary of a worker.
fn rows(worker: &WorkerSummary) -> String {
    let request = &worker.request;
    let mut rows = Rows::default();
    rows.row("worker", &worker.id);
    rows.list("name", request.display_name.iter().map(|name| name.as_str()));
    rows.list("intent", request.intent.iter().flat_map(|intent| intent.as_str().lines()));
    rows.row("state", state(worker));
    match &worker.state {
        WorkerState::Running => {}
        WorkerState::Suspended(Suspension { remedy, .. }) => rows.row("remedy", one_line(remedy)),
        WorkerState::Stopped { at, .. } => rows.row("stopped", time(*at)),
    }
    rows.row("profile", &request.profile);
    rows.list("requires", &request.required_capabilities);
    rows.noted("bundle", worker.bundle, if request.bundle.is_none() { "built-in" } else { "" });
    rows.row("resolver", worker.resolver);
    rows.row("record", worker.record);
    rows.row("policy", worker.policy);
    rows.row("created", time(worker.created_at));
    rows.into_text()
}
