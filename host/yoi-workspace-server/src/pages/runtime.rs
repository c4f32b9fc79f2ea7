//! `/runtimes/{name}`: a Runtime, what it reports, and why which workspaces may be there.

use std::fmt;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use backend_api::body::{Explanation, Sentence};
use backend_api::fleet::{Access, ContactFailure, RuntimeReport, RuntimeView};
use backend_api::policy::Labels;
use bundles::{Digest, RuntimeName, WorkspaceId};
use jiff::Timestamp;
use maud::{Markup, html};
use runtime_api::Code;
use runtime_api::desired::Generation;
use runtime_api::runtime::RuntimeId;
use runtime_service::ApiProblem;

use super::access::{FormPost, NoFields, Visitor};
use super::layout::{Section, hidden, page};
use super::live::visible_digest;
use super::problem::{PageProblem, sentence};
use super::words::{ConditionView, failure, instant, labels, short, ticked};
use crate::service::BackendState;

/// Content of the page.
#[derive(Debug)]
struct RuntimePage {
    name: RuntimeName,
    access: Access,
    labels: Labels,
    last_seen: Option<Timestamp>,
    failure: Option<ContactFailure>,
    report: Option<ReportView>,
    workspaces: Vec<WorkspaceRow>,
}

/// Report of a Runtime about itself. No field can hold a text of the Runtime.
#[derive(Debug)]
struct ReportView {
    id: RuntimeId,
    version: Option<Release>,
    /// Worlds that this program knows, with their versions.
    worlds: Vec<(&'static str, Release)>,
    other_worlds: usize,
    active_resolver: Digest,
}

/// A version without its texts.
#[derive(Debug, Clone, Copy)]
struct Release {
    major: u64,
    minor: u64,
    patch: u64,
    is_prerelease: bool,
}

/// Worlds that this program knows, without versions.
const WORLDS: [&str; 3] = ["yoi:runtime/resolver", "yoi:runtime/service", "yoi:runtime/tool"];

impl Release {
    fn parse(text: &str) -> Option<Self> {
        let semver::Version { major, minor, patch, pre, .. } = text.parse().ok()?;
        Some(Self { major, minor, patch, is_prerelease: !pre.is_empty() })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, is_prerelease } = self;
        write!(f, "{major}.{minor}.{patch}{}", if *is_prerelease { " (pre-release)" } else { "" })
    }
}

#[derive(Debug)]
struct WorkspaceRow {
    id: WorkspaceId,
    condition: ConditionView,
    desired: Option<(Digest, Generation)>,
    acknowledged: Option<(Digest, Generation)>,
    last_good: Option<Digest>,
    sentences: Vec<(bool, Sentence)>,
}

impl From<RuntimeReport> for ReportView {
    fn from(report: RuntimeReport) -> Self {
        let known = |world: &String| {
            let (name, version) = world.split_once('@')?;
            Some((WORLDS.into_iter().find(|known| *known == name)?, Release::parse(version)?))
        };
        let worlds: Vec<_> = report.worlds.iter().filter_map(known).collect();
        Self {
            version: Release::parse(&report.version),
            other_worlds: report.worlds.len() - worlds.len(),
            worlds,
            id: report.id,
            active_resolver: report.active_resolver,
        }
    }
}

impl RuntimePage {
    fn new(runtime: RuntimeView, explain: impl Fn(&WorkspaceId) -> Option<Explanation>) -> Self {
        let row = |(id, pair): (&WorkspaceId, &backend_api::fleet::PairView)| {
            let Explanation { decision, sentences } = explain(id)?;
            Some(WorkspaceRow {
                id: id.clone(),
                condition: pair.into(),
                desired: pair.desired.map(|state| (state.bundle, state.generation)),
                acknowledged: pair.acknowledged.map(|state| (state.bundle, state.generation)),
                last_good: pair.last_good.map(|state| state.bundle),
                sentences: decision.findings.iter().map(|finding| finding.allowed).zip(sentences).collect(),
            })
        };
        Self {
            workspaces: runtime.workspaces.iter().filter_map(row).collect(),
            name: runtime.name,
            access: runtime.access,
            labels: runtime.labels,
            last_seen: runtime.last_seen,
            failure: runtime.failure,
            report: runtime.report.map(ReportView::from),
        }
    }

    fn render(&self, visitor: &Visitor) -> Markup {
        html! {
            h1 { "Runtime " code { (self.name) } }
            dl.facts {
                dt { "Condition" }
                dd {
                    @match (&self.failure, &self.last_seen) {
                        (Some(failure), _) => { (self::failure(failure)) }
                        (None, Some(_)) => { span.good { span.symbol aria-hidden="true" { "✓" } " answers" } }
                        (None, None) => { "not read yet" }
                    }
                }
                dt { "Last answer" }
                dd { @match self.last_seen { Some(time) => { (instant(time)) } None => { "never" } } }
                dt { "Access" }
                dd { (access_words(self.access)) }
                dt { "Labels for the policy" }
                dd { (labels(&self.labels)) }
                @if let Some(report) = &self.report { (report.render()) }
            }
            @if visitor.session.is_admin() {
                form method="post" action={ "/runtimes/" (self.name) "/read" } {
                    (hidden(visitor))
                    button type="submit" { "Read again now" }
                }
            }
            (self.render_workspaces())
            section aria-labelledby="policy" {
                h2 #policy { "Policy" }
                @for row in &self.workspaces { (row.render_policy()) }
            }
        }
    }

