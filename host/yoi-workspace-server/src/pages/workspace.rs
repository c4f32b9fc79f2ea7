//! `/workspaces/{id}`: desired state, revisions and their differences, and the operations on them.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use backend_api::body::{AdvanceRequest, SetDesiredRequest, WorkspaceMetadata, WorkspaceView};
use backend_api::desired::{Percent, Stage};
use backend_api::fleet::RuntimeView;
use backend_api::policy::Labels;
use backend_api::token::BackendScope;
use bundles::comparison::{ManifestChange, changes};
use bundles::{Digest, Revision, RuntimeName, WorkspaceId};
use jiff::Timestamp;
use maud::{Markup, html};
use runtime_api::Code;
use runtime_api::bundle::BundleSummary;
use runtime_api::desired::Generation;
use runtime_service::ApiProblem;
use serde::Deserialize;

use super::access::{FormPost, NoFields, PageQuery, Visitor};
use super::layout::{Section, hidden, page};
use super::live::visible_digest;
use super::problem::PageProblem;
use super::words::{ConditionView, instant, labels, short};
use crate::backend::Backend;
use crate::service::BackendState;

/// Maximum number of revisions that the page shows. The API has all.
const MAX_REVISIONS: usize = 50;

/// Content of the page.
#[derive(Debug)]
struct WorkspacePage {
    id: WorkspaceId,
    labels: Labels,
    desired: Option<DesiredView>,
    about: Option<WorkspaceMetadata>,
    runtimes: Vec<RuntimeRow>,
    revisions: Vec<RevisionView>,
    total_revisions: usize,
    /// Bundle to which a roll-back leads.
    earlier: Option<(Digest, Revision)>,
    comparison: Option<Comparison>,
    can_publish: bool,
}

#[derive(Debug)]
struct DesiredView {
    bundle: Digest,
    revision: Option<Revision>,
    generation: Generation,
    stage: Option<Stage>,
    halted: bool,
}

#[derive(Debug)]
struct RuntimeRow {
    name: RuntimeName,
    condition: ConditionView,
    acknowledged: Option<(Digest, Generation)>,
    last_good: Option<Digest>,
}

#[derive(Debug)]
struct RevisionView {
    revision: Revision,
    digest: Digest,
    stored_at: Timestamp,
    signatures: usize,
    revoked_at: Option<Timestamp>,
    standing: Standing,
}

/// Role of a revision in the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Desired,
    /// Desired for the Runtimes that a rollout has not reached.
    Previous,
    Earlier,
    NeverDesired,
}

impl Standing {
    fn of(digest: Digest, workspace: &WorkspaceView) -> Self {
        let desired = workspace.desired.as_ref();
        let previous = desired.and_then(|desired| desired.rollout.as_ref()?.previous);
        match digest {
            digest if desired.is_some_and(|desired| desired.target.bundle == digest) => Self::Desired,
            digest if previous.is_some_and(|previous| previous.bundle == digest) => Self::Previous,
            digest if workspace.earlier.contains(&digest) => Self::Earlier,
            _ => Self::NeverDesired,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Desired => "desired",
            Self::Previous => "desired until the rollout arrives",
            Self::Earlier => "desired before",
            Self::NeverDesired => "published",
        }
    }
}

/// Difference of two revisions.
#[derive(Debug)]
struct Comparison {
    from: Revision,
    to: Revision,
    changes: Vec<ManifestChange>,
}

/// The revisions that the page compares.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CompareQuery {
    from: Option<Revision>,
    to: Option<Revision>,
}

impl WorkspacePage {
    async fn read(
        backend: &Backend,
        id: &WorkspaceId,
        query: &CompareQuery,
        can_publish: bool,
    ) -> Result<Self, PageProblem> {
        let workspace = backend.workspace(id).await?;
        let bundles = backend.bundles(id).await?;
        let runtimes = backend.runtimes(&[id.clone()].into());
        let comparison = match (query.from, query.to) {
            (Some(from), Some(to)) => Some(Comparison::read(backend, id, &bundles, from, to).await?),
            _ => None,
        };
        Ok(Self::new(workspace, &bundles, &runtimes, comparison, can_publish))
    }

