//! Conformance of a resolver to the contract, in any language.
//!
//! A [`Conformance`] run gives a resolver many [`Scenario`]s: generated ones, odd ones that are valid, and the case corpus.
//! Each check states one property of every resolver. A violation is reported with the smallest scenario that still shows it,
//! in the form of the case corpus.
//!
//! ```
//! use component_host::{Sandbox, SandboxConfig};
//! use resolver_testkit::Conformance;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//!
//! let sandbox = Sandbox::new(SandboxConfig::default())?;
//! let component = worker_runtime::shipped::RESOLVER;
//! let kit = Conformance { generated: 4, ..Conformance::default() };
//! let report = kit.check_component(&[sandbox], component).await?;
//! assert!(report.passed(), "{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program that tests its own sandbox passes two, with other settings: the answers must not depend on them. A resolver that
//! is not a component implements [`ResolverUnderTest`] and is passed to [`Conformance::check`]. Read `property` next: it lists
//! what is checked.

mod corpus;
mod error;
mod generate;
mod hostile;
mod laws;
mod outcome;
mod property;
mod purity;
mod report;
mod run;
mod scenario;
mod shrink;
mod subject;

pub use corpus::{CorpusCase, corpus};
pub use error::KitError;
pub use hostile::large_scenario;
pub use outcome::Outcome;
pub use report::{CheckFailure, CheckResult, Peak, Report, Verdict};
pub use run::Conformance;
pub use scenario::{Scenario, ScenarioError, open_bundle};
pub use subject::{ResolverUnderTest, Sandboxed};