    fn render_workspaces(&self) -> Markup {
        html! {
            section aria-labelledby="workspaces" {
                h2 #workspaces { "Workspaces" }
                @if self.workspaces.is_empty() { p { "There is no workspace that you may read." } } @else {
                    div.scroll role="region" aria-labelledby="workspaces" tabindex="0" {
                        table {
                            thead {
                                tr {
                                    th scope="col" { "Workspace" }
                                    th scope="col" { "Condition" }
                                    th scope="col" { "Desired" }
                                    th scope="col" { "Acknowledged" }
                                    th scope="col" { "Last good" }
                                }
                            }
                            tbody { @for row in &self.workspaces { (row.render()) } }
                        }
                    }
                }
            }
        }
    }
}

fn access_words(access: Access) -> &'static str {
    match access {
        Access::Embedded => "in the process of the Backend",
        Access::Remote => "through its HTTP API",
        Access::Pulled => "the Runtime polls the Backend",
    }
}

impl ReportView {
    fn render(&self) -> Markup {
        html! {
            dt { "Id" }
            dd { code { (self.id) } }
            dt { "Version" }
            dd { @match &self.version { Some(version) => { (version) } None => { "not a version" } } }
            dt { "Worlds" }
            dd {
                @for (world, version) in &self.worlds { code.label { (world) "@" (version) } " " }
                @if self.other_worlds > 0 { (self.other_worlds) " that this program does not know" }
            }
            dt { "Active resolver" }
            dd { (short(&self.active_resolver)) }
        }
    }
}

fn state(state: Option<&(Digest, Generation)>) -> Markup {
    html! {
        @match state {
            Some((bundle, generation)) => { (short(bundle)) span.why { "generation " (generation) } }
            None => { "nothing" }
        }
    }
}

impl WorkspaceRow {
    fn render(&self) -> Markup {
        html! {
            tr {
                th scope="row" { a href={ "/workspaces/" (self.id) } { (self.id) } }
                td class=(self.condition.word().class) { (self.condition.render()) }
                td { (state(self.desired.as_ref())) }
                td { (state(self.acknowledged.as_ref())) }
                td { @match &self.last_good { Some(bundle) => { (short(bundle)) } None => { "nothing" } } }
            }
        }
    }

    fn render_policy(&self) -> Markup {
        let is_allowed = self.sentences.iter().all(|(allowed, _)| *allowed);
        html! {
            h3 { "Workspace " code { (self.id) } @if is_allowed { " is allowed" } @else { " is not allowed" } }
            ul.findings {
                @for (allowed, sentence) in &self.sentences {
                    li class=(if *allowed { "good" } else { "bad" }) {
                        span.symbol aria-hidden="true" { @if *allowed { "✓" } @else { "✕" } }
                        span { " " (self::sentence(&sentence.text)) }
                        @if let Some(help) = &sentence.help { span.why { "To allow it: " (ticked(help)) "." } }
                    }
                }
            }
        }
    }
}

fn parse(segment: &str) -> Result<RuntimeName, PageProblem> {
    segment.parse().map_err(|_| {
        ApiProblem::new(Code::RuntimeNotFound, "the Runtime does not exist", "see the Runtimes of the fleet").into()
    })
}

/// Shows a Runtime.
pub(super) async fn show(
    State(state): State<BackendState>,
    visitor: Visitor,
    Path(runtime): Path<String>,
) -> Result<Response, PageProblem> {
    let name = parse(&runtime)?;
    let digest = visible_digest(&state.backend, &visitor.session);
    let view = state.backend.runtime(&name, &visitor.session.readable(&state.backend))?;
    let explain = |workspace: &WorkspaceId| Some(state.backend.explain(&name, workspace).ok()?.into());
    let content = RuntimePage::new(view, explain).render(&visitor);
    Ok(page(&visitor, Section::Other, &format!("Runtime {name}"), digest, content))
}

/// Reads the status of a Runtime at once.
pub(super) async fn read(
    State(state): State<BackendState>,
    Path(runtime): Path<String>,
    FormPost { visitor, .. }: FormPost<NoFields>,
) -> Result<Response, PageProblem> {
    visitor.require_admin()?;
    let name = parse(&runtime)?;
    state.backend.read_runtime(&visitor.session.actor(), &name).await?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, format!("/runtimes/{name}"))]).into_response())
}
