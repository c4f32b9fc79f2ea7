//! `/workspaces/{id}/workers`: the workers of a workspace, and for each worker where its values come from and what its Runtime
//! refused.

use axum::extract::{Path, State};
use axum::response::Response;
use backend_api::refusal::RefusedSubject;
use backend_api::token::BackendScope;
use backend_api::worker::{UnavailableRuntime, WorkerViewPage};
use bundles::{Digest, RuntimeName, WorkspaceId};
use host_policy::ProfileSelector;
use host_policy::explain::{Explanation, LayerEffect};
use jiff::Timestamp;
use maud::{Markup, html};
use runtime_api::Code;
use runtime_api::worker::{WorkerId, WorkerState};
use runtime_service::ApiProblem;
use serde::Deserialize;
use serde_json::Value;

use super::access::{PageQuery, Visitor};
use super::layout::{Section, page};
use super::live::visible_digest;
use super::problem::{PageProblem, sentence};
use super::words::{instant, short, ticked};
use crate::service::BackendState;
use crate::workers::{ExplainedValue, ExplainedWorker};

/// Workers of a page.
const MAX_WORKERS: usize = 100;

/// A worker without its resolution.
#[derive(Debug)]
struct WorkerRow {
    id: WorkerId,
    runtime: RuntimeName,
    profile: ProfileSelector,
    bundle: Digest,
    created_at: Timestamp,
    state: WorkerState,
}

impl From<backend_api::worker::WorkerView> for WorkerRow {
    fn from(view: backend_api::worker::WorkerView) -> Self {
        let worker = view.worker;
        Self {
            id: worker.id,
            runtime: view.runtime,
            profile: worker.request.profile,
            bundle: worker.bundle,
            created_at: worker.created_at,
            state: worker.state,
        }
    }
}

/// Content of the list of workers.
#[derive(Debug)]
struct WorkerListPage {
    workspace: WorkspaceId,
    workers: Vec<WorkerRow>,
    next: Option<WorkerId>,
    unavailable: Vec<UnavailableRuntime>,
}

/// Content of the page of a worker.
#[derive(Debug)]
struct WorkerPage {
    workspace: WorkspaceId,
    worker: WorkerRow,
    resolver: Digest,
    values: Vec<ExplainedValue>,
    refused: Option<Vec<RefusedSubject>>,
}

/// Renders a state. The texts of a suspension are those of the Backend.
fn state(state: &WorkerState) -> Markup {
    html! {
        @match state {
            WorkerState::Running => { span.good { span.symbol aria-hidden="true" { "✓" } " running" } }
            WorkerState::Suspended(suspension) => {
                span.warn { span.symbol aria-hidden="true" { "!" } " suspended" }
                span.why { (sentence(&suspension.detail)) }
            }
            WorkerState::Stopped { .. } => { span.none { span.symbol aria-hidden="true" { "–" } " stopped" } }
        }
    }
}

impl WorkerListPage {
    fn render(&self) -> Markup {
        html! {
            h1 { "Workers of " a href={ "/workspaces/" (self.workspace) } { (self.workspace) } }
            @for UnavailableRuntime { runtime, code } in &self.unavailable {
                p.notice.warn {
                    span.symbol aria-hidden="true" { "!" }
                    " The workers of Runtime " code { (runtime) } " cannot be listed (" code { (code) } ")."
                }
            }
            @if self.workers.is_empty() {
                p { "No worker was created through the Backend." }
            } @else {
                div.scroll role="region" aria-label="Workers" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Worker" }
                                th scope="col" { "State" }
                                th scope="col" { "Profile" }
                                th scope="col" { "Runtime" }
                                th scope="col" { "Bundle" }
                                th scope="col" { "Created" }
                            }
                        }
                        tbody { @for row in &self.workers { (self.render_row(row)) } }
                    }
                }
            }
            @if let Some(next) = &self.next {
                p { a href={ "/workspaces/" (self.workspace) "/workers?after=" (next) } { "More workers" } }
            }
        }
    }

    fn render_row(&self, row: &WorkerRow) -> Markup {
        html! {
            tr {
                th scope="row" { a href={ "/workspaces/" (self.workspace) "/workers/" (row.id) } { (row.id) } }
                td { (state(&row.state)) }
                td { code { (row.profile) } }
                td { a href={ "/runtimes/" (row.runtime) } { (row.runtime) } }
                td { (short(&row.bundle)) }
                td { (instant(row.created_at)) }
            }
        }
    }
}

impl WorkerPage {
    fn new(workspace: WorkspaceId, explained: ExplainedWorker) -> Self {
        let ExplainedWorker { view, values, refused } = explained;
        Self { workspace, resolver: view.worker.resolver, worker: view.into(), values, refused }
    }

