//! The frame of all pages.

use axum::response::{Html, IntoResponse, Response};
use bundles::Digest;
use maud::{DOCTYPE, Markup, html};

use super::access::Visitor;
use super::assets::{ICON, SCRIPT, STYLE};

/// Entry of the navigation that is the current page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Fleet,
    Audit,
    Other,
}

/// Returns a page of a session. `digest` is that of everything that the session could see before the content was read: the
/// script reloads the content when it hears of another one.
pub(super) fn page(visitor: &Visitor, section: Section, title: &str, digest: Digest, content: Markup) -> Response {
    let is_admin = visitor.session.is_admin();
    let header = html! {
        nav aria-label="Main" {
            (link(section == Section::Fleet, "/", "Fleet"))
            @if is_admin { (link(section == Section::Audit, "/audit", "Audit log")) }
        }
        p #live role="status" {}
        form method="post" action="/logout" {
            (hidden(visitor))
            button.plain type="submit" { "Log out" }
        }
    };
    Html(document(title, Some(digest), Some(header), content).into_string()).into_response()
}

fn link(is_current: bool, path: &str, text: &str) -> Markup {
    html! { a href=(path) aria-current=[is_current.then_some("page")] { (text) } }
}

/// Returns the field with the token of the session, which every form needs.
pub(super) fn hidden(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="form" value=(visitor.form_token()); }
}

/// Returns a document without a session, which is not kept up to date.
pub(super) fn bare_document(title: &str, content: Markup) -> Markup {
    document(title, None, None, content)
}

/// Returns a whole document.
pub(super) fn document(title: &str, digest: Option<Digest>, header: Option<Markup>, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · yoi" }
                link rel="icon" href=(ICON.path());
                link rel="stylesheet" href=(STYLE.path());
                @if digest.is_some() { script src=(SCRIPT.path()) defer {} }
            }
            body data-digest=[digest.map(|digest| digest.hex())] {
                a.skip href="#main" { "Skip to content" }
                header {
                    a.brand href="/" { "yoi" }
                    @if let Some(header) = header { (header) }
                }
                main #main tabindex="-1" { (content) }
            }
        }
    }
}
