//! Error of an operation on a Runtime, the same for embedded and remote Runtimes.

use std::str::FromStr;

use backend_api::refusal::{MAX_REFUSED_SUBJECTS, RefusalDetails, RefusedSubject};
use runtime_api::Code;
use runtime_api::desired::Generation;
use runtime_service::ApiProblem;
use serde_json::Value;

/// Error of an operation on a Runtime. It holds codes and numbers, and no text of the Runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No connection could be opened, or it broke.
    #[error("the Runtime cannot be reached")]
    Unreachable,
    /// There was no complete answer in time.
    #[error("the Runtime does not answer in time")]
    TimedOut,
    /// The Runtime does not accept the token, or the token does not have the scope or the workspace.
    #[error("the Runtime does not accept the token (`{0}`)")]
    Unauthorized(Code),
    /// The answer is not one of a Runtime, or of a version that this program does not understand.
    #[error("the Runtime gives an answer that this program does not understand")]
    Unsupported,
    /// The Runtime cannot do it now.
    #[error("the Runtime cannot do it now (`{0}`)")]
    Busy(Code),
    /// The Runtime refused.
    #[error("the Runtime refuses the request (`{code}`)")]
    Refused {
        /// Error code.
        code: Code,
        /// Generation that the Runtime acknowledged, for [`Code::GenerationOlder`].
        acknowledged: Option<Generation>,
        /// Further details.
        details: Box<RefusalDetails>,
    },
    /// The Backend itself cannot read what it should deliver.
    #[error("the Backend cannot read the bundle (`{0}`)")]
    Source(Code),
    /// The policy of the Backend does not allow the workspace on the Runtime.
    #[error("the policy does not allow the workspace on the Runtime")]
    NotAllowed,
}

impl LinkError {
    /// Returns the error for a problem of a Runtime. Keeps only details that have a type.
    pub(crate) fn of_problem(code: Code, details: &Value) -> Self {
        let acknowledged = details.get("acknowledged").and_then(Value::as_u64);
        let acknowledged = acknowledged.and_then(|number| Generation::try_from(number).ok());
        Self::of_refusal(code, acknowledged, Box::new(safe_details(details)))
    }

    /// Returns the error for the code of a Runtime.
    pub(crate) fn of_refusal(code: Code, acknowledged: Option<Generation>, details: Box<RefusalDetails>) -> Self {
        match code {
            Code::Unauthenticated | Code::TokenExpired | Code::ScopeMissing => Self::Unauthorized(code),
            Code::NotFound | Code::MethodNotAllowed | Code::UnexpectedAnswer => Self::Unsupported,
            Code::Unreachable => Self::Unreachable,
            Code::TimedOut => Self::TimedOut,
            code if matches!(code.http_status(), 429 | 503) => Self::Busy(code),
            // The service of a Runtime refuses a large call before its library does.
            Code::BodyTooLarge => Self::Refused { code: Code::TooLarge, acknowledged, details },
            code => Self::Refused { code, acknowledged, details },
        }
    }

    /// Returns the error for an error of the library, which the service of a Runtime would report as this problem.
    pub(crate) fn of_library(error: impl Into<ApiProblem>) -> Self {
        let problem: ApiProblem = error.into();
        Self::of_problem(problem.code(), problem.details())
    }

    /// Returns `true` if the Runtime certainly did not perform the operation, and will not perform it later.
    pub(crate) fn is_definite(&self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut | Self::Unsupported => false,
            Self::Unauthorized(_) | Self::NotAllowed | Self::Source(_) => true,
            Self::Busy(code) => matches!(code, Code::Busy | Code::RateLimited | Code::Stopping),
            // A store may have failed after it had written, and a deadline may end only the wait.
            Self::Refused { code, .. } => {
                !matches!(code, Code::DeadlineExceeded | Code::StoreFull | Code::MetadataDamaged)
            }
        }
    }

    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable => Code::Unreachable,
            Self::TimedOut => Code::TimedOut,
            Self::Unsupported => Code::UnexpectedAnswer,
            Self::Unauthorized(code) | Self::Busy(code) | Self::Source(code) => *code,
            Self::Refused { code, .. } => *code,
            Self::NotAllowed => Code::NotGranted,
        }
    }

    /// Returns `true` if the error says something about the Runtime as a whole, and nothing about one workspace.
    pub fn concerns_runtime(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Unsupported)
    }
}

/// Returns the fields of a problem that are codes, names or numbers.
fn safe_details(details: &Value) -> RefusalDetails {
    let number = |name: &str| details.get(name).and_then(Value::as_u64);
    let subjects = details.get("refusals").and_then(Value::as_array).into_iter().flatten();
    RefusalDetails {
        limit: parsed(details, "limit"),
        allowed: number("allowed"),
        actual: number("actual"),
        reason: parsed(details, "reason"),
        tool_code: parsed(details, "tool_code"),
        refusals: subjects.filter_map(RefusedSubject::from_refusal).take(MAX_REFUSED_SUBJECTS).collect(),
    }
}

fn parsed<T: FromStr>(value: &Value, name: &str) -> Option<T> {
    value.get(name)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_codes_names_and_numbers_of_a_problem_are_kept() {
        let details = json!({
            "limit": "call_bytes", "allowed": 7, "actual": "CANARY text", "reason": "CANARY text", "path": "/CANARY",
            "refusals": [
                { "subject": "secret:api", "need": "required", "rule": "secret_not_granted", "reason": "CANARY text" },
                { "subject": "CANARY text", "need": "required", "rule": "secret_not_granted" },
                { "subject": "shell", "need": "required", "rule": "CANARY" },
            ],
        });
        let error = LinkError::of_problem(Code::Denied, &details);
        let LinkError::Refused { details, .. } = &error else { panic!("{error:?}") };
        assert_eq!((details.limit.as_ref().map(|word| word.as_str()), details.allowed), (Some("call_bytes"), Some(7)));
        assert_eq!(details.refusals.len(), 1);
        assert!(!format!("{error:?} {error}").contains("CANARY"), "{error:?}");
    }
}