    fn new(
        workspace: WorkspaceView,
        bundles: &[BundleSummary],
        runtimes: &[RuntimeView],
        comparison: Option<Comparison>,
        can_publish: bool,
    ) -> Self {
        let revisions: BTreeMap<Digest, &BundleSummary> = bundles.iter().map(|one| (one.digest, one)).collect();
        let usable = |digest: &Digest| revisions.get(digest).filter(|bundle| bundle.revoked_at.is_none());
        let earlier = workspace.earlier.iter().find_map(|digest| Some((*digest, usable(digest)?.revision)));
        let revision = |bundle: &BundleSummary| RevisionView {
            revision: bundle.revision,
            digest: bundle.digest,
            stored_at: bundle.stored_at,
            signatures: bundle.signed_by.len(),
            revoked_at: bundle.revoked_at,
            standing: Standing::of(bundle.digest, &workspace),
        };
        let row = |runtime: &RuntimeView| {
            let pair = runtime.workspaces.get(&workspace.id)?;
            Some(RuntimeRow {
                name: runtime.name.clone(),
                condition: pair.into(),
                acknowledged: pair.acknowledged.map(|state| (state.bundle, state.generation)),
                last_good: pair.last_good.map(|state| state.bundle),
            })
        };
        let desired = workspace.desired.as_ref().map(|desired| DesiredView {
            bundle: desired.target.bundle,
            revision: revisions.get(&desired.target.bundle).map(|bundle| bundle.revision),
            generation: desired.target.generation,
            stage: desired.rollout.as_ref().map(|rollout| rollout.stage.clone()),
            halted: workspace.halted,
        });
        Self {
            desired,
            about: workspace.about.clone(),
            runtimes: runtimes.iter().filter_map(row).collect(),
            revisions: bundles.iter().take(MAX_REVISIONS).map(revision).collect(),
            total_revisions: bundles.len(),
            earlier,
            comparison,
            can_publish,
            labels: workspace.labels,
            id: workspace.id,
        }
    }

    fn render(&self, visitor: &Visitor) -> Markup {
        html! {
            h1 { "Workspace " code { (self.id) } }
            @if let Some(desired) = &self.desired && desired.halted {
                p.notice.bad {
                    span.symbol aria-hidden="true" { "✕" }
                    " The rollout is halted, because a Runtime refuses the bundle. Repair the bundle or the Runtime, or roll back."
                }
            }
            (self.render_facts())
            @if self.can_publish && !self.revisions.is_empty() { (self.render_actions(visitor)) }
            (self.render_runtimes(visitor))
            p { a href={ "/workspaces/" (self.id) "/workers" } { "Workers of the workspace" } }
            (self.render_revisions())
            @if let Some(comparison) = &self.comparison { (comparison.render()) }
        }
    }

    fn render_facts(&self) -> Markup {
        html! {
            dl.facts {
                dt { "Desired" }
                dd {
                    @match &self.desired {
                        None => { "nothing yet" }
                        Some(desired) => {
                            @if let Some(revision) = desired.revision { "revision " strong { (revision) } ", " }
                            (short(&desired.bundle)) ", generation " (desired.generation)
                        }
                    }
                }
                @if let Some(DesiredView { stage: Some(stage), .. }) = &self.desired {
                    dt { "Rollout" }
                    dd { "has reached " (stage) " of the Runtimes" }
                }
                dt { "Labels for the policy" }
                dd { (labels(&self.labels)) }
                @if let Some(about) = &self.about { (render_about(about)) }
            }
        }
    }

