//! A conformance run: which scenarios each check sees, and when the run ends early.

use component_host::{LoadError, Run, RunError, Sandbox};
use serde_json::Value;

use super::corpus::corpus;
use super::error::KitError;
use super::outcome::Outcome;
use super::property::{Property, Violation};
use super::report::{CheckFailure, CheckResult, Peak, Report, Verdict};
use super::scenario::Scenario;
use super::shrink::smallest;
use super::subject::{ResolverUnderTest, Sandboxed};
use super::{generate, hostile};

/// Runs that may end without an answer before a run ends early. An endless loop takes seconds each time.
const MAX_UNANSWERED: usize = 3;

/// Properties that hostile scenarios are judged by, in addition to their expected outcome.
const BASE: [Property; 5] =
    [Property::Answers, Property::Verified, Property::Fuel, Property::Memory, Property::OtherLimits];

/// Checks of a component that loading it decides.
const LOADING: [(&str, &str); 6] = [
    ("contract/structure", "the component is valid and within the structural budget"),
    ("contract/imports", "the component imports its bundle and nothing else"),
    ("contract/exports", "the component exports the interface `resolve`"),
    ("contract/types", "all functions have the contract's types"),
    ("limits/compile", "the component compiles within the limits"),
    ("limits/instance", "an instance of the component is within the limits"),
];

/// Settings of a conformance run.
#[derive(Debug, Clone)]
pub struct Conformance {
    /// Seed of the generated scenarios.
    pub seed: u64,
    /// Number of generated scenarios.
    pub generated: u16,
    /// Beginning of the names of the checks to run, such as `laws/` or `laws/append`. All names begin with the empty text.
    pub only: String,
}

impl Default for Conformance {
    fn default() -> Self {
        Self { seed: 1, generated: 64, only: String::new() }
    }
}

impl Conformance {
    /// Checks a component. Resolutions run in the first sandbox; the others are other hosts, whose settings should differ.
    ///
    /// # Errors
    ///
    /// [`KitError`] if the checks cannot be run. Faults of the component are in the report.
    pub async fn check_component(&self, sandboxes: &[Sandbox], component: &[u8]) -> Result<Report, KitError> {
        let Some((sandbox, others)) = sandboxes.split_first() else { return Err(KitError::NoSandbox) };
        let reference = Sandboxed::load(sandbox, &[], worker_runtime::shipped::RESOLVER).await?;
        let (loading, subject): (Vec<CheckResult>, _) = match Sandboxed::load(sandbox, others, component).await {
            Ok(subject) => (LOADING.map(|check| result(check, Verdict::Passed, None)).into(), Some(subject)),
            Err(error) => (refused(error)?, None),
        };
        let mut report = match subject {
            Some(subject) => self.check(&subject, &reference).await?,
            None => self.report(Peak::default(), Checks::new(&self.only)?),
        };
        // A component that cannot be loaded fails, whichever checks were selected.
        let is_selected = |check: &CheckResult| check.name.starts_with(&self.only) || check.failure.is_some();
        report.checks.splice(0..0, loading.into_iter().filter(is_selected));
        report.checks.sort_by_key(|check| group(&check.name));
        Ok(report)
    }

    /// Checks a resolver that is not a component, or a component that is loaded already. `reference` gives the expected
    /// answers of hostile scenarios; the built-in resolver is one.
    ///
    /// # Errors
    ///
    /// [`KitError`] if the checks cannot be run. Faults of the resolver are in the report.
    pub async fn check(
        &self,
        subject: &dyn ResolverUnderTest,
        reference: &dyn ResolverUnderTest,
    ) -> Result<Report, KitError> {
        let mut session = Session { subject, reference, peak: Peak::default(), unanswered: 0 };
        let mut checks = Checks::new(&self.only)?;
        checks.run(self, &mut session).await?;
        let mut report = self.report(session.peak, checks);
        report.checks.sort_by_key(|check| group(&check.name));
        Ok(report)
    }

    fn report(&self, peak: Peak, checks: Checks) -> Report {
        Report { seed: self.seed.to_string(), generated: self.generated, peak, checks: checks.0 }
    }
}

