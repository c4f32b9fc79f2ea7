//! `/workspaces/{id}/bundles/{digest}`: a revision, and a review of its plugins.

use axum::extract::{Path, State};
use axum::response::Response;
use backend_api::token::BackendScope;
use bundles::manifest::Plugin;
use bundles::plugin::Package;
use bundles::{Blob, Digest, PluginName, Revision, WorkspaceId};
use host_policy::{PermissionLists, PluginReview};
use maud::{Markup, html};

use super::access::Visitor;
use super::layout::{Section, page};
use super::live::visible_digest;
use super::problem::PageProblem;
use super::words::short;
use crate::backend::Backend;
use crate::service::BackendState;

/// Content of the page.
#[derive(Debug)]
struct BundleView {
    workspace: WorkspaceId,
    digest: Digest,
    revision: Revision,
    plugins: Vec<PluginView>,
}

/// A plugin, and its review if the Backend has its package.
#[derive(Debug)]
struct PluginView {
    name: PluginName,
    plugin: Plugin,
    review: Option<PluginReview>,
}

impl BundleView {
    async fn read(backend: &Backend, workspace: &WorkspaceId, digest: Digest) -> Result<Self, PageProblem> {
        let manifest = backend.manifest(workspace, digest).await?;
        let mut plugins = Vec::new();
        for (name, plugin) in manifest.plugins {
            let review = review(backend, workspace, &plugin).await;
            plugins.push(PluginView { name, plugin, review });
        }
        Ok(Self { workspace: workspace.clone(), digest, revision: manifest.revision, plugins })
    }

    fn render(&self) -> Markup {
        html! {
            h1 { "Revision " (self.revision) " of " a href={ "/workspaces/" (self.workspace) } { (self.workspace) } }
            p { code.digest { (self.digest) } }
            h2 { "Plugins" }
            @if self.plugins.is_empty() { p { "The bundle has no plugins." } }
            @for plugin in &self.plugins { (plugin.render()) }
        }
    }
}

/// Returns the review of a plugin's package. The Backend grants nothing, so everything is shown as requested.
async fn review(backend: &Backend, workspace: &WorkspaceId, plugin: &Plugin) -> Option<PluginReview> {
    let content = backend.catalogue().content(workspace).blob(plugin.package.digest).await.ok()?;
    let management = backend.catalogue().management();
    let package = Package::open(Blob::new(&*content), management.bundle_limits()).ok()?;
    Some(PluginReview::new(package.manifest(), None))
}

impl PluginView {
    fn render(&self) -> Markup {
        html! {
            section.card {
                h3 { (self.name) " " (self.plugin.version) }
                @if !self.plugin.description.is_empty() { p { (self.plugin.description) } }
                p.why { "Package " (short(&self.plugin.package.digest)) ", world " code { (self.plugin.world) } }
                @match &self.review {
                    None => { p { "The package is not in the Backend, so only its descriptor can be shown." } }
                    Some(review) => { (render_review(review)) }
                }
            }
        }
    }
}

fn render_review(review: &PluginReview) -> Markup {
    let (dangerous, other): (Vec<_>, Vec<_>) = review.statements().iter().partition(|one| one.danger.is_some());
    html! {
        p { "The plugin requests the following. A request does not grant access: the config of each Runtime does." }
        @if !dangerous.is_empty() {
            ul.bad {
                @for one in dangerous {
                    li { span.symbol aria-hidden="true" { "!" } " " strong { "Dangerous: " } "the plugin " (one.text) }
                }
            }
        }
        @if !other.is_empty() { ul { @for one in other { li { "The plugin " (one.text) } } } }
        dl {
            @for (name, items) in lists(review.requested()) {
                dt { (name) }
                dd { @if items.is_empty() { "none" } @for item in items { code.label { (item) } " " } }
            }
        }
    }
}

fn lists(requested: &PermissionLists) -> [(&'static str, Vec<String>); 7] {
    fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
        items.into_iter().map(|item| item.to_string()).collect()
    }
    [
        ("Tools", texts(&requested.tools)),
        ("Effects", texts(requested.effects.iter().map(|effect| effect.as_str()))),
        ("Request targets", texts(&requested.requests)),
        ("WebSocket targets", texts(&requested.websockets)),
        ("Secrets", texts(requested.secrets.iter().map(|secret| &secret.name))),
        ("Surfaces", texts(&requested.surfaces)),
        ("Ingress", texts(&requested.ingress)),
    ]
}

/// Shows a revision.
pub(super) async fn show(
    State(state): State<BackendState>,
    visitor: Visitor,
    Path((workspace, bundle)): Path<(String, String)>,
) -> Result<Response, PageProblem> {
    let workspace = visitor.workspace(&workspace, BackendScope::Read)?;
    let bundle = bundle.parse().map_err(|_| PageProblem::not_found())?;
    let digest = visible_digest(&state.backend, &visitor.session);
    let view = BundleView::read(&state.backend, &workspace, bundle).await?;
    let title = format!("Revision {} of {workspace}", view.revision);
    Ok(page(&visitor, Section::Other, &title, digest, view.render()))
}