    fn render_actions(&self, visitor: &Visitor) -> Markup {
        let action = |name: &str| format!("/workspaces/{}/{name}", self.id);
        let generation = self.desired.as_ref().map(|desired| desired.generation);
        let fields = html! {
            (hidden(visitor))
            @if let Some(generation) = generation { input type="hidden" name="generation" value=(generation); }
        };
        let rolling = self.desired.as_ref().filter(|desired| desired.stage.is_some());
        html! {
            section.actions aria-labelledby="actions" {
                h2 #actions { "Change" }
                @if let Some(desired) = rolling {
                    form method="post" action=(action("advance")) {
                        (fields)
                        label { "Share of the Runtimes in percent, or empty for all " (percent()) }
                        @if desired.halted {
                            label.check {
                                input type="checkbox" name="despite_refusals" value="true" required;
                                " although a Runtime refuses the bundle"
                            }
                        }
                        button type="submit" { "Advance the rollout" }
                    }
                }
                @if let Some((_, revision)) = self.earlier {
                    form method="post" action=(action("rollback")) {
                        (fields)
                        button type="submit" { "Roll back to revision " (revision) }
                    }
                }
                form method="post" action=(action("desired")) {
                    (fields)
                    label {
                        "Revision "
                        select name="bundle" {
                            @for one in self.revisions.iter().filter(|one| one.revoked_at.is_none()) {
                                option value=(one.digest) { (one.revision) " (" (one.standing.as_str()) ")" }
                            }
                        }
                    }
                    label { "First for a share of the Runtimes in percent, or empty for all " (percent()) }
                    button type="submit" { "Make desired" }
                }
            }
        }
    }

    fn render_runtimes(&self, visitor: &Visitor) -> Markup {
        html! {
            section aria-labelledby="runtimes" {
                h2 #runtimes { "On Runtimes" }
                div.scroll role="region" aria-labelledby="runtimes" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Runtime" }
                                th scope="col" { "Condition" }
                                th scope="col" { "Acknowledged" }
                                th scope="col" { "Last good" }
                            }
                        }
                        tbody { @for row in &self.runtimes { (self.render_runtime(row)) } }
                    }
                }
                @if self.can_publish {
                    form.inline method="post" action={ "/workspaces/" (self.id) "/sync" } {
                        (hidden(visitor))
                        button.plain type="submit" { "Read the Runtimes again now" }
                    }
                }
            }
        }
    }

    fn render_runtime(&self, row: &RuntimeRow) -> Markup {
        html! {
            tr {
                th scope="row" { a href={ "/runtimes/" (row.name) } { (row.name) } }
                td class=(row.condition.word().class) { (row.condition.render()) }
                td {
                    @match &row.acknowledged {
                        Some((bundle, generation)) => {
                            (self.render_bundle(bundle)) span.why { "generation " (generation) }
                        }
                        None => { "nothing" }
                    }
                }
                td {
                    @match &row.last_good {
                        Some(bundle) => { (self.render_bundle(bundle)) }
                        None => { "nothing" }
                    }
                }
            }
        }
    }

    /// Renders a bundle by its revision, or by its digest if its revision is not shown.
    fn render_bundle(&self, digest: &Digest) -> Markup {
        match self.revisions.iter().find(|one| one.digest == *digest) {
            Some(one) => html! { "revision " (one.revision) },
            None => short(digest),
        }
    }

    fn render_revisions(&self) -> Markup {
        let newest = self.revisions.first().map(|one| one.revision);
        let desired = self.desired.as_ref().and_then(|desired| desired.revision);
        html! {
            section aria-labelledby="revisions" {
                h2 #revisions { "Revisions" }
                @if self.revisions.is_empty() { p { "Nothing has been published." } } @else {
                    @if self.total_revisions > self.revisions.len() {
                        p { "The newest " (self.revisions.len()) " of " (self.total_revisions) " revisions." }
                    }
                    div.scroll role="region" aria-labelledby="revisions" tabindex="0" {
                        table {
                            thead {
                                tr {
                                    th scope="col" { "Revision" }
                                    th scope="col" { "State" }
                                    th scope="col" { "Published" }
                                    th scope="col" { "Bundle" }
                                    th scope="col" { "Signatures" }
                                }
                            }
                            tbody { @for one in &self.revisions { (self.render_revision(one)) } }
                        }
                    }
                    form.inline method="get" action={ "/workspaces/" (self.id) "#difference" } {
                        label { "Compare revision " (self.select("from", desired.or(newest))) }
                        label { "with " (self.select("to", newest)) }
                        button type="submit" { "Compare" }
                    }
                }
            }
        }
    }

    fn render_revision(&self, one: &RevisionView) -> Markup {
        html! {
            tr {
                th scope="row" { (one.revision) }
                td {
                    @match one.revoked_at {
                        Some(time) => { "revoked " (instant(time)) }
                        None if one.standing == Standing::Desired => { strong { (one.standing.as_str()) } }
                        None => { (one.standing.as_str()) }
                    }
                }
                td { (instant(one.stored_at)) }
                td { a href={ "/workspaces/" (self.id) "/bundles/" (one.digest) } { (short(&one.digest)) } }
                td { @if one.signatures == 0 { "none required" } @else { (one.signatures) } }
            }
        }
    }

    fn select(&self, name: &str, selected: Option<Revision>) -> Markup {
        let selected = self.comparison.as_ref().map(|one| if name == "from" { one.from } else { one.to }).or(selected);
        html! {
            select name=(name) {
                @for one in &self.revisions {
                    option value=(one.revision) selected[Some(one.revision) == selected] { (one.revision) }
                }
            }
        }
    }
}