/// Returns the position of a check's group in a report.
fn group(name: &str) -> usize {
    let group = name.split('/').next().unwrap_or_default();
    ["contract", "limits", "purity", "laws", "hostile", "corpus"].iter().position(|known| *known == group).unwrap_or(6)
}

/// Returns the checks of a component that was refused.
fn refused(error: LoadError) -> Result<Vec<CheckResult>, KitError> {
    let failed = match &error {
        LoadError::Structure(_) | LoadError::Invalid => "contract/structure",
        LoadError::ForeignImport { .. } => "contract/imports",
        LoadError::MissingExport { .. } => "contract/exports",
        LoadError::Link { .. } => "contract/types",
        LoadError::CompileLimit { .. } if !error.is_temporary() => "limits/compile",
        LoadError::Exceeds { .. } => "limits/instance",
        LoadError::CompileLimit { .. } | LoadError::OutOfMemory | LoadError::Compiler { .. } => {
            return Err(KitError::Load(error));
        }
    };
    let check = |check: (&'static str, &'static str)| {
        if check.0 != failed {
            return result(check, Verdict::NotRun, None);
        }
        result(check, Verdict::Failed, Some(failure(Violation::new(error.to_string()), None)))
    };
    Ok(LOADING.map(check).into())
}

fn result((name, claim): (&str, &str), verdict: Verdict, failure: Option<CheckFailure>) -> CheckResult {
    CheckResult { name: name.to_owned(), claim: claim.to_owned(), verdict, failure }
}

fn failure(violation: Violation, case: Option<Value>) -> CheckFailure {
    CheckFailure { problem: violation.problem, expected: violation.expected, found: violation.found, case }
}

/// A resolver under test, with what its runs used.
pub(super) struct Session<'a> {
    subject: &'a dyn ResolverUnderTest,
    reference: &'a dyn ResolverUnderTest,
    peak: Peak,
    unanswered: usize,
}

impl Session<'_> {
    /// Runs the resolver under test.
    pub(super) async fn run(&mut self, scenario: &Scenario) -> Result<Run, KitError> {
        let run = run(self.subject, scenario).await?;
        self.peak.runs += 1;
        self.peak.fuel = self.peak.fuel.max(run.cost.fuel);
        self.peak.memory_bytes = self.peak.memory_bytes.max(run.cost.memory_bytes);
        self.unanswered += usize::from(run.answer.is_err());
        Ok(run)
    }

    /// Runs the resolver under test on each other host.
    pub(super) async fn run_on_other_hosts(&self, scenario: &Scenario) -> Result<Vec<Run>, KitError> {
        let mut runs = Vec::new();
        for host in self.subject.on_other_hosts() {
            runs.push(run(host, scenario).await?);
        }
        Ok(runs)
    }
}

/// Runs a resolver. An error of the machine is not an error of the resolver.
async fn run(resolver: &dyn ResolverUnderTest, scenario: &Scenario) -> Result<Run, KitError> {
    let run = resolver.resolve(scenario.view(), scenario.facts(), scenario.request()).await;
    match run.answer {
        Err(error @ (RunError::Busy | RunError::OutOfMemory | RunError::Limit { limit: "wall_ms", .. })) => {
            Err(KitError::Run(error))
        }
        _ => Ok(run),
    }
}

/// One scenario with its run, and with the outcome that the reference has.
pub(super) struct Trial<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) run: Run,
    pub(super) outcome: Outcome,
    pub(super) reference: Outcome,
}

impl<'a> Trial<'a> {
    pub(super) async fn of(session: &mut Session<'_>, scenario: &'a Scenario) -> Result<Self, KitError> {
        let run_of_subject = session.run(scenario).await?;
        let reference = run(session.reference, scenario).await?;
        Ok(Self {
            outcome: Outcome::of(scenario, &run_of_subject),
            reference: Outcome::of(scenario, &reference),
            run: run_of_subject,
            scenario,
        })
    }
}

/// The checks that need runs, in the order in which they are reported.
struct Checks(Vec<CheckResult>);

