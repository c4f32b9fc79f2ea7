//! Errors of the kit itself, for which the resolver under test is not to blame.

use component_host::{LoadError, RunError};
use error_code::Code;

use super::scenario::ScenarioError;

/// Error returned if the checks cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// No sandbox was passed.
    #[error("no sandbox to run the resolver in")]
    NoSandbox,
    /// A component could not be loaded for a reason other than the component.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A run ended without an answer for a reason other than the resolver, or the answer was needed.
    #[error(transparent)]
    Run(RunError),
    /// The kit's own scenario is invalid.
    #[error("the scenario `{name}` of the kit is invalid: {source}")]
    Scenario {
        /// Name of the scenario.
        name: String,
        /// The reason.
        source: ScenarioError,
    },
}

impl KitError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::NoSandbox => Code::Usage,
            Self::Load(error) => error.code(),
            Self::Run(error) => error.code(),
            Self::Scenario { .. } => Code::Failed,
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> String {
        match self {
            Self::NoSandbox => "pass at least one sandbox".to_owned(),
            Self::Load(error) => error.help().to_owned(),
            Self::Run(error) => error.help().to_owned(),
            Self::Scenario { .. } => "report the scenario as an error of the kit".to_owned(),
        }
    }
}
