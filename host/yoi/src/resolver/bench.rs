//! `yoi resolver bench`: measures the cost of a component against the built-in resolver.

use std::process::ExitCode;

use component_host::Limits;
use resolver_testkit::bench::{CostComparison, compare};
use serde::Serialize;

use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs, ComponentRef};
use crate::text::{Rows, bytes, count, grouped};

/// Measures the cost of a component against the built-in resolver.
///
/// Both resolve the case corpus and a large bundle. Fuel and memory are the same on every machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Component, as `PATH` or `PATH@sha256:…`. `builtin` is the built-in resolver.
    component: ComponentRef,
    /// Runs of each resolution, of which the shortest time counts.
    #[arg(long, value_name = "COUNT", default_value_t = 5, env = "YOI_REPETITIONS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repetitions: u16,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    component: bundles::Digest,
    builtin: bundles::Digest,
    workloads: Vec<Workload>,
}

#[derive(Serialize)]
struct Workload {
    #[serde(flatten)]
    comparison: CostComparison,
    ratios: Ratios,
}

/// Cost of the measured resolver divided by that of the built-in one.
#[derive(Serialize)]
struct Ratios {
    fuel: f64,
    memory: f64,
    time: f64,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = Limits::default();
    let component = args.component.read_or_shipped(&limits)?;
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let comparisons = crate::block_on(compare(&sandbox, &component, args.repetitions.into()))??;
    let workloads = comparisons.map(|comparison| {
        let [fuel, memory, time] = comparison.ratios();
        Workload { comparison, ratios: Ratios { fuel, memory, time } }
    });
    let document = Document {
        schema: "yoi.resolver-bench/1",
        component: bundles::Digest::of(&component),
        builtin: bundles::Digest::of(worker_runtime::shipped::RESOLVER),
        workloads: workloads.into(),
    };
    output.result(&document, || text(&document));
    Ok(ExitCode::SUCCESS)
}

fn text(document: &Document) -> String {
    let mut rows = Rows::default();
    rows.row("component", document.component);
    rows.row("built-in", document.builtin);
    for Workload { comparison, ratios } in &document.workloads {
        let CostComparison { workload, scenarios, measured, builtin } = comparison;
        rows.row(workload, count(*scenarios, "resolution"));
        let time = |nanoseconds: u64| format!("{:.2} ms", nanoseconds as f64 / 1e6);
        for (label, measured, builtin, ratio) in [
            ("  fuel", grouped(measured.fuel), grouped(builtin.fuel), ratios.fuel),
            ("  memory", bytes(measured.memory_bytes), bytes(builtin.memory_bytes), ratios.memory),
            ("  time", time(measured.time_ns), time(builtin.time_ns), ratios.time),
        ] {
            rows.row(label, format!("{ratio:.1} times the built-in resolver ({measured} instead of {builtin})"));
        }
    }
    rows.into_text()
}
