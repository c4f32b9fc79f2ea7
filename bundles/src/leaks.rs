//! The leak scanner: does a string of a bundle hold a credential or a path, socket or address of one host?
//!
//! The verdict depends on the text and on where it stands, on nothing else: not on the operating system, the
//! environment or the clock. Every look at the text takes linear time. Findings name a rule and a span; the value
//! itself is never copied into one, so that printing a finding cannot leak. Deliberately absent: a general entropy
//! alarm, because digests, ids and commits are random too and are what a bundle is made of.
//!
//! ```
//! use bundles::leaks::{Kind, Place, scan};
//!
//! assert!(scan(Place::Text, "secret:github-token").is_empty());
//! let found = scan(Place::Text, "mount=/home/alice/repo");
//! assert_eq!(found[0].rule.kind(), Kind::HostPath);
//! assert_eq!(found[0].span, 6..22);
//! ```

mod ascii;
mod assignments;
mod boundaries;
mod confusables;
mod credentials;
mod decoded;
mod endpoints;
mod entries;
mod escapes;
mod home_paths;
mod host_paths;
mod locality;
mod markup;
mod named_values;
mod posix_paths;
mod providers;
mod randomness;
mod reading;
mod secret_names;
mod structured;
mod tables;
mod tokens;
mod views;
mod windows;
mod windows_paths;
mod words;

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod marked_up;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod refused_paths;
#[cfg(test)]
mod samples;

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

pub use entries::Keys;
pub use named_values::named_values;
use reading::{Scope, look_in_turns};

/// Most findings that one call of [`scan`] reports. More of them would tell an author nothing new, and the bound keeps
/// a hostile text from costing memory.
pub const MOST_FINDINGS: usize = 64;

/// How often a text is unescaped again; `%252e` needs two turns, a third shows that somebody is hiding something.
const MOST_DECODINGS: usize = 3;

/// Where the string stands that is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Free prose for a model. Paths below a well-known root, `~/`, `$HOME`, drives and private addresses are refused;
    /// API routes (`/v1/users`), slash commands (`/review`), relative paths and `localhost` are speech and pass.
    Prompt,
    /// Any other string: descriptions, settings, parameters, provenance, schema strings, references.
    Text,
    /// The URL or path prefix of a URL permission. Paths there lie on a remote server and `http`, `https`, `ws` and
    /// `wss` endpoints are for the permission check to judge; credentials, files and sockets are refused.
    UrlTarget,
    /// The key of a JSON object. As [`Place::Text`], but for routes, as OpenAPI writes them as keys, and for names that
    /// are an address or a socket.
    ObjectKey,
}

/// What a rule looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A credential: whoever holds the string may do something.
    Secret,
    /// A path, socket or address that means something on one host only.
    HostPath,
}

impl Kind {
    /// What was found, in words for a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Secret => "a credential",
            Self::HostPath => "a host path",
        }
    }

    /// The stable machine word under which a bundle is refused.
    pub fn code(self) -> &'static str {
        match self {
            Self::Secret => "secret_in_bundle",
            Self::HostPath => "host_path_in_bundle",
        }
    }
}

/// One rule of the scanner, by which a finding is named, reported and accepted.
#[derive(PartialEq, Eq, Hash)]
pub struct Rule {
    id: &'static str,
    kind: Kind,
    what: &'static str,
}

impl Rule {
    const fn secret(id: &'static str, what: &'static str) -> Self {
        Self { id, kind: Kind::Secret, what }
    }

    const fn host_path(id: &'static str, what: &'static str) -> Self {
        Self { id, kind: Kind::HostPath, what }
    }

    /// The stable name, such as `secret.github` or `host_path.posix_absolute`. No name has a word of eight letters that
    /// stands in what it finds, so that a report which names the rule shows nothing of the value.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Whether the rule is about credentials or about hosts.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A short noun phrase for people, such as "GitHub token".
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id)
    }
}

/// All rules, for reports. The order is fixed; ids are unique.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let named = [structured::RULES, credentials::RULES, assignments::RULES, endpoints::RULES, host_paths::RULES];
    providers::PROVIDERS.iter().map(|provider| &provider.rule).chain(named.into_iter().flatten().copied())
}

/// The rule with this id, if there is one.
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

/// A finding: which rule, and where. It holds nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The rule that was broken.
    pub rule: &'static Rule,
    /// Bytes of the text given to [`scan`], on character boundaries. What stands there is the value: do not print it.
    pub span: Range<usize>,
}

