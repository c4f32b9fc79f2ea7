//! Faults of packages, which a Runtime finds before it decides about a worker.

use std::collections::BTreeMap;

use bundles::{PluginName, ToolName};

use crate::enforce::Rule;

/// Faults of the plugins of one bundle. A plugin that is not named has none, as far as the caller knows.
pub type PackageFaults = BTreeMap<PluginName, PackageFault>;

/// Fault of a plugin's package on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageFault {
    /// The package is not in the store.
    Missing,
    /// The stored package does not have its digest.
    Damaged,
    /// The package is not a valid archive or its manifest is invalid. Holds the first problem.
    Invalid(String),
    /// The bundle's descriptor differs from the package's manifest. Holds the first difference.
    Mismatch(String),
    /// This Runtime does not run components of the plugin's world. Holds the problem, which names the world.
    UnsupportedWorld(String),
    /// A schema of the package's manifest is invalid. Holds the first problem.
    InvalidSchema(String),
    /// The component imports interfaces that its world does not have.
    ForeignImport(Vec<String>),
    /// The component cannot be loaded. Holds the reason.
    Unloadable(String),
    /// The component could not be loaded now, which says nothing about the component.
    NotLoaded {
        /// The reason.
        reason: String,
        /// The remedy.
        remedy: String,
    },
    /// The granted config is invalid. Holds the reason.
    InvalidConfig(String),
    /// A tool of the host has the same name.
    HostTool(ToolName),
}

impl PackageFault {
    /// `true` if the fault can end without another package or config: the package can be put again, or loading it can
    /// succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Missing | Self::Damaged | Self::NotLoaded { .. })
    }

    /// Returns the rule that refuses the plugin.
    pub(crate) fn rule(&self) -> Rule {
        match self {
            Self::Missing => Rule::PackageMissing,
            Self::Damaged => Rule::PackageDamaged,
            Self::Invalid(_) => Rule::PackageInvalid,
            Self::Mismatch(_) => Rule::DescriptorMismatch,
            Self::UnsupportedWorld(_) => Rule::UnsupportedWorld,
            Self::InvalidSchema(_) => Rule::InvalidSchema,
            Self::ForeignImport(_) => Rule::ImportNotAllowed,
            Self::Unloadable(_) => Rule::ComponentRefused,
            Self::NotLoaded { .. } => Rule::ComponentNotLoaded,
            Self::InvalidConfig(_) => Rule::PluginConfigInvalid,
            Self::HostTool(_) => Rule::DuplicateTool,
        }
    }

    /// Returns the reason and the remedy.
    pub(crate) fn reason_and_remedy(&self, name: &PluginName) -> (String, String) {
        // The remedy of a missing or damaged package stands alone in the error of a tool call, so it names the plugin.
        let (reason, remedy) = match self {
            Self::Missing => {
                let remedy = format!("put the package of plugin `{name}` into the workspace");
                return (format!("the package of plugin `{name}` is not stored"), remedy);
            }
            Self::Damaged => {
                let remedy = format!("put the package of plugin `{name}` again");
                return (format!("the stored package of plugin `{name}` is damaged"), remedy);
            }
            Self::Invalid(problem) => (
                format!("the package of plugin `{name}` is invalid: {problem}"),
                "correct the package, and grant the new digest",
            ),
            Self::Mismatch(difference) => (
                format!("the bundle describes plugin `{name}` differently: {difference}"),
                "build the bundle with the package, so that the descriptor is derived from it",
            ),
            Self::UnsupportedWorld(problem) => (
                format!("this Runtime does not run the component of plugin `{name}`: {problem}"),
                "use a Runtime that supports the world",
            ),
            Self::InvalidSchema(problem) => (
                format!("a schema of plugin `{name}` is invalid: {problem}"),
                "correct the schema in the plugin's manifest, and grant the new digest",
            ),
            Self::ForeignImport(imports) => {
                let imports: Vec<String> = imports.iter().map(|import| format!("`{import}`")).collect();
                (
                    format!(
                        "the component of plugin `{name}` imports {}, which its world does not have",
                        imports.join(", ")
                    ),
                    "build the component without these imports, for example with stubbed WASI",
                )
            }
            Self::Unloadable(problem) => (
                format!("the component of plugin `{name}` cannot be loaded: {problem}"),
                "build the component again, for the world that the manifest names",
            ),
            Self::NotLoaded { reason, remedy } => {
                (format!("the component of plugin `{name}` could not be loaded now: {reason}"), remedy.as_str())
            }
            Self::InvalidConfig(problem) => (
                format!("the granted config of plugin `{name}` is invalid: {problem}"),
                "correct `config` in the grant by the schema in the plugin's manifest",
            ),
            Self::HostTool(tool) => (
                format!("plugin `{name}` offers tool `{tool}`, which is a tool of the host"),
                "rename the tool in the plugin",
            ),
        };
        (reason, remedy.to_owned())
    }
}
