//! Words, symbols and times that several pages show. Every condition has a word and a symbol, so that the pages can be read
//! without colours.

use backend_api::fleet::{Condition, ContactFailure, PairView};
use backend_api::policy::Labels;
use bundles::Digest;
use jiff::Timestamp;
use maud::{Markup, html};
use runtime_api::Code;

/// Condition of a workspace on a Runtime, as a table shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConditionView {
    condition: Condition,
    /// Time of the newest refusal.
    refused_at: Option<Timestamp>,
}

impl From<&PairView> for ConditionView {
    fn from(pair: &PairView) -> Self {
        Self { condition: pair.condition, refused_at: pair.refusal.map(|refusal| refusal.at) }
    }
}

/// Class in the style, symbol and word of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word {
    pub(super) class: &'static str,
    pub(super) symbol: &'static str,
    pub(super) word: &'static str,
}

const fn word(class: &'static str, symbol: &'static str, word: &'static str) -> Word {
    Word { class, symbol, word }
}

const IN_SYNC: Word = word("good", "✓", "in sync");
const PENDING: Word = word("wait", "…", "pending");
const REFUSED: Word = word("bad", "✕", "refused");
const UNREACHABLE: Word = word("warn", "!", "unreachable");
const UNUSABLE: Word = word("warn", "!", "unusable");
const AHEAD: Word = word("warn", "↑", "ahead");
const NOT_ALLOWED: Word = word("none", "–", "not allowed");
const NOTHING_DESIRED: Word = word("none", "·", "nothing desired");
const UNKNOWN: Word = word("wait", "?", "not read yet");

/// All words with their meaning, in the order of the legend.
pub(super) const LEGEND: [(Word, &str); 9] = [
    (IN_SYNC, "The Runtime acknowledged the desired bundle and can use it."),
    (PENDING, "The desired bundle has not been delivered yet."),
    (REFUSED, "The Runtime refuses the bundle, or cannot use it. The code says why."),
    (UNREACHABLE, "The Runtime does not answer. It may still use the last bundle that it acknowledged."),
    (UNUSABLE, "The Runtime answers, but does not accept the Backend or gives answers that it does not understand."),
    (AHEAD, "The Runtime has a newer decision than it should have, because a rollout was narrowed."),
    (NOT_ALLOWED, "The policy does not allow the workspace on the Runtime."),
    (NOTHING_DESIRED, "The workspace has no desired bundle for the Runtime."),
    (UNKNOWN, "The Runtime has not been read since it was added."),
];

/// Returns the word for a Runtime that cannot be used.
fn of_failure(failure: &ContactFailure) -> Word {
    if failure.word() == UNREACHABLE.word { UNREACHABLE } else { UNUSABLE }
}

impl ConditionView {
    /// Returns the word of the condition.
    pub(super) fn word(&self) -> Word {
        match &self.condition {
            Condition::InSync => IN_SYNC,
            Condition::Pending => PENDING,
            Condition::Refused { .. } => REFUSED,
            Condition::Unavailable(failure) => of_failure(failure),
            Condition::Ahead => AHEAD,
            Condition::NotAllowed => NOT_ALLOWED,
            Condition::NothingDesired => NOTHING_DESIRED,
            Condition::Unknown => UNKNOWN,
        }
    }

    /// Returns `true` if a person should look at the pair.
    pub(super) fn needs_attention(&self) -> bool {
        matches!(self.word().class, "bad" | "warn")
    }

    /// Returns the error code, and the time that belongs to it.
    fn fault(&self) -> Option<(Code, &'static str, Option<Timestamp>)> {
        match self.condition {
            Condition::Refused { code } => Some((code, "at", self.refused_at)),
            Condition::Unavailable(ContactFailure { code, since }) => Some((code, "since", Some(since))),
            _ => None,
        }
    }

    /// Renders the condition.
    pub(super) fn render(&self) -> Markup {
        html! {
            (self.word().render())
            @if let Some((code, preposition, time)) = self.fault() {
                span.why {
                    @if code != Code::Unreachable { code { (code) } " " }
                    @if let Some(time) = time { (preposition) " " (instant(time)) }
                }
            }
        }
    }
}

impl Word {
    /// Renders the symbol and the word.
    pub(super) fn render(self) -> Markup {
        html! { span.symbol aria-hidden="true" { (self.symbol) } " " (self.word) }
    }
}

/// Renders why and since when a Runtime cannot be used.
pub(super) fn failure(failure: &ContactFailure) -> Markup {
    let word = of_failure(failure);
    html! {
        span class=(word.class) { (word.render()) }
        span.why {
            @if failure.code != Code::Unreachable { code { (failure.code) } " " }
            "since " (instant(failure.since))
        }
    }
}

/// Renders a time.
pub(super) fn instant(time: Timestamp) -> Markup {
    html! { time datetime=(time.strftime("%Y-%m-%dT%H:%M:%SZ")) { (time.strftime("%Y-%m-%d %H:%M UTC")) } }
}

/// Renders a digest, shortened.
pub(super) fn short(digest: &Digest) -> Markup {
    html! { code title=(digest) { (digest.short()) } }
}

/// Renders labels.
pub(super) fn labels(labels: &Labels) -> Markup {
    html! {
        @if labels.is_empty() { "none" }
        @for (key, value) in labels { code.label { (key) "=" (value) } " " }
    }
}

/// Renders a text in which names stand between backticks.
pub(super) fn ticked(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}
