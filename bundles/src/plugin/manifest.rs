//! The manifest of a package: `plugin.toml`.
//!
//! A [`PluginManifest`] can only be created by [`PluginManifest::parse`], so its texts and lists are within the limits,
//! its schemas have no faults, it agrees with itself, and no text contains a credential or a host path.

use error_code::Code;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;
use tool_schema::Schema;

use crate::author;
use crate::canonical::{JsonError, parse_unique, to_canonical};
use crate::check;
use crate::diagnostic::{Diagnostics, Severity};
use crate::folder::Folder;
use crate::leak_report;
use crate::limits::BundleLimits;
use crate::manifest::{BlobRef, Effect, Permissions, Plugin};
use crate::names::{IngressName, PluginName, Surface, ToolName};
use crate::pointer::Pointer;
use crate::reporter::Reporter;

/// Name of the manifest in every form of a package.
pub const MANIFEST: &str = "plugin.toml";

/// Value of `schema` in the manifests that this version reads.
pub const SCHEMA: &str = "yoi.plugin/1";

/// A verified `plugin.toml`. Serializes to JSON for output only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginManifest {
    pub(crate) name: PluginName,
    pub(crate) version: semver::Version,
    pub(crate) world: PluginWorld,
    pub(crate) description: String,
    pub(crate) surfaces: Vec<Surface>,
    pub(crate) tools: BTreeMap<ToolName, PluginTool>,
    pub(crate) permissions: Permissions,
    pub(crate) ingress: BTreeMap<IngressName, String>,
    pub(crate) config: Option<Value>,
}

/// A tool that a plugin offers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginTool {
    pub(crate) description: String,
    pub(crate) effect: Effect,
    pub(crate) input: Value,
    pub(crate) output: Value,
}

impl PluginTool {
    /// Returns the description for the model.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the maximum effect of a call.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Returns the JSON Schema of the input.
    pub fn input(&self) -> &Value {
        &self.input
    }

    /// Returns the JSON Schema of the output.
    pub fn output(&self) -> &Value {
        &self.output
    }
}

/// World that the component of a package implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginWorld {
    /// A fresh instance answers each call.
    Tool,
    /// One instance serves for the life of a worker.
    Service,
}

impl PluginWorld {
    /// All worlds that this version supports.
    pub const ALL: [Self; 2] = [Self::Tool, Self::Service];

    /// Returns the WIT name with its version.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "yoi:runtime/tool@1.0.0",
            Self::Service => "yoi:runtime/service@1.0.0",
        }
    }
}

impl fmt::Display for PluginWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PluginWorld {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl PluginManifest {
    /// Parses and checks the text of a `plugin.toml`.
    ///
    /// # Errors
    ///
    /// All problems of the text, with their places.
    pub fn parse(text: &[u8], limits: &BundleLimits) -> Result<Self, Diagnostics> {
        let allowed = limits.plugin_toml_bytes;
        if text.len() > allowed {
            let folder = Folder::default();
            let mut reporter = Reporter::new(&folder, Vec::new());
            let message = format!("file exceeds limit `plugin_toml_bytes` ({} > {allowed} bytes)", text.len());
            reporter.whole(
                MANIFEST,
                Code::TooLarge,
                message,
                "shorten the schemas and descriptions, or raise the limit",
            );
            return Err(reporter.finish());
        }
        let folder = Folder::from_files([(MANIFEST.to_owned(), text.to_vec())]);
        let mut errors = Vec::new();
        let read = author::read_plugin(&folder, &mut errors);
        let mut reporter = Reporter::new(&folder, errors);
        let Some((manifest, places)) = read else { return Err(reporter.finish()) };
        // A field that could not be read is absent here.
        let agreement = if reporter.has_errors() { Vec::new() } else { check::plugin::agreement(&manifest) };
        for violation in check::plugin::fields(&manifest, limits).into_iter().chain(agreement) {
            reporter.violation(&places, Severity::Error, violation);
        }
        let findings = leak_report::scan_plugin(&manifest);
        for (at, schema) in manifest.schemas() {
            // Faults are reported with the keys around them, and a key may contain a leak.
            if !findings.iter().any(|finding| finding.exact.as_str().starts_with(at.as_str()))
                && let Err(faults) = Schema::parse(schema, limits.pattern_bytes)
            {
                for fault in faults {
                    let (message, help) = (format!("invalid schema {fault}"), fault.problem.help().to_owned());
                    let at = at.join(&fault.pointer);
                    reporter.at(&places, &at, Severity::Error, Code::InvalidSchema, message, help);
                }
            }
        }
        for finding in &findings {
            reporter.finding(&places, finding);
        }
        let text = folder.get(MANIFEST).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        reporter.comments(MANIFEST, &author::without_values(text));
        if reporter.has_errors() { Err(reporter.finish()) } else { Ok(manifest) }
    }

    /// Returns the name.
    pub fn name(&self) -> &PluginName {
        &self.name
    }

    /// Returns the version.
    pub fn version(&self) -> &semver::Version {
        &self.version
    }

    /// Returns the world that the component implements.
    pub fn world(&self) -> PluginWorld {
        self.world
    }

    /// Returns the purpose, in a sentence.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the offered surfaces.
    pub fn surfaces(&self) -> &[Surface] {
        &self.surfaces
    }

    /// Returns the offered tools by name.
    pub fn tools(&self) -> &BTreeMap<ToolName, PluginTool> {
        &self.tools
    }

    /// Returns the requested permissions. A request does not grant access.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Returns the names under which the plugin receives events, each with a description.
    pub fn ingress(&self) -> &BTreeMap<IngressName, String> {
        &self.ingress
    }

    /// Returns the JSON Schema of the config that a grant gives, if the plugin has a config.
    pub fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    /// Returns the descriptor for a bundle that names `package`.
    pub fn descriptor(&self, package: BlobRef) -> Plugin {
        Plugin {
            version: self.version.clone(),
            package,
            world: self.world.into(),
            description: self.description.clone(),
            surfaces: self.surfaces.clone(),
            tools: self.tools.iter().map(|(name, tool)| (name.clone(), tool.effect)).collect(),
            ingress: self.ingress.keys().cloned().collect(),
            permissions: self.permissions.clone(),
        }
    }

    /// Returns the schemas of the tools and of the config, each with a pointer to its place in the manifest.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (Pointer, &Value)> {
        let root = Pointer::root();
        let config = self.config.iter().map(|schema| (Pointer::root().key("config"), schema));
        let of_tools = self.tools.iter().flat_map(move |(name, tool)| {
            let at = root.key("tools").key(name);
            [(at.key("input"), &tool.input), (at.key("output"), &tool.output)]
        });
        of_tools.chain(config)
    }
}

/// Returns a JSON value as it is after writing it in canonical form, so that equal content is equal.
pub(crate) fn normal(value: &Value) -> Result<Value, JsonError> {
    parse_unique(&to_canonical(value)?)
}
