//! `yoi resolver check`: checks that a component conforms to the contract of resolvers.

use std::process::ExitCode;

use component_host::{Allocation, Limits};
use resolver_testkit::Conformance;
use resolver_testkit::conformance::{CheckResult, Report, Verdict};
use runtime_api::Code;
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs, ComponentRef};
use crate::text::{Rows, bytes, count, grouped};

/// Checks that a component conforms to the contract of resolvers.
///
/// The component resolves generated bundles, odd bundles that are valid, and the case corpus, within the default limits. A
/// failed check is shown with the smallest bundle that fails. The exit code is 6 if a check fails.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Component, as `PATH` or `PATH@sha256:…`. `builtin` is the built-in resolver.
    component: ComponentRef,
    /// Seed of the generated bundles. The same seed gives the same bundles.
    #[arg(long, value_name = "NUMBER", default_value_t = Conformance::default().seed, env = "YOI_SEED")]
    seed: u64,
    /// Number of generated bundles.
    #[arg(long, value_name = "COUNT", default_value_t = Conformance::default().generated, env = "YOI_GENERATED", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    generated: u16,
    /// Beginning of the names of the checks to run, such as `laws/`.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, env = "YOI_ONLY")]
    only: String,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    component: bundles::Digest,
    passed: bool,
    #[serde(flatten)]
    report: Report,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = Limits::default();
    let component = args.component.read_or_shipped(&limits)?;
    let kit = Conformance { seed: args.seed, generated: args.generated, only: args.only.clone() };
    // The second sandbox is another host: it allocates differently, and allows more.
    let mut others = limits.clone();
    others.resolution.lookups = others.resolution.lookups.saturating_mul(2);
    let sandboxes = [
        sandbox::start(&args.cache, limits, output)?,
        sandbox::start_with(&args.cache, others, Allocation::OnDemand, output)?,
    ];
    let report = crate::block_on(kit.check_component(&sandboxes, &component))??;
    if report.checks.is_empty() {
        let message = format!("no check is called `{}`", bundles::one_line(&args.only));
        return Err(CliError::new(
            Code::Usage,
            message,
            "list the names of all checks: omit `--only`, and pass `--format json`",
        ));
    }
    let document = Document {
        schema: "yoi.resolver-check/1",
        component: bundles::Digest::of(&component),
        passed: report.passed(),
        report,
    };
    output.result(&document, || text(&document));
    let exit = if document.passed { 0 } else { Code::ResolverMisbehaved.exit_code() };
    Ok(ExitCode::from(exit))
}

fn text(document: &Document) -> String {
    let report = &document.report;
    let mut rows = Rows::default();
    rows.row("component", document.component);
    rows.row("generated", format!("{}, seed {}", count(report.generated.into(), "bundle"), report.seed));
    let peak = report.peak;
    rows.row(
        "peak",
        format!("{} fuel and {} of memory in {} runs", grouped(peak.fuel), bytes(peak.memory_bytes), peak.runs),
    );
    for checks in report.checks.chunk_by(|one, two| group(one) == group(two)) {
        let passed = checks.iter().filter(|check| check.verdict == Verdict::Passed).count();
        let group = checks.first().map(group).unwrap_or_default();
        if checks.iter().all(|check| check.verdict == Verdict::NotRun) {
            rows.row(group, "not run");
        } else {
            rows.noted(group, format!("{passed} of {}", count(checks.len(), "check")), "passed");
        }
    }
    for (check, failure) in report.failures() {
        rows.row("failed", &check.name);
        rows.row("claim", &check.claim);
        rows.row("problem", &failure.problem);
        for (label, value) in [("expected", &failure.expected), ("found", &failure.found), ("case", &failure.case)] {
            rows.list(label, value);
        }
    }
    let verdict = match (report.count(Verdict::Failed), report.count(Verdict::NotRun)) {
        (0, 0) => format!("{} passed", count(report.checks.len(), "check")),
        (failed, 0) => format!("{} failed", count(failed, "check")),
        (failed, not_run) => {
            format!("{} failed, {not_run} not run: mend the failure first", count(failed, "check"))
        }
    };
    rows.row("verdict", verdict);
    rows.into_text()
}

/// Returns the first word of the name of a check.
fn group(check: &CheckResult) -> &str {
    check.name.split('/').next().unwrap_or_default()
}