/// What one look at one text found so far; spans are those of the text looked at. Each rule has room of its own, so
/// that many findings of one rule, which somebody may have accepted, cannot crowd out the one of another.
#[derive(Default)]
struct Findings {
    leaks: Vec<Leak>,
    counts: Vec<(&'static Rule, usize)>,
}

impl Findings {
    fn push(&mut self, rule: &'static Rule, span: Range<usize>) {
        if span.start >= span.end {
            return;
        }
        let counted = match self.counts.iter().position(|(counted, _)| std::ptr::eq(*counted, rule)) {
            Some(counted) => counted,
            None => {
                self.counts.push((rule, 0));
                self.counts.len() - 1
            }
        };
        let Some((_, count)) = self.counts.get_mut(counted).filter(|(_, count)| *count < MOST_FINDINGS) else { return };
        // What was seen in one reading takes no room when it is seen in another.
        if self.leaks.iter().any(|leak| leak.span == span && std::ptr::eq(leak.rule, rule)) {
            return;
        }
        *count += 1;
        self.leaks.push(Leak { rule, span });
    }
}

/// Scans `text` as what stands at `place`, and returns what it found, in order of position and at most 64 findings.
/// Every rule that was broken is among them: what is left out is a later finding of a rule that is reported.
///
/// The text is looked at as it is, with look-alike characters folded and invisible ones dropped, with escapes (JSON,
/// percent, HTML) undone up to three deep, with lines joined, and inside runs of base64 and hex, one deep.
pub fn scan(place: Place, text: &str) -> Vec<Leak> {
    scan_in_turns(place, text, &mut || {})
}

/// The same; calls `pause` after some 16 KiB each, so that who shares a processor can have a turn.
pub fn scan_in_turns(place: Place, text: &str, pause: &mut dyn FnMut()) -> Vec<Leak> {
    let mut found = Findings::default();
    let seen = look_in_turns(Scope::Whole, place, text, &mut found, pause);
    for window in seen.escapes.windows(place, text) {
        let part = text.get(window.clone()).unwrap_or_default();
        let mut add = |rule, span: Range<usize>| found.push(rule, window.start + span.start..window.start + span.end);
        look_unescaped(place, part, pause, &mut add);
    }
    for window in seen.joints.windows(place, text) {
        let Some(view) = text.get(window.clone()).and_then(views::joined) else { continue };
        let mut inner = Findings::default();
        look_in_turns(Scope::Tokens, place, view.text(), &mut inner, pause);
        for Leak { rule, span } in inner.leaks {
            let span = view.origin(span);
            found.push(rule, window.start + span.start..window.start + span.end);
        }
    }
    in_order(text, found.leaks)
}

/// All rules over a text without its escapes, layer by layer.
fn look_unescaped(
    place: Place,
    text: &str,
    pause: &mut dyn FnMut(),
    found: &mut dyn FnMut(&'static Rule, Range<usize>),
) {
    let mut views: Vec<views::View> = Vec::new();
    while views.len() < MOST_DECODINGS {
        let Some(view) = views::unescaped(views.last().map_or(text, |view| view.text())) else { break };
        let mut inner = Findings::default();
        let seen = look_in_turns(Scope::Whole, place, view.text(), &mut inner, pause);
        views.push(view);
        for Leak { rule, span } in inner.leaks {
            found(rule, views.iter().rev().fold(span, |span, view| view.origin(span)));
        }
        if seen.escapes.is_empty() {
            break;
        }
    }
}

/// By position, each place once per rule; the rule that only knows a secret by its name gives way to one that knows
/// its shape.
fn in_order(text: &str, mut leaks: Vec<Leak>) -> Vec<Leak> {
    for leak in &mut leaks {
        leak.span = on_boundaries(text, leak.span.clone());
    }
    leaks.sort_by_key(|leak| (leak.span.start, Reverse(leak.span.end), leak.rule.id));
    let overlap = |a: &Leak, b: &Leak| a.span.start < b.span.end && b.span.start < a.span.end;
    let is_by_name = |leak: &Leak| leak.rule == &assignments::ASSIGNMENT;
    let is_shadowed = |leak: &Leak| {
        let knows_shape = |other: &Leak| other.rule.kind == Kind::Secret && !is_by_name(other) && overlap(leak, other);
        is_by_name(leak) && leaks.iter().any(knows_shape)
    };
    // Where the last finding of each rule ended.
    let mut ends: Vec<(&Rule, usize)> = Vec::new();
    let mut kept: Vec<Leak> = Vec::new();
    let mut repeated: Vec<Leak> = Vec::new();
    for leak in leaks.iter().filter(|leak| leak.span.start < leak.span.end && !is_shadowed(leak)) {
        match ends.iter_mut().find(|(rule, _)| *rule == leak.rule) {
            Some((_, end)) if leak.span.start < *end => *end = leak.span.end.max(*end),
            Some((_, end)) => {
                *end = leak.span.end;
                repeated.push(leak.clone());
            }
            None => {
                ends.push((leak.rule, leak.span.end));
                kept.push(leak.clone());
            }
        }
    }
    let room = MOST_FINDINGS.saturating_sub(kept.len());
    kept.extend(repeated.into_iter().take(room));
    kept.truncate(MOST_FINDINGS);
    kept.sort_by_key(|leak| (leak.span.start, Reverse(leak.span.end), leak.rule.id));
    kept
}

fn on_boundaries(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    let mut end = span.end.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
