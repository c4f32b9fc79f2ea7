//! Entry point of a scan.
//!
//! `pass` makes one pass over one text. This module repeats it on the texts that `views` derives and merges the
//! findings.

use std::ops::Range;

use crate::findings::{Findings, Leak, in_order};
use crate::pass::{Scope, run_with_pauses};
use crate::rule::LeakRule;
use crate::views;

/// Maximum number of times that a text is unescaped. `%252e` needs two. A third level indicates deliberate hiding.
const MAX_UNESCAPE_LEVELS: usize = 3;

/// Place of the scanned string. It decides which rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Prose for a model. Paths below a well-known root, `~/`, `$HOME`, drives and private addresses are findings. API
    /// routes (`/v1/users`), slash commands (`/review`), relative paths and `localhost` are not.
    Prompt,
    /// Any other string: descriptions, settings, parameters, provenance, schema strings, references.
    Text,
    /// URL or path prefix of a URL permission. Its paths are on a remote server, and the permission check judges
    /// `http`, `https`, `ws` and `wss` endpoints. Credentials, files and sockets are findings.
    UrlTarget,
    /// Key of a JSON object. Like [`Place::Text`], but routes, which OpenAPI uses as keys, and names that are an
    /// address or a socket are not findings.
    ObjectKey,
}

/// Scans a text and returns the findings by position, at most [`MAX_FINDINGS`](crate::MAX_FINDINGS) of them.
///
/// Every broken rule is among them: findings beyond the limit belong to rules that are already reported.
///
/// The text is read as it is, with look-alike characters folded and invisible ones removed, with escapes (JSON,
/// percent, HTML) undone up to three levels deep, with lines joined, and inside runs of base64 and hex, one level deep.
pub fn scan(place: Place, text: &str) -> Vec<Leak> {
    scan_with_pauses(place, text, &mut || {})
}

/// Like [`scan`], but calls `pause` about every 16 KiB, so that a caller can yield the processor.
pub fn scan_with_pauses(place: Place, text: &str, pause: &mut dyn FnMut()) -> Vec<Leak> {
    let mut found = Findings::default();
    let rereads = run_with_pauses(Scope::Whole, place, text, &mut found, pause);
    for window in rereads.escapes.windows(place, text) {
        let part = text.get(window.clone()).unwrap_or_default();
        let mut add = |rule, span: Range<usize>| found.push(rule, window.start + span.start..window.start + span.end);
        scan_unescaped(place, part, pause, &mut add);
    }
    for window in rereads.joints.windows(place, text) {
        let Some(view) = text.get(window.clone()).and_then(views::joined) else { continue };
        let mut inner = Findings::default();
        run_with_pauses(Scope::Tokens, place, view.text(), &mut inner, pause);
        for Leak { rule, span } in inner.leaks {
            let span = view.origin(span);
            found.push(rule, window.start + span.start..window.start + span.end);
        }
    }
    in_order(text, found.leaks)
}

/// Scans the text with its escapes undone, level by level.
fn scan_unescaped(
    place: Place,
    text: &str,
    pause: &mut dyn FnMut(),
    found: &mut dyn FnMut(&'static LeakRule, Range<usize>),
) {
    let mut views: Vec<views::View> = Vec::new();
    while views.len() < MAX_UNESCAPE_LEVELS {
        let Some(view) = views::unescaped(views.last().map_or(text, |view| view.text())) else { break };
        let mut inner = Findings::default();
        let rereads = run_with_pauses(Scope::Whole, place, view.text(), &mut inner, pause);
        views.push(view);
        for Leak { rule, span } in inner.leaks {
            found(rule, views.iter().rev().fold(span, |span, view| view.origin(span)));
        }
        if rereads.escapes.is_empty() {
            break;
        }
    }
}
