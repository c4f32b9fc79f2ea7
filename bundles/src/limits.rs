//! Limits on bundles, each with its name and its reason.

use serde::{Deserialize, Serialize};

use crate::canonical::JsonBounds;

/// Limits on bundles. Errors name the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BundleLimits {
    /// Size of a manifest in bytes. The configuration of a team takes some ten kilobytes, and a thousand profiles take
    /// one megabyte.
    pub manifest_bytes: usize,
    /// Nesting of arrays and objects in a manifest, including settings.
    pub json_depth: usize,
    /// Size of one prompt, workflow definition or schema in bytes.
    pub blob_bytes: usize,
    /// Estimated total size of the compiled patterns of one tool schema in bytes. `[\p{L}]{60}` counts as 1.5 MB.
    /// Without this limit, compiling a few kilobytes of patterns could take gigabytes of memory and a minute.
    pub pattern_bytes: usize,
    /// Size of the `plugin.toml` of one package in bytes. The schemas of its tools take most of it.
    pub plugin_toml_bytes: usize,
    /// Size of the component of one package in bytes, as in the limits on components.
    pub component_bytes: usize,
    /// Number of tools of one plugin. A person reviews each of them.
    pub plugin_tools: usize,
    /// Size of one plugin package in bytes: a component of 32 MiB and its accompanying files.
    pub package_bytes: usize,
    /// Total size of the plugin packages of one bundle in bytes, as declared in the manifest: twelve of the largest.
    /// Packages travel beside a bundle and do not count against `bundle_bytes`.
    pub packages_bytes: usize,
    /// Number of blobs of one bundle.
    pub blobs: usize,
    /// Size of the single-file form of a bundle in bytes, and of its manifest and blobs together. Plugin packages count
    /// only if they are packed into the file.
    pub bundle_bytes: usize,
    /// Number of profiles of one bundle.
    pub profiles: usize,
    /// Number of profiles in one inheritance chain. The cost of a resolution grows with it.
    pub lineage: usize,
    /// Number of parents of one profile.
    pub parents: usize,
    /// Number of layers of one profile.
    pub layers: usize,
    /// Number of names in one list, of wishes of one layer, and of paths of all request or websocket targets of one plugin.
    pub list_items: usize,
    /// Size of one description, reason or other text in a manifest in bytes.
    pub text_bytes: usize,
    /// Size of one key of settings or parameters in bytes. The name of a setting contains all keys above it, so a long
    /// key adds to the name of everything below it.
    pub key_bytes: usize,
    /// Total size of the settings that all layers of one profile's lineage write in bytes. This is the maximum size of
    /// the settings of a resolution.
    pub settings_bytes: usize,
    /// Number of files of an authoring folder.
    pub files: usize,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            json_depth: 32,
            blob_bytes: 1 << 20,
            pattern_bytes: tool_schema::DEFAULT_PATTERN_BYTES,
            plugin_toml_bytes: 1 << 20,
            component_bytes: 32 << 20,
            plugin_tools: 128,
            package_bytes: 40 << 20,
            packages_bytes: 512 << 20,
            blobs: 8192,
            bundle_bytes: 64 << 20,
            profiles: 4096,
            lineage: 32,
            parents: 16,
            layers: 64,
            list_items: 1024,
            text_bytes: 4096,
            key_bytes: 256,
            settings_bytes: 256 << 10,
            files: 16384,
        }
    }
}

impl BundleLimits {
    /// Returns the limits for parsing a manifest.
    pub fn manifest(&self) -> JsonBounds {
        JsonBounds { bytes: ("manifest_bytes", self.manifest_bytes), depth: ("json_depth", self.json_depth) }
    }

    /// Returns the maximum size of an envelope in bytes: a manifest in base64 and the text around it. Derived from
    /// `manifest_bytes`, so that every valid manifest can be signed.
    pub fn envelope_bytes(&self) -> usize {
        // Signatures take 200 bytes each. The rest is for white space that other signers write.
        const AROUND: usize = 64 << 10;
        self.manifest_bytes.div_ceil(3).saturating_mul(4).saturating_add(AROUND)
    }

    /// Returns the maximum size of the single-file form of a bundle with an envelope in bytes.
    pub fn archive_bytes(&self) -> usize {
        const HEADER_AND_PADDING: usize = 1024;
        self.bundle_bytes.saturating_add(self.envelope_bytes()).saturating_add(HEADER_AND_PADDING)
    }

    /// Returns the limits for parsing a tool's schema.
    pub fn schema(&self) -> JsonBounds {
        JsonBounds { bytes: ("blob_bytes", self.blob_bytes), depth: ("json_depth", self.json_depth) }
    }
}
