//! Each code in the table of `docs/rest.md`, provoked over REST and through the library.
//!
//! Codes that only HTTP has state a reason. A code of the table without a case fails a test here, and so does a case
//! whose code is not in the table.

mod asking;
mod calls;
mod content;
pub(crate) mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use runtime_api::Code;

use crate::support::api::Answer;
use crate::support::provoked::ErrorReport;

pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// A code, and the operation that causes it.
pub(crate) struct Case {
    pub(crate) code: &'static str,
    rest: fn() -> Later<Answer>,
    library: Library,
}

enum Library {
    /// The same operation through the library.
    Tells(fn() -> Later<ErrorReport>),
    /// The code exists only over HTTP, for this reason.
    HasNone(&'static str),
}

/// A case of a code of REST and the library.
macro_rules! both {
    ($code:literal, rest: $rest:expr, library: $library:expr $(,)?) => {
        super::Case { code: $code, rest: || Box::pin($rest), library: super::Library::Tells(|| Box::pin($library)) }
    };
}
/// A case of a code of HTTP only.
macro_rules! http {
    ($code:literal, $why:literal, $rest:expr $(,)?) => {
        super::Case { code: $code, rest: || Box::pin($rest), library: super::Library::HasNone($why) }
    };
}
use {both, http};

pub(crate) fn cases() -> Vec<Case> {
    [asking::cases(), content::cases(), workers::cases(), calls::cases()].into_iter().flatten().collect()
}

/// Codes that the library does not have. The cases state the reasons.
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

/// Runs each case in its own tokio runtime, so that a case can pause the clock.
pub(crate) fn run<T>(later: Later<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(later)
}

/// Returns the errors of the library for the cases of the registry.
pub(crate) fn told_by_the_library() -> Vec<(&'static str, ErrorReport)> {
    let tell = |case: Case| match case.library {
        Library::Tells(tell) => Some((case.code, run(tell()))),
        Library::HasNone(_) => None,
    };
    cases().into_iter().filter_map(tell).collect()
}

#[test]
fn every_problem_has_its_status_over_rest() {
    for case in cases() {
        let status = case.code.parse().map(Code::http_status);
        // `code` checks that detail and remedy exist.
        let (answered, code) = run((case.rest)()).code();
        assert_eq!((code.as_str(), Ok(answered)), (case.code, status));
    }
}

#[test]
fn every_problem_has_the_same_code_in_the_library() {
    for (code, told) in told_by_the_library() {
        assert_eq!(told.code, code, "{}", told.says);
    }
}

/// Reads the table of statuses and codes.
fn documented() -> BTreeMap<&'static str, u16> {
    let rows = include_str!("../../../../docs/rest.md").lines().filter_map(|line| {
        let (statuses, codes) = line.strip_prefix("| ")?.split_once(" | ")?;
        let statuses: Vec<u16> = statuses.split(", ").map(str::parse).collect::<Result<_, _>>().ok()?;
        Some((statuses, codes))
    });
    // A row has one status for all its codes, or one for each.
    let pairs =
        rows.flat_map(|(statuses, codes)| codes.split('`').skip(1).step_by(2).zip(statuses.into_iter().cycle()));
    pairs.collect()
}

#[test]
fn every_documented_code_has_its_status_and_a_case_and_vice_versa() {
    let documented = documented();
    for (code, status) in &documented {
        assert_eq!(code.parse().map(Code::http_status), Ok(*status), "{code}");
    }
    let provoked: BTreeSet<&str> = cases().iter().map(|case| case.code).collect();
    assert_eq!(documented.into_keys().collect::<BTreeSet<_>>(), provoked);
}

#[test]
fn codes_of_http_only_have_a_reason() {
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
