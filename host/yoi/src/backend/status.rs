//! `yoi backend status`: shows which Runtimes have the desired bundles.

use std::process::ExitCode;

use backend_api::body::WorkspaceView;
use backend_api::fleet::{Condition, PairView, RuntimeView};
use bundles::WorkspaceId;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;
use crate::text::{Rows, time};

/// Shows for each workspace which bundle is desired, and for each Runtime whether it has the bundle, and why not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let (mut workspaces, runtimes) =
        args.backend.send(|client| async move { Ok((client.workspaces().await?, client.runtimes().await?)) })?;
    if let Some(named) = args.backend.workspace() {
        workspaces.retain(|workspace| workspace.id == *named);
    }
    let document = json!({ "schema": "yoi.backend-status/1", "workspaces": workspaces, "runtimes": runtimes });
    output.result(&document, || text(&workspaces, &runtimes));
    Ok(ExitCode::SUCCESS)
}

/// Formats the condition of each Runtime for each workspace.
pub(super) fn text(workspaces: &[WorkspaceView], runtimes: &[RuntimeView]) -> String {
    if workspaces.is_empty() {
        return "no workspaces; write a table [workspaces.ID] in the config of the Backend\n".to_owned();
    }
    let mut text = String::new();
    for workspace in workspaces {
        let mut rows = Rows::default();
        match &workspace.desired {
            Some(desired) => {
                let part = match (&desired.rollout, workspace.halted) {
                    (Some(rollout), true) => format!(", for {}, halted", rollout.stage),
                    (Some(rollout), false) => format!(", for {}", rollout.stage),
                    (None, _) => String::new(),
                };
                let generation = format!("generation {}{part}", desired.target.generation);
                rows.noted(workspace.id.as_ref(), desired.target.bundle, generation);
            }
            None => rows.row(workspace.id.as_ref(), "no desired bundle"),
        }
        if let Some(about) = &workspace.about {
            let repository = Some(about.repository.as_str()).filter(|text| !text.is_empty());
            let description = Some(about.description.as_str()).filter(|text| !text.is_empty());
            let line: Vec<&str> = [Some(about.name.as_str()).filter(|text| !text.is_empty()), description, repository]
                .into_iter()
                .flatten()
                .collect();
            if !line.is_empty() {
                rows.row("", line.join(" · "));
            }
        }
        for (runtime, pair) in pairs(runtimes, &workspace.id) {
            let (word, note) = condition(pair);
            rows.noted(&format!("  {}", runtime.name), word, note);
        }
        text.push_str(&rows.into_text());
    }
    text
}

/// Returns the Runtimes with what is known of the workspace there.
pub(super) fn pairs<'a>(
    runtimes: &'a [RuntimeView],
    workspace: &'a WorkspaceId,
) -> impl Iterator<Item = (&'a RuntimeView, &'a PairView)> {
    runtimes.iter().filter_map(move |runtime| Some((runtime, runtime.workspaces.get(workspace)?)))
}

/// Returns the condition in words, and a note.
fn condition(pair: &PairView) -> (String, String) {
    let behind = match &pair.acknowledged {
        Some(state) => format!("has generation {}", state.generation),
        None => String::new(),
    };
    match pair.condition {
        Condition::InSync => ("in sync".to_owned(), String::new()),
        Condition::Pending => ("pending".to_owned(), behind),
        Condition::Ahead => ("ahead".to_owned(), behind),
        Condition::NotAllowed => ("not allowed".to_owned(), "by the policy: yoi backend explain".to_owned()),
        Condition::NothingDesired => ("nothing desired".to_owned(), String::new()),
        Condition::Unknown => ("not read yet".to_owned(), String::new()),
        Condition::Refused { code } => (format!("refused [{}]", code.as_str()), behind),
        Condition::Unavailable(failure) => {
            (format!("{} [{}]", failure.word(), failure.code.as_str()), format!("since {}", time(failure.since)))
        }
    }
}
