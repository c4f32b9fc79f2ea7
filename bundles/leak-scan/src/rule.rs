//! Rules of the scanner: id, kind and description.
//!
//! Each group of rules is declared in the module that implements it. [`rules`] joins the groups.

use std::fmt;

use crate::{assignments, credentials, endpoints, host_paths, providers, structured};

/// Kind of leak that a rule detects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A credential: a text that gives access to anyone who has it.
    Secret,
    /// A path, socket or address that is meaningful on one host only.
    HostPath,
}

impl Kind {
    /// Returns a noun phrase with its article, for use in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Secret => "a credential",
            Self::HostPath => "a host path",
        }
    }
}

/// A rule of the scanner. Its id is used to report and to accept findings.
#[derive(PartialEq, Eq, Hash)]
pub struct LeakRule {
    id: &'static str,
    kind: Kind,
    description: &'static str,
}

impl LeakRule {
    pub(crate) const fn secret(id: &'static str, description: &'static str) -> Self {
        Self { id, kind: Kind::Secret, description }
    }

    pub(crate) const fn host_path(id: &'static str, description: &'static str) -> Self {
        Self { id, kind: Kind::HostPath, description }
    }

    /// Returns the stable id, such as `secret.github` or `host_path.posix_absolute`. No id contains a word of eight
    /// letters that occurs in the values it matches, so a report that names the rule reveals no part of the value.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Returns the kind of leak that the rule detects.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns a short noun phrase for people, such as "GitHub token".
    pub fn description(&self) -> &'static str {
        self.description
    }
}

impl fmt::Debug for LeakRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id)
    }
}

/// Returns all rules. The order is fixed, and ids are unique.
pub fn rules() -> impl Iterator<Item = &'static LeakRule> {
    let named = [structured::RULES, credentials::RULES, assignments::RULES, endpoints::RULES, host_paths::RULES];
    providers::PROVIDERS.iter().map(|provider| &provider.rule).chain(named.into_iter().flatten().copied())
}

/// Returns the rule with this id.
pub fn rule(id: &str) -> Option<&'static LeakRule> {
    rules().find(|rule| rule.id == id)
}
