//! The report of a conformance run.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Results of all checks.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seed of the generated scenarios, as a decimal number. The same seed gives the same scenarios.
    pub seed: String,
    /// Number of generated scenarios.
    pub generated: u16,
    /// The largest values of all runs.
    pub peak: Peak,
    /// All checks, in a fixed order.
    pub checks: Vec<CheckResult>,
}

/// The largest resources that one run used.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Peak {
    /// Number of runs.
    pub runs: u64,
    /// Fuel.
    pub fuel: u64,
    /// Bytes of all memories.
    pub memory_bytes: u64,
}

/// Result of one check.
#[derive(Debug, Clone, Serialize)]
pub struct CheckResult {
    /// Stable name in the form `GROUP/CHECK`.
    pub name: String,
    /// The statement that the check proves.
    pub claim: String,
    /// Result.
    pub verdict: Verdict,
    /// The violation, if the check failed.
    pub failure: Option<CheckFailure>,
}

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No scenario violates the claim.
    Passed,
    /// A scenario violates the claim.
    Failed,
    /// The check was not run, because calls of the resolver do not end with an answer.
    NotRun,
}

/// A violation of a claim.
#[derive(Debug, Clone, Serialize)]
pub struct CheckFailure {
    /// The problem, in one sentence.
    pub problem: String,
    /// Expected part of the answer.
    pub expected: Option<Value>,
    /// Actual part of the answer.
    pub found: Option<Value>,
    /// The smallest scenario that was found, in the form of the case corpus.
    pub case: Option<Value>,
}

impl Report {
    /// `true` if all checks passed.
    pub fn passed(&self) -> bool {
        self.count(Verdict::Passed) == self.checks.len()
    }

    /// Returns the number of checks with this result.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// Returns the checks that failed, with their violations.
    pub fn failures(&self) -> impl Iterator<Item = (&CheckResult, &CheckFailure)> {
        self.checks.iter().filter_map(|check| Some((check, check.failure.as_ref()?)))
    }

    /// Returns the result of a check by its name.
    pub fn check(&self, name: &str) -> Option<&CheckResult> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// Shows the number of checks and every violation, for the message of a failed test.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, failed, not_run] =
            [Verdict::Passed, Verdict::Failed, Verdict::NotRun].map(|verdict| self.count(verdict));
        write!(f, "{passed} checks passed, {failed} failed, {not_run} not run (seed {})", self.seed)?;
        for (check, failure) in self.failures() {
            write!(f, "\n{}: {}\n  {}", check.name, check.claim, failure.problem)?;
            for (label, value) in [("expected", &failure.expected), ("found", &failure.found), ("case", &failure.case)]
            {
                if let Some(value) = value {
                    write!(f, "\n  {label}: {value}")?;
                }
            }
        }
        Ok(())
    }
}
