//! The worlds that components are admitted for, and the check of a component's imports and exports against one.
//!
//! The check reads names only and runs before compilation. Linking checks the types.

use crate::error::LoadError;
use crate::structure::Structure;

/// A world of the contract: the imports that a component may have, and the exports that it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// A profile resolver.
    Resolver,
    /// A plugin whose tools are answered by a fresh instance each.
    Tool,
    /// A plugin that one instance serves for the life of a worker.
    Service,
}

const BUNDLE: &str = "yoi:resolver/bundle@1.0.0";
const RESOLVER_TYPES: &str = "yoi:resolver/types@1.0.0";
const HOST_INTERFACES: [&str; 8] = [
    "yoi:host/log@1.0.0",
    "yoi:host/monotonic-clock@1.0.0",
    "yoi:host/wall-clock@1.0.0",
    "yoi:host/random@1.0.0",
    "yoi:host/request@1.0.0",
    "yoi:host/websocket@1.0.0",
    "yoi:host/types@1.0.0",
    "yoi:plugin/types@1.0.0",
];

pub(crate) const RESOLVE: &str = "yoi:resolver/resolve@1.0.0";
pub(crate) const TOOLS: &str = "yoi:plugin/tools@1.0.0";
pub(crate) const LIFECYCLE: &str = "yoi:plugin/lifecycle@1.0.0";

impl World {
    /// Returns the full name, such as `yoi:runtime/resolver@1.0.0`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolver => "yoi:runtime/resolver@1.0.0",
            Self::Tool => "yoi:runtime/tool@1.0.0",
            Self::Service => "yoi:runtime/service@1.0.0",
        }
    }

    /// Returns the interfaces that a component of this world may import. Some of them hold only types.
    #[must_use]
    pub const fn allowed_imports(self) -> &'static [&'static str] {
        match self {
            Self::Resolver => &[BUNDLE, RESOLVER_TYPES],
            Self::Tool | Self::Service => &HOST_INTERFACES,
        }
    }

    /// Returns the interfaces that a component of this world must export.
    #[must_use]
    pub const fn required_exports(self) -> &'static [&'static str] {
        match self {
            Self::Resolver => &[RESOLVE],
            Self::Tool => &[TOOLS],
            Self::Service => &[TOOLS, LIFECYCLE],
        }
    }

    /// Returns the word for a component of this world in messages.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Resolver => "a resolver",
            Self::Tool => "a tool plugin",
            Self::Service => "a service plugin",
        }
    }

    /// Checks the names of a component's imports and exports.
    ///
    /// # Errors
    ///
    /// [`LoadError::ForeignImport`] or [`LoadError::MissingExport`].
    pub fn check_contract(self, structure: &Structure) -> Result<(), LoadError> {
        let foreign = |name: &&str| !self.allowed_imports().contains(name);
        let imports: Vec<String> =
            structure.imports().iter().map(|item| item.name()).filter(foreign).map(str::to_owned).collect();
        if !imports.is_empty() {
            return Err(LoadError::ForeignImport { world: self, imports });
        }
        let is_missing = |export: &&&str| !structure.exports().iter().any(|item| item.name() == **export);
        match self.required_exports().iter().find(is_missing) {
            Some(export) => Err(LoadError::MissingExport { world: self, export }),
            None => Ok(()),
        }
    }
}