impl Checks {
    /// Returns the checks whose names begin with `only`, as not run.
    fn new(only: &str) -> Result<Self, KitError> {
        let mut checks: Vec<CheckResult> = Vec::new();
        let mut add = |name: &str, claim: &str| {
            if name.starts_with(only) && !checks.iter().any(|check| check.name == name) {
                checks.push(result((name, claim), Verdict::NotRun, None));
            }
        };
        for property in Property::ALL {
            add(property.check(), property.claim());
        }
        for hostile in hostile::scenarios()? {
            add(hostile.check, hostile.claim);
        }
        for case in corpus()? {
            let claim = format!("all cases of `{}` of the corpus have their expected outcome", case.theme);
            add(&format!("corpus/{}", case.theme), &claim);
        }
        Ok(Self(checks))
    }

    async fn run(&mut self, settings: &Conformance, session: &mut Session<'_>) -> Result<(), KitError> {
        let has_properties = Property::ALL.iter().any(|property| self.is_open(property.check()));
        let generated = if has_properties { settings.generated.into() } else { 0 };
        for scenario in generate::scenarios(settings.seed, generated) {
            let trial = Trial::of(session, &scenario).await?;
            for property in Property::ALL {
                self.judge(session, *property, &trial).await?;
            }
            if session.unanswered >= MAX_UNANSWERED {
                return Ok(());
            }
        }
        for property in Property::ALL {
            self.pass(property.check());
        }
        let has_base = BASE.iter().any(|property| self.is_open(property.check()));
        for hostile in hostile::scenarios()? {
            if !has_base && !self.is_open(hostile.check) {
                continue;
            }
            let trial = Trial::of(session, &hostile.scenario).await?;
            for property in BASE {
                self.judge(session, property, &trial).await?;
            }
            self.expect(session, hostile.check, "", &trial, trial.reference.to_json()).await?;
            self.pass(hostile.check);
        }
        for case in corpus()? {
            let check = format!("corpus/{}", case.theme);
            if self.is_open(&check) {
                let trial = Trial::of(session, &case.scenario).await?;
                self.expect(session, &check, &case.name, &trial, case.expected.clone()).await?;
            }
        }
        for check in self.0.iter_mut().filter(|check| check.name.starts_with("corpus/")) {
            if check.verdict == Verdict::NotRun {
                check.verdict = Verdict::Passed;
            }
        }
        Ok(())
    }

    /// Judges a scenario by a property, unless another scenario violates it already.
    async fn judge(
        &mut self,
        session: &mut Session<'_>,
        property: Property,
        trial: &Trial<'_>,
    ) -> Result<(), KitError> {
        if !self.is_open(property.check()) {
            return Ok(());
        }
        if let Err(violation) = property.judge(session, trial).await? {
            let (scenario, violation) = smallest(session, property, trial.scenario, violation).await?;
            self.fail(property.check(), failure(violation, Some(scenario.to_json().clone())));
        }
        Ok(())
    }

    /// Compares an outcome with the expected one.
    async fn expect(
        &mut self,
        session: &mut Session<'_>,
        check: &str,
        case: &str,
        trial: &Trial<'_>,
        expected: Value,
    ) -> Result<(), KitError> {
        let found = trial.outcome.to_json();
        if found == expected || !self.is_open(check) {
            return Ok(());
        }
        let problem = match case {
            "" => "the outcome differs".to_owned(),
            case => format!("the outcome of the case `{case}` differs"),
        };
        let violation = Violation::of(problem.clone(), expected, found);
        let is_answered = !matches!(trial.outcome, Outcome::Ended(_));
        let (scenario, violation) = if is_answered {
            smallest(session, Property::Reference, trial.scenario, violation).await?
        } else {
            (trial.scenario.clone(), violation)
        };
        let violation = Violation { problem, ..violation };
        self.fail(check, failure(violation, Some(scenario.to_json().clone())));
        Ok(())
    }

    /// `true` if the check is selected and has not failed.
    fn is_open(&self, name: &str) -> bool {
        self.0.iter().any(|check| check.name == name && check.verdict != Verdict::Failed)
    }

    fn fail(&mut self, name: &str, failure: CheckFailure) {
        for check in self.0.iter_mut().filter(|check| check.name == name) {
            check.verdict = Verdict::Failed;
            check.failure = Some(failure.clone());
        }
    }

    /// Marks a check as passed, unless it has failed.
    fn pass(&mut self, name: &str) {
        for check in self.0.iter_mut().filter(|check| check.name == name && check.verdict == Verdict::NotRun) {
            check.verdict = Verdict::Passed;
        }
    }
}
