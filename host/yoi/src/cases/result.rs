//! Results of cases, as text, JSON and JUnit XML.

use resolver_testkit::case::{Case, JunitCase, Mismatch, Observation, junit};
use runtime_api::Code;
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;
use crate::text::{Rows, count};

/// Results of all cases.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: &'static str,
    ok: bool,
    passed: usize,
    failed: usize,
    blessed: usize,
    cases: Vec<CaseResult>,
}

/// Result of a case.
#[derive(Debug, Serialize)]
pub(super) struct CaseResult {
    file: String,
    line: usize,
    name: String,
    #[serde(rename = "result")]
    pub(super) verdict: Verdict,
    mismatches: Vec<Mismatch>,
    /// Message of a failure that the case does not expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Passed,
    Failed,
    /// The actual values were written into the file.
    Blessed,
}

impl CaseResult {
    pub(super) fn new(file: &str, case: &Case, actual: &Observation) -> Self {
        let mismatches = case.compare(actual);
        let has_failed = case.is_unfinished() || !mismatches.is_empty();
        let message = match case.is_unfinished() {
            true => Some("the case states no expected values; `--bless` writes them".to_owned()),
            false => actual.message().filter(|_| has_failed).map(str::to_owned),
        };
        Self {
            file: file.to_owned(),
            line: case.line(),
            name: case.name().to_owned(),
            verdict: if has_failed { Verdict::Failed } else { Verdict::Passed },
            mismatches,
            message,
        }
    }

    /// Returns the differences, one line each.
    fn lines(&self) -> impl Iterator<Item = String> {
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        let mismatches = self.mismatches.iter().flat_map(move |one| {
            [
                format!("{}:{}: {}", self.file, one.line, one.field),
                format!("  expected {}", value(&one.expected)),
                format!("  actual   {}", value(&one.actual)),
            ]
        });
        mismatches.chain(self.message.clone())
    }
}

impl Document {
    pub(super) fn new(schema: &'static str, cases: Vec<CaseResult>) -> Self {
        let number = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
        let [passed, failed, blessed] = [Verdict::Passed, Verdict::Failed, Verdict::Blessed].map(number);
        Self { schema, ok: failed == 0, passed, failed, blessed, cases }
    }

    /// `true` if no case failed.
    pub(super) fn ok(&self) -> bool {
        self.ok
    }

    pub(super) fn text(&self) -> String {
        let mut rows = Rows::default();
        for case in &self.cases {
            let label = match case.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "failed",
                Verdict::Blessed => "blessed",
            };
            rows.row(label, format!("{}:{}: {}", case.file, case.line, case.name));
            if case.verdict == Verdict::Failed {
                rows.list("", case.lines().map(|line| format!("  {line}")));
            }
        }
        let blessed = if self.blessed > 0 { format!(", {} blessed", self.blessed) } else { String::new() };
        let cases = count(self.cases.len(), "case");
        rows.row("cases", format!("{cases}: {} passed, {} failed{blessed}", self.passed, self.failed));
        rows.into_text()
    }

    /// Returns the results as JUnit XML.
    pub(super) fn junit(&self, suite: &str) -> Result<String, CliError> {
        let cases = self.cases.iter().map(|case| JunitCase {
            file: &case.file,
            name: &case.name,
            line: case.line,
            failure: if case.verdict == Verdict::Failed { case.lines().collect() } else { Vec::new() },
        });
        junit(suite, &cases.collect::<Vec<_>>())
            .map_err(|_| CliError::new(Code::Failed, "cannot write the report", "use another `--format`"))
    }
}
