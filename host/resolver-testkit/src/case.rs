//! Test cases of bundles and resolvers: a TOML file states the inputs of resolutions and the values that are expected.
//!
//! [`CaseFile::parse`] reads a file, [`observe`] computes the actual values of a case, [`Case::compare`] compares them, and
//! [`CaseFile::blessed`] writes them into the file. The caller opens the files that a case names. Start with [`Case`].
//!
//! ```
//! use error_code::Code;
//! use resolver_testkit::case::{CaseFile, CaseSubject, Observation};
//!
//! let text = r#"
//! [[case]]
//! name = "a host without a model is refused"
//! profile = "coder"
//! expect.failure = "no_model"
//! "#;
//! let file = CaseFile::parse("tests/coder.toml", text, CaseSubject::Bundle).unwrap();
//! let actual = Observation::of_failure(Code::UnknownProfile, "profile `coder` not found in this bundle");
//! let mismatches = file.cases()[0].compare(&actual);
//! assert_eq!(mismatches[0].line, 5);
//! assert!(file.blessed([(0, &actual)]).unwrap().contains("expect.failure = \"unknown_profile\""));
//! ```

mod bless;
mod compare;
mod file;
mod junit;
mod observation;
mod source;

use std::fmt;
use std::ops::Range;

use bundles::{Capability, ProfileName};
use host_policy::Request;
use serde_json::Value;

pub use bless::BlessError;
pub use compare::Mismatch;
pub use file::CaseFile;
pub use junit::{JunitCase, junit};
pub use observation::{Observation, observe};
pub use source::{BundleSource, CasePath, FactsSource, InvalidCasePath, ResolverSource};

/// Maximum size of a file with cases in bytes. A case has about 500 bytes.
pub const MAX_CASE_FILE_BYTES: usize = 1 << 20;

/// Maximum number of cases in a file. Each is at least one run of a resolver.
pub const MAX_CASES: usize = 1000;

/// Maximum length of a case's name in bytes.
pub const MAX_CASE_NAME_BYTES: usize = 200;

/// The subject of the cases in a file, which determines the inputs that a case may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseSubject {
    /// A bundle. A case may name a resolver.
    Bundle,
    /// A resolver. Each case names a bundle.
    Resolver,
}

/// One resolution and its expected values.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    name: String,
    line: usize,
    profile: ProfileName,
    require: Vec<Capability>,
    facts: FactsSource,
    config: Option<CasePath>,
    resolver: Option<ResolverSource>,
    bundle: Option<BundleSource>,
    /// `None` if the case states no expectations yet.
    expect: Option<Vec<Expectation>>,
}

impl Case {
    /// Returns the name, which is unique in its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the line of the name, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the request of the resolution.
    pub fn request(&self) -> Request {
        Request::new(self.profile.clone(), self.require.iter().cloned())
    }

    /// Returns the source of the facts.
    pub fn facts(&self) -> &FactsSource {
        &self.facts
    }

    /// Returns the config of the host whose policy is enforced. Without one, no policy is enforced.
    pub fn config(&self) -> Option<&CasePath> {
        self.config.as_ref()
    }

    /// Returns the resolver, if the case names one.
    pub fn resolver(&self) -> Option<&ResolverSource> {
        self.resolver.as_ref()
    }

    /// Returns the bundle. Every case of a resolver has one, and no other case.
    pub fn bundle(&self) -> Option<&BundleSource> {
        self.bundle.as_ref()
    }

    fn expectation(&self, field: Field) -> Option<&Expectation> {
        self.expect.as_ref()?.iter().find(|expectation| expectation.field == field)
    }
}

/// Expected value of a field.
#[derive(Debug, Clone, PartialEq)]
struct Expectation {
    field: Field,
    value: Value,
    /// Line of the value, from 1.
    line: usize,
    span: Range<usize>,
}

/// A value of a resolution or of a worker that a case can state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Code of the failure, or `denied` if the host refuses the worker.
    Failure,
    /// Required parts that the host refuses, each with the code of the rule.
    Refused,
    /// The chosen model. An empty text if there is none.
    Model,
    /// Prompts, in the order in which a worker reads them.
    Instructions,
    /// Tools.
    Tools,
    /// Plugins.
    Plugins,
    /// Workflows.
    Workflows,
    /// The language.
    Language,
    /// Required authorities.
    Requires,
    /// Optional authorities.
    Wants,
    /// Authorities that the host grants.
    Grants,
    /// Optional parts that the host refuses, each with the code of the rule.
    Narrowed,
    /// Settings. They are last, because they may be a table of their own in a file.
    Settings,
}

impl Field {
    /// All fields, in the order in which they are written into a file.
    pub const ALL: [Self; 13] = [
        Self::Failure,
        Self::Refused,
        Self::Model,
        Self::Instructions,
        Self::Tools,
        Self::Plugins,
        Self::Workflows,
        Self::Language,
        Self::Requires,
        Self::Wants,
        Self::Grants,
        Self::Narrowed,
        Self::Settings,
    ];

    /// Returns the key in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Refused => "refused",
            Self::Model => "model",
            Self::Instructions => "instructions",
            Self::Tools => "tools",
            Self::Plugins => "plugins",
            Self::Workflows => "workflows",
            Self::Language => "language",
            Self::Requires => "requires",
            Self::Wants => "wants",
            Self::Grants => "grants",
            Self::Narrowed => "narrowed",
            Self::Settings => "settings",
        }
    }

    /// `true` if the field exists only if the policy of a host is enforced.
    fn needs_config(self) -> bool {
        matches!(self, Self::Refused | Self::Grants | Self::Narrowed)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
