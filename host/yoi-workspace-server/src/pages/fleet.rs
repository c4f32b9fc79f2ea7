//! `/`: all Runtimes and the workspaces on them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use backend_api::body::WorkspaceView;
use backend_api::desired::Stage;
use backend_api::fleet::{ContactFailure, RuntimeView};
use bundles::{RuntimeName, WorkspaceId};
use maud::{Markup, html};
use runtime_api::desired::Generation;

use super::access::Visitor;
use super::layout::{Section, document, page};
use super::live::visible_digest;
use super::problem::PageProblem;
use super::words::{ConditionView, LEGEND, Word, failure};
use crate::service::BackendState;

/// Content of the page.
#[derive(Debug)]
struct FleetView {
    workspaces: Vec<Column>,
    runtimes: Vec<Row>,
}

#[derive(Debug)]
struct Column {
    id: WorkspaceId,
    generation: Option<Generation>,
    stage: Option<Stage>,
    halted: bool,
}

#[derive(Debug)]
struct Row {
    name: RuntimeName,
    failure: Option<ContactFailure>,
    /// One condition for each workspace, in the same order.
    conditions: Vec<Option<ConditionView>>,
}

impl FleetView {
    fn new(workspaces: &[WorkspaceView], runtimes: &[RuntimeView]) -> Self {
        let column = |workspace: &WorkspaceView| Column {
            id: workspace.id.clone(),
            generation: workspace.desired.as_ref().map(|desired| desired.target.generation),
            stage: workspace.desired.as_ref().and_then(|desired| Some(desired.rollout.as_ref()?.stage.clone())),
            halted: workspace.halted,
        };
        let columns: Vec<Column> = workspaces.iter().map(column).collect();
        let row = |runtime: &RuntimeView| Row {
            name: runtime.name.clone(),
            failure: runtime.failure,
            conditions: columns.iter().map(|column| Some(runtime.workspaces.get(&column.id)?.into())).collect(),
        };
        let runtimes = runtimes.iter().map(row).collect();
        Self { workspaces: columns, runtimes }
    }

    /// Returns how often each condition occurs, in the order of the legend.
    fn counts(&self) -> Vec<(Word, usize)> {
        let mut counts = BTreeMap::new();
        for condition in self.runtimes.iter().flat_map(|row| row.conditions.iter().flatten()) {
            *counts.entry(condition.word()).or_default() += 1;
        }
        LEGEND.iter().filter_map(|(word, _)| Some((*word, *counts.get(word)?))).collect()
    }

    fn render(&self, only_attention: bool) -> Markup {
        let needing = self.runtimes.iter().filter(|row| row.needs_attention()).count();
        html! {
            h1 { "Fleet" }
            @for column in self.workspaces.iter().filter(|column| column.halted) {
                p.notice.bad {
                    span.symbol aria-hidden="true" { "✕" } " The rollout of "
                    a href={ "/workspaces/" (column.id) } { (column.id) } " is halted, because a Runtime refuses the bundle."
                }
            }
            ul.counts {
                @for (word, count) in self.counts() { li class=(word.class) { (word.render()) ": " strong { (count) } } }
            }
            @if !self.runtimes.is_empty() {
                nav.filter aria-label="Rows of the table" {
                    a href="/" aria-current=[(!only_attention).then_some("page")] { "All Runtimes (" (self.runtimes.len()) ")" }
                    a href="/?show=attention" aria-current=[only_attention.then_some("page")] {
                        "Needs attention (" (needing) ")"
                    }
                }
            }
            @if self.runtimes.is_empty() {
                p { "The Backend has no Runtimes. Add a table [runtimes.NAME] to its config." }
            } @else if only_attention && needing == 0 {
                p { "No Runtime needs attention." }
            } @else {
                (self.table(only_attention))
            }
            details {
                summary { "Meaning of the words" }
                dl { @for (word, meaning) in LEGEND { dt class=(word.class) { (word.render()) } dd { (meaning) } } }
            }
        }
    }

    fn table(&self, only_attention: bool) -> Markup {
        html! {
            div.scroll role="region" aria-labelledby="matrix" tabindex="0" {
                table.matrix {
                    caption #matrix { "Workspaces on Runtimes" }
                    thead {
                        tr {
                            th scope="col" { "Runtime" }
                            @for column in &self.workspaces {
                                th scope="col" {
                                    a href={ "/workspaces/" (column.id) } { (column.id) }
                                    span.why {
                                        @match column.generation {
                                            Some(generation) => { "generation " (generation) }
                                            None => { "nothing desired" }
                                        }
                                        @if let Some(stage) = &column.stage { ", rollout to " (stage) }
                                        @if column.halted { ", " strong { "halted" } }
                                    }
                                }
                            }
                        }
                    }
                    tbody {
                        @for row in self.runtimes.iter().filter(|row| !only_attention || row.needs_attention()) {
                            (row.render())
                        }
                    }
                }
            }
        }
    }
}

impl Row {
    fn needs_attention(&self) -> bool {
        self.failure.is_some() || self.conditions.iter().flatten().any(ConditionView::needs_attention)
    }

    fn render(&self) -> Markup {
        html! {
            tr {
                th scope="row" {
                    a href={ "/runtimes/" (self.name) } { (self.name) }
                    @if let Some(failure) = &self.failure && self.conditions.is_empty() { (self::failure(failure)) }
                }
                @for condition in &self.conditions {
                    @match condition {
                        Some(condition) => { td class=(condition.word().class) { (condition.render()) } }
                        None => { td {} }
                    }
                }
            }
        }
    }
}

/// Renders the page of a fleet without a session, for the benchmark.
pub fn render_fleet(workspaces: &[WorkspaceView], runtimes: &[RuntimeView]) -> String {
    document("Fleet", None, None, FleetView::new(workspaces, runtimes).render(false)).into_string()
}

/// Shows the fleet.
pub(super) async fn show(
    State(state): State<BackendState>,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, PageProblem> {
    let digest = visible_digest(&state.backend, &visitor.session);
    let readable = visitor.session.readable(&state.backend);
    let mut workspaces = Vec::new();
    for workspace in &readable {
        workspaces.push(state.backend.workspace(workspace).await?);
    }
    let view = FleetView::new(&workspaces, &state.backend.runtimes(&readable));
    let content = view.render(uri.query() == Some("show=attention"));
    Ok(page(&visitor, Section::Fleet, "Fleet", digest, content))
}