fn percent() -> Markup {
    html! { input type="number" name="percent" min="1" max="99" inputmode="numeric"; }
}

/// Renders what the desired bundle says about the workspace, as rows of a list.
fn render_about(about: &WorkspaceMetadata) -> Markup {
    let WorkspaceMetadata { name, description, repository, labels } = about;
    html! {
        @if !name.is_empty() { dt { "Name" } dd { (name) } }
        @if !description.is_empty() { dt { "Description" } dd { (description) } }
        @if !repository.is_empty() { dt { "Repository" } dd { (repository) } }
        @if !labels.is_empty() {
            dt { "Labels in the bundle" }
            dd { @for (key, value) in labels { code.label { (key) "=" (value) } " " } }
        }
    }
}

impl Comparison {
    async fn read(
        backend: &Backend,
        id: &WorkspaceId,
        bundles: &[BundleSummary],
        from: Revision,
        to: Revision,
    ) -> Result<Self, PageProblem> {
        let digest = |revision| {
            let found = bundles.iter().find(|bundle| bundle.revision == revision).map(|bundle| bundle.digest);
            found.ok_or_else(|| {
                let detail = format!("revision {revision} not found");
                PageProblem::from(ApiProblem::new(Code::BundleNotFound, detail, "choose another revision"))
            })
        };
        let (before, after) = (backend.manifest(id, digest(from)?).await?, backend.manifest(id, digest(to)?).await?);
        Ok(Self { from, to, changes: changes(&before, &after) })
    }

    fn render(&self) -> Markup {
        html! {
            section aria-labelledby="difference" {
                h2 #difference { "From revision " (self.from) " to revision " (self.to) }
                @if self.changes.is_empty() { p { "The revisions are the same." } } @else {
                    div.scroll role="region" aria-labelledby="difference" tabindex="0" {
                        table.difference {
                            thead {
                                tr {
                                    th scope="col" { "Item" }
                                    th scope="col" { "Place" }
                                    th scope="col" { "Before" }
                                    th scope="col" { "After" }
                                }
                            }
                            tbody { @for change in &self.changes { (render_change(change)) } }
                        }
                    }
                }
            }
        }
    }
}

fn render_change(change: &ManifestChange) -> Markup {
    let item = html! { th scope="row" { (change.kind) " " (change.name) " " span.why { (change.change.as_str()) } } };
    html! {
        @if change.values.is_empty() { tr { (item) td {} td {} td {} } }
        @for value in &change.values {
            @let [before, after] = value.texts();
            tr { (item) td { code { (value.pointer) } } td { code { (before) } } td { code { (after) } } }
        }
    }
}

/// Shows a workspace.
pub(super) async fn show(
    State(state): State<BackendState>,
    visitor: Visitor,
    Path(workspace): Path<String>,
    PageQuery(query): PageQuery<CompareQuery>,
) -> Result<Response, PageProblem> {
    let workspace = visitor.workspace(&workspace, BackendScope::Read)?;
    let digest = visible_digest(&state.backend, &visitor.session);
    let can_publish = visitor.session.allows(BackendScope::Publish, &workspace);
    let content = WorkspacePage::read(&state.backend, &workspace, &query, can_publish).await?.render(&visitor);
    Ok(page(&visitor, Section::Other, &format!("Workspace {workspace}"), digest, content))
}

