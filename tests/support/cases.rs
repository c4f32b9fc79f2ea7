//! The case corpus in `tests/cases`, which defines resolution exactly. Every resolver must pass it.

use component_host::Resolver;
use resolver_testkit::conformance::{CorpusCase, Outcome, corpus};
use serde_json::Value;

/// Returns the cases whose bundle a host accepts. The others test resolvers without a host.
pub fn all() -> &'static [CorpusCase] {
    corpus().expect("the corpus")
}

/// Runs a resolver, verifies its answer like a host, and converts it to the corpus's form.
pub async fn answer(resolver: &Resolver, case: &CorpusCase) -> Value {
    let scenario = &case.scenario;
    let run = resolver.resolve(scenario.view(), scenario.facts(), scenario.request()).await;
    Outcome::of(scenario, &run).to_json()
}
