//! `/audit`: the audit log, newest entry first.

use axum::extract::State;
use axum::response::Response;
use backend_api::audit::{Action, Actor, AuditEntry};
use bundles::{RuntimeName, WorkspaceId};
use maud::{Markup, html};
use serde::Deserialize;

use super::access::{PageQuery, Visitor};
use super::layout::{Section, page};
use super::live::visible_digest;
use super::problem::PageProblem;
use super::words::{instant, short};
use crate::service::BackendState;

/// Number of entries of a page.
const PAGE_ENTRIES: usize = 50;

/// The page of the log.
#[derive(Debug, Default, Deserialize)]
pub(super) struct BeforeQuery {
    before: Option<u64>,
}

/// Shows the audit log.
pub(super) async fn show(
    State(state): State<BackendState>,
    visitor: Visitor,
    PageQuery(BeforeQuery { before }): PageQuery<BeforeQuery>,
) -> Result<Response, PageProblem> {
    visitor.require_admin()?;
    let digest = visible_digest(&state.backend, &visitor.session);
    let entries = state.backend.newest_audit_entries(before, PAGE_ENTRIES).await?;
    Ok(page(&visitor, Section::Audit, "Audit log", digest, render(&entries, before.is_some())))
}

fn render(entries: &[AuditEntry], has_newer: bool) -> Markup {
    let older = entries.last().map(|entry| entry.number).filter(|number| *number > 1);
    html! {
        h1 #log { "Audit log" }
        @if entries.is_empty() { p { "There are no entries." } } @else {
            div.scroll role="region" aria-labelledby="log" tabindex="0" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Number" }
                            th scope="col" { "Time" }
                            th scope="col" { "Who" }
                            th scope="col" { "Action" }
                            th scope="col" { "Result" }
                        }
                    }
                    tbody { @for entry in entries { (row(entry)) } }
                }
            }
        }
        nav.filter aria-label="Pages of the log" {
            @if has_newer { a href="/audit" { "Newest" } }
            @if let Some(older) = older { a href={ "/audit?before=" (older) } { "Older" } }
        }
    }
}

fn row(entry: &AuditEntry) -> Markup {
    html! {
        tr {
            th scope="row" { (entry.number) }
            td { (instant(entry.at)) }
            td { (actor(&entry.actor)) }
            td { (action(&entry.action)) }
            @match entry.refused {
                Some(code) => { td.bad { span.symbol aria-hidden="true" { "✕" } " refused " code { (code) } } }
                None => { td.good { span.symbol aria-hidden="true" { "✓" } " done" } }
            }
        }
    }
}

fn actor(actor: &Actor) -> Markup {
    html! {
        @match actor {
            Actor::Backend => { "the Backend" }
            Actor::Local => { "the command line" }
            Actor::Token { token } => { "token " code { (token) } }
            Actor::Session { session, token } => {
                "session " code { (session) } span.why { "of token " code { (token) } }
            }
        }
    }
}

/// Renders where a worker is.
fn place(workspace: &WorkspaceId, runtime: Option<&RuntimeName>) -> Markup {
    html! {
        " of " code { (workspace) }
        @if let Some(runtime) = runtime { span.why { "on " code { (runtime) } } }
    }
}

fn action(action: &Action) -> Markup {
    html! {
        @match action {
            Action::Publish { workspace, bundle, revision } => {
                "published revision " (revision) " of " code { (workspace) } span.why { (short(bundle)) }
            }
            Action::SetDesired { workspace, bundle, generation, stage } => {
                "made a bundle of " code { (workspace) } " the desired one"
                span.why {
                    (short(bundle))
                    @if let Some(generation) = generation { ", generation " (generation) }
                    @if let Some(stage) = stage { ", first for " (stage) }
                }
            }
            Action::RollBack { workspace, bundle } => {
                "rolled " code { (workspace) } " back"
                @if let Some(bundle) = bundle { span.why { (short(bundle)) } }
            }
            Action::AdvanceRollout { workspace, stage } => {
                "advanced the rollout of " code { (workspace) }
                @match stage { Some(stage) => { " to " (stage) } None => { " to all Runtimes" } }
            }
            Action::RaiseGeneration { workspace, generation } => {
                "raised the generation of " code { (workspace) } " to " (generation)
            }
            Action::Sync { workspace } => { "read the Runtimes of " code { (workspace) } " again" }
            Action::ReadRuntime { runtime } => { "read " code { (runtime) } " again" }
            Action::RegisterRuntime { runtime } => { "added " code { (runtime) } }
            Action::RemoveRuntime { runtime } => { "removed " code { (runtime) } }
            Action::CreateWorker { workspace, worker, runtime } => {
                "created worker " code { (worker) } (place(workspace, runtime.as_ref()))
            }
            Action::StopWorker { workspace, worker, runtime } => {
                "stopped worker " code { (worker) } (place(workspace, runtime.as_ref()))
            }
            Action::RemoveWorker { workspace, worker, runtime } => {
                "removed worker " code { (worker) } (place(workspace, runtime.as_ref()))
            }
            Action::IssuePullToken { runtime, issued } => {
                "issued a token for " code { (runtime) } @if let Some(issued) = issued { span.why { code { (issued) } } }
            }
            Action::IssueToken { issued } => {
                "issued a token" @if let Some(issued) = issued { " " code { (issued) } }
            }
            Action::RevokeToken { revoked } => { "revoked token " code { (revoked) } }
            Action::IssueLoginLink { scopes, workspaces } => {
                "issued a login link"
                span.why {
                    @for scope in scopes { (scope) " " }
                    @for workspace in workspaces { code { (workspace) } " " }
                }
            }
            Action::LogIn => { "logged in" }
            Action::LogOut => { "logged out" }
            Action::EndSession { ended } => { "ended session " code { (ended) } }
        }
    }
}
