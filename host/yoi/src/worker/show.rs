//! `yoi worker show`: prints the state and the authority of a worker.

use std::process::ExitCode;

use bundles::one_line;
use runtime_api::Code;
use runtime_api::service::{ServiceState, ServiceSummary};
use runtime_client::ClientError;
use serde_json::{Value, json};
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;
use crate::text::{Rows, time};

/// Shows the state of a worker, its request and the authority that is granted now.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let (worker, spec, services, findings) = args.remote.send(|client| async move {
        let worker = client.worker(&args.id).await?;
        // A stopped or suspended worker has no specification. Its state shows the cause.
        let spec = match client.worker_spec(&args.id).await {
            Err(ClientError::Problem(problem))
                if matches!(problem.known_code(), Some(Code::WorkerStopped | Code::WorkerSuspended)) =>
            {
                None
            }
            spec => Some(spec?),
        };
        let findings = match worker.request.bundle {
            // A bundle that cannot be opened appears in the state of the worker.
            Some(bundle) => client.bundle_findings(bundle).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let services = match client.worker_services(&args.id).await {
            // A Runtime of an earlier version has no services.
            Err(ClientError::Problem(problem)) if problem.known_code() == Some(Code::NotFound) => Vec::new(),
            services => services?,
        };
        Ok((worker, spec, services, findings))
    })?;
    let document = json!({
        "schema": "yoi.worker/1", "worker": worker, "spec": spec, "services": services, "bundle_findings": findings,
    });
    output.result(&document, || {
        let mut text = super::rows(&worker);
        if let Some(spec) = &spec {
            text.push_str(&granted(spec));
        }
        let mut rows = Rows::default();
        rows.noted_list("services", services.iter().map(|service| (&service.plugin, state(service))));
        rows.list("findings", findings.iter().map(|finding| &finding.message));
        text.push_str(&rows.into_text());
        text
    });
    Ok(ExitCode::SUCCESS)
}

/// Formats the state of a service.
fn state(service: &ServiceSummary) -> String {
    match &service.state {
        ServiceState::Starting => "starting".to_owned(),
        ServiceState::Running { ready, detail } => {
            let ready = if *ready == Some(false) { ", not ready" } else { "" };
            let detail = one_line(detail);
            if detail.is_empty() { format!("running{ready}") } else { format!("running{ready}: {detail}") }
        }
        ServiceState::Restarting { code, reason, at } => {
            format!("restarts at {} [{}]: {}", time(*at), one_line(code), one_line(reason))
        }
        ServiceState::Stopped { code, reason } => {
            let restarts = service.restarts;
            format!("stopped after {restarts} restarts [{}]: {}", one_line(code), one_line(reason))
        }
    }
}

/// Formats the authority of a worker.
fn granted(spec: &Value) -> String {
    let mut rows = Rows::default();
    let list = |name: &str| spec.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let word = |value: &Value, name: &str| one_line(value.get(name).and_then(Value::as_str).unwrap_or_default());
    let tools = list("tools");
    rows.noted_list("tools", tools.iter().map(|tool| (word(tool, "name"), format!("effect {}", word(tool, "effect")))));
    let mounts = list("mounts");
    rows.noted_list("mounts", mounts.iter().map(|mount| (word(mount, "label"), word(mount, "access"))));
    rows.list("secrets", list("secrets").iter().filter_map(|name| name.as_str().map(one_line)));
    rows.list("egress", list("egress").iter().filter_map(|target| target.as_str().map(one_line)));
    let narrowed = list("narrowed");
    let cause = |one: &Value| format!("{}: {}", word(one, "reason"), word(one, "remedy"));
    rows.noted_list("refused", narrowed.iter().map(|one| (word(one, "subject"), cause(one))));
    rows.into_text()
}
