//! Cost of a resolver, compared with the built-in one in the same sandbox.
//!
//! Fuel and memory are the same on every machine. Time depends on the machine, so only its ratio is of use elsewhere.

use std::time::Duration;

use component_host::{Cost, Resolver, Sandbox};
use serde::Serialize;

use crate::conformance::{KitError, Scenario, corpus, large_scenario};

/// Costs of two resolvers for the same scenarios.
#[derive(Debug, Clone, Serialize)]
pub struct CostComparison {
    /// Description of the scenarios.
    pub workload: &'static str,
    /// Number of scenarios.
    pub scenarios: usize,
    /// Cost of the measured resolver.
    pub measured: Usage,
    /// Cost of the built-in resolver.
    pub builtin: Usage,
}

/// Resources that one resolver used for all scenarios of a workload.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Usage {
    /// Sum of the fuel.
    pub fuel: u64,
    /// Largest size of all memories of a run.
    pub memory_bytes: u64,
    /// Sum of the shortest times of each scenario, in nanoseconds.
    pub time_ns: u64,
}

impl Usage {
    fn add(&mut self, cost: Cost) {
        self.fuel += cost.fuel;
        self.memory_bytes = self.memory_bytes.max(cost.memory_bytes);
        self.time_ns += u64::try_from(cost.elapsed.as_nanos()).unwrap_or(u64::MAX);
    }
}

impl CostComparison {
    /// Returns the ratios of fuel, memory and time of the measured resolver to the built-in one.
    pub fn ratios(&self) -> [f64; 3] {
        let ratio = |measured: u64, builtin: u64| measured as f64 / builtin.max(1) as f64;
        [
            ratio(self.measured.fuel, self.builtin.fuel),
            ratio(self.measured.memory_bytes, self.builtin.memory_bytes),
            ratio(self.measured.time_ns, self.builtin.time_ns),
        ]
    }
}

/// Compares a component with the built-in resolver on the case corpus and on a large bundle. Each resolution runs `repetitions`
/// times, and the shortest time counts.
///
/// # Errors
///
/// [`KitError`] if the component cannot be loaded or gives no answer.
pub async fn compare(sandbox: &Sandbox, component: &[u8], repetitions: usize) -> Result<[CostComparison; 2], KitError> {
    let measured = sandbox.load(component).await?;
    let builtin = sandbox.load(worker_runtime::shipped::RESOLVER).await?;
    let corpus: Vec<Scenario> = corpus()?.iter().map(|case| case.scenario.clone()).collect();
    let mut comparisons = [
        CostComparison { workload: "case corpus", scenarios: corpus.len(), ..CostComparison::empty() },
        CostComparison { workload: "large bundle", scenarios: 1, ..CostComparison::empty() },
    ];
    for (comparison, scenarios) in comparisons.iter_mut().zip([corpus, vec![large_scenario()?]]) {
        for scenario in &scenarios {
            comparison.measured.add(cost(&measured, scenario, repetitions).await?);
            comparison.builtin.add(cost(&builtin, scenario, repetitions).await?);
        }
    }
    Ok(comparisons)
}

impl CostComparison {
    fn empty() -> Self {
        Self { workload: "", scenarios: 0, measured: Usage::default(), builtin: Usage::default() }
    }
}

/// Returns the cost of a resolution, with the shortest time of all repetitions.
async fn cost(resolver: &Resolver, scenario: &Scenario, repetitions: usize) -> Result<Cost, KitError> {
    let mut shortest = Cost { elapsed: Duration::MAX, ..Cost::default() };
    for _ in 0..repetitions.max(1) {
        let run = resolver.resolve(scenario.view(), scenario.facts(), scenario.request()).await;
        if let Err(error) = run.answer {
            return Err(KitError::Run(error));
        }
        if run.cost.elapsed < shortest.elapsed {
            shortest = run.cost;
        }
    }
    Ok(shortest)
}
