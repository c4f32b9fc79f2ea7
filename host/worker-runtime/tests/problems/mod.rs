//! Each code of the registry of problems, provoked over REST and through the library.
//!
//! What is told of over HTTP alone says why. A code without a case fails the last test here, and so does a case
//! whose code the registry does not have.

mod asking;
mod calls;
mod content;
pub(crate) mod workers;

use std::collections::BTreeSet;
use std::pin::Pin;

use runtime_service::REGISTRY;

use crate::support::api::Answer;
use crate::support::provoked::Provoked;

pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// A code, and what comes to it.
pub(crate) struct Case {
    code: &'static str,
    rest: fn() -> Later<Answer>,
    library: Library,
}

enum Library {
    /// The same, asked of a face.
    Tells(fn() -> Later<Provoked>),
    /// There is no such thing without HTTP. Why, in a sentence.
    HasNone(&'static str),
}

/// A code that REST answers and the library tells.
macro_rules! both {
    ($code:literal, rest: $rest:expr, library: $library:expr $(,)?) => {
        super::Case { code: $code, rest: || Box::pin($rest), library: super::Library::Tells(|| Box::pin($library)) }
    };
}
/// A code that belongs to HTTP.
macro_rules! http {
    ($code:literal, $why:literal, $rest:expr $(,)?) => {
        super::Case { code: $code, rest: || Box::pin($rest), library: super::Library::HasNone($why) }
    };
}
use {both, http};

pub(crate) fn cases() -> Vec<Case> {
    [asking::cases(), content::cases(), workers::cases(), calls::cases()].into_iter().flatten().collect()
}

/// What the library has no word for. The reasons stand with the cases.
const HTTP_ALONE: [&str; 14] = [
    "body_too_large",
    "body_too_slow",
    "host_denied",
    "invalid_request",
    "method_not_allowed",
    "not_found",
    "origin_denied",
    "precondition_failed",
    "rate_limited",
    "scope_missing",
    "stopping",
    "tool_refused",
    "unsupported_media_type",
    "workspace_unnamed",
];

/// Each in a runtime of its own, so that one may stop the clock.
pub(crate) fn run<T>(later: Later<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(later)
}

/// What the library tells where the registry's codes are provoked.
pub(crate) fn told_by_the_library() -> Vec<(&'static str, Provoked)> {
    let tell = |case: Case| match case.library {
        Library::Tells(tell) => Some((case.code, run(tell()))),
        Library::HasNone(_) => None,
    };
    cases().into_iter().filter_map(tell).collect()
}

#[test]
fn each_problem_is_answered_over_rest_with_its_status() {
    for case in cases() {
        let status = REGISTRY.iter().find(|(code, _)| *code == case.code).map(|(_, status)| *status);
        // That it has a detail and a remedy, `code` looks at.
        let (answered, code) = run((case.rest)()).code();
        assert_eq!((code.as_str(), Some(answered)), (case.code, status));
    }
}

#[test]
fn each_problem_is_told_by_the_library_in_the_same_word() {
    for (code, told) in told_by_the_library() {
        assert_eq!(told.code, code, "{}", told.says);
    }
}

#[test]
fn each_code_of_the_registry_has_a_case_and_each_case_is_of_the_registry() {
    let known: BTreeSet<&str> = REGISTRY.iter().map(|(code, _)| *code).collect();
    assert_eq!(known.len(), REGISTRY.len(), "a code stands there once");
    let provoked: BTreeSet<&str> = cases().iter().map(|case| case.code).collect();
    let (missing, more): (Vec<_>, Vec<_>) =
        (known.difference(&provoked).collect(), provoked.difference(&known).collect());
    assert!(missing.is_empty() && more.is_empty(), "no case for {missing:?}; not in the registry: {more:?}");
}

#[test]
fn what_http_has_alone_is_about_requests_and_says_why() {
    let alone: Vec<(&str, &str)> = cases()
        .into_iter()
        .filter_map(|case| match case.library {
            Library::HasNone(why) => Some((case.code, why)),
            Library::Tells(_) => None,
        })
        .collect();
    let codes: BTreeSet<&str> = alone.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, HTTP_ALONE.into_iter().collect());
    assert!(alone.iter().all(|(_, why)| why.split(' ').count() > 3), "{alone:?}");
}