/// Fields of the forms that change the desired state.
#[derive(Debug, Deserialize)]
pub(super) struct ChangeFields {
    /// Generation that the page showed. Absent if nothing was desired.
    generation: Option<u64>,
    bundle: Option<Digest>,
    /// Share of the Runtimes. Empty or absent for all.
    #[serde(default)]
    percent: String,
    #[serde(default)]
    despite_refusals: bool,
}

impl ChangeFields {
    fn stage(&self) -> Result<Option<Stage>, PageProblem> {
        let text = self.percent.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let percent = text.parse::<u8>().ok().and_then(|number| Percent::try_from(number).ok());
        let percent = percent.ok_or_else(|| {
            let detail = "invalid percentage: expected a whole number from 1 to 99";
            ApiProblem::new(Code::InvalidRequest, detail, "go back and correct the form")
        })?;
        Ok(Some(Stage::Percent(percent)))
    }

    /// Returns the workspace of the form, if the person may change it and saw its present state.
    async fn check(&self, state: &BackendState, visitor: &Visitor, segment: &str) -> Result<WorkspaceId, PageProblem> {
        let workspace = visitor.workspace(segment, BackendScope::Publish)?;
        let desired = state.backend.workspace(&workspace).await?.desired;
        if desired.map(|desired| desired.target.generation.get()) == self.generation {
            return Ok(workspace);
        }
        let detail = "the desired state was changed after the page was loaded";
        Err(ApiProblem::new(Code::FormOutdated, detail, "look at the workspace again").into())
    }
}

/// Makes a bundle the desired one.
pub(super) async fn set_desired(
    State(state): State<BackendState>,
    Path(workspace): Path<String>,
    FormPost { visitor, fields, .. }: FormPost<ChangeFields>,
) -> Result<Response, PageProblem> {
    let workspace = fields.check(&state, &visitor, &workspace).await?;
    let bundle = fields.bundle.ok_or_else(|| {
        ApiProblem::new(Code::InvalidRequest, "the form names no bundle", "go back and choose a revision")
    })?;
    // The person chose the revision from a list, so an older one is meant.
    let request = SetDesiredRequest { bundle, allow_older: true, stage: fields.stage()? };
    state.backend.set_desired(&visitor.session.actor(), &workspace, &request).await?;
    Ok(see(&workspace))
}

/// Rolls back to the bundle that was desired before.
pub(super) async fn roll_back(
    State(state): State<BackendState>,
    Path(workspace): Path<String>,
    FormPost { visitor, fields, .. }: FormPost<ChangeFields>,
) -> Result<Response, PageProblem> {
    let workspace = fields.check(&state, &visitor, &workspace).await?;
    let shown = fields.generation.and_then(|generation| generation.try_into().ok());
    state.backend.roll_back_from(&visitor.session.actor(), &workspace, shown).await?;
    Ok(see(&workspace))
}

/// Moves a rollout on.
pub(super) async fn advance(
    State(state): State<BackendState>,
    Path(workspace): Path<String>,
    FormPost { visitor, fields, .. }: FormPost<ChangeFields>,
) -> Result<Response, PageProblem> {
    let workspace = fields.check(&state, &visitor, &workspace).await?;
    let request = AdvanceRequest { stage: fields.stage()?, despite_refusals: fields.despite_refusals };
    state.backend.advance(&visitor.session.actor(), &workspace, &request).await?;
    Ok(see(&workspace))
}

/// Reads the Runtimes of the workspace at once.
pub(super) async fn sync(
    State(state): State<BackendState>,
    Path(workspace): Path<String>,
    FormPost { visitor, .. }: FormPost<NoFields>,
) -> Result<Response, PageProblem> {
    let workspace = visitor.workspace(&workspace, BackendScope::Publish)?;
    state.backend.sync(&visitor.session.actor(), &workspace).await?;
    Ok(see(&workspace))
}

/// Returns the redirection to the page of a workspace.
fn see(workspace: &WorkspaceId) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("/workspaces/{workspace}"))]).into_response()
}