    fn render(&self) -> Markup {
        let worker = &self.worker;
        html! {
            h1 { "Worker " code { (worker.id) } }
            dl.facts {
                dt { "State" }
                dd { (state(&worker.state)) }
                dt { "Profile" }
                dd { code { (worker.profile) } " of " a href={ "/workspaces/" (self.workspace) } { (self.workspace) } }
                dt { "Runtime" }
                dd { a href={ "/runtimes/" (worker.runtime) } { (worker.runtime) } }
                dt { "Bundle" }
                dd { (short(&worker.bundle)) }
                dt { "Resolver" }
                dd { (short(&self.resolver)) }
                dt { "Created" }
                dd { (instant(worker.created_at)) }
            }
            (self.render_refused())
            (self.render_values())
        }
    }

    fn render_refused(&self) -> Markup {
        html! {
            section aria-labelledby="refused" {
                h2 #refused { "Refused by the Runtime" }
                @match self.refused.as_deref() {
                    None => { p { "The worker does not run, so it has no authority at all." } }
                    Some([]) => { p { "Nothing. The Runtime grants everything that the profile selects." } }
                    Some(refused) => {
                        ul.findings {
                            @for one in refused {
                                li.bad {
                                    span.symbol aria-hidden="true" { "✕" }
                                    " " code { (one.subject) } span.why { "rule " code { (one.rule) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn render_values(&self) -> Markup {
        html! {
            section aria-labelledby="values" {
                h2 #values { "Values and their origins" }
                p { "The values of the profile when the worker was created, and the layers of the profile's lineage that set them." }
                div.scroll role="region" aria-labelledby="values" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Value" }
                                th scope="col" { "Origin" }
                                th scope="col" { "Layers" }
                            }
                        }
                        tbody { @for value in &self.values { (render_value(value)) } }
                    }
                }
            }
        }
    }
}

/// Characters of a value that are shown. The API has the whole value.
const SHOWN_CHARS: usize = 200;

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn render_value(value: &ExplainedValue) -> Markup {
    let ExplainedValue { explanation, refused } = value;
    let Explanation { subject, value, verdict, layers, .. } = explanation;
    html! {
        tr {
            th scope="row" {
                (ticked(subject))
                @if let Some(value) = value { span.why { code { (cut(value)) } } }
            }
            td class=[refused.as_ref().map(|_| "bad")] {
                (ticked(verdict))
                @if let Some(refused) = refused {
                    span.why { span.symbol aria-hidden="true" { "✕" } " refused: " code { (refused.rule) } }
                }
            }
            td { @for layer in layers { (render_layer(layer)) } }
        }
    }
}

fn render_layer(effect: &LayerEffect) -> Markup {
    let LayerEffect { profile, layer, says, won, unmet } = effect;
    html! {
        span.why {
            code { (profile) } ", layer " (layer) ": " (ticked(says))
            @if *won { " " strong { "(set the value)" } }
            @if let Some(unmet) = unmet { ", but " code { (unmet) } " does not hold" }
        }
    }
}

/// Position in the list of workers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    after: Option<WorkerId>,
}

/// Shows the workers of a workspace.
pub(super) async fn list(
    State(state): State<BackendState>,
    visitor: Visitor,
    Path(workspace): Path<String>,
    PageQuery(query): PageQuery<ListQuery>,
) -> Result<Response, PageProblem> {
    let workspace = visitor.workspace(&workspace, BackendScope::Read)?;
    let digest = visible_digest(&state.backend, &visitor.session);
    let WorkerViewPage { workers, next, unavailable } =
        state.backend.workers(&workspace, query.after.as_ref(), MAX_WORKERS).await?;
    let title = format!("Workers of {workspace}");
    let workers = workers.into_iter().map(WorkerRow::from).collect();
    let content = WorkerListPage { workspace, workers, next, unavailable }.render();
    Ok(page(&visitor, Section::Other, &title, digest, content))
}

/// Shows a worker.
pub(super) async fn show(
    State(state): State<BackendState>,
    visitor: Visitor,
    Path((workspace, worker)): Path<(String, String)>,
) -> Result<Response, PageProblem> {
    let workspace = visitor.workspace(&workspace, BackendScope::Read)?;
    let id: WorkerId = worker.parse().map_err(|_| {
        ApiProblem::new(Code::WorkerNotFound, "the worker does not exist", "see the workers of the workspace")
    })?;
    let digest = visible_digest(&state.backend, &visitor.session);
    let explained = state.backend.explain_worker(&workspace, &id).await?;
    let content = WorkerPage::new(workspace, explained).render();
    Ok(page(&visitor, Section::Other, &format!("Worker {id}"), digest, content))
}
