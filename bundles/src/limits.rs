//! Bounds on bundles, each with its name and its reason.

use serde::{Deserialize, Serialize};

use crate::canonical::JsonBounds;

/// What a bundle may be at the most. Errors name the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BundleLimits {
    /// Bytes of a manifest. A team's configuration is some ten kilobytes; a thousand profiles one
    /// megabyte.
    pub manifest_bytes: usize,
    /// Levels of arrays and objects in a manifest, settings included.
    pub json_depth: usize,
    /// Bytes of one prompt, workflow definition or schema.
    pub blob_bytes: usize,
    /// Estimated bytes of the compiled patterns of one tool schema together. `[\p{L}]{60}` counts as 1.5 MB.
    /// Without this limit, compiling a few kilobytes of patterns could take gigabytes of memory and a minute.
    pub pattern_bytes: usize,
    /// Bytes of one plugin package: a component of 32 MiB and what lies beside it.
    pub package_bytes: usize,
    /// Bytes of all plugin packages of one bundle together, by the sizes that the manifest declares:
    /// twelve of the largest. Packages travel beside a bundle and do not count against `bundle_bytes`.
    pub packages_bytes: usize,
    /// Blobs of one bundle.
    pub blobs: usize,
    /// Bytes of a bundle in its single-file form, and of its manifest and blobs together. Plugin
    /// packages count only where they are packed into the single file.
    pub bundle_bytes: usize,
    /// Profiles of one bundle.
    pub profiles: usize,
    /// Profiles in one inheritance chain, which is what a resolution's cost grows with.
    pub lineage: usize,
    /// Parents of one profile.
    pub parents: usize,
    /// Layers of one profile.
    pub layers: usize,
    /// Names in one list, and wishes of one layer.
    pub list_items: usize,
    /// Bytes of one description, reason or other text in a manifest.
    pub text_bytes: usize,
    /// Bytes of one key of settings or parameters. A setting is named by all keys above it, so a
    /// long one is paid for by everything below it.
    pub key_bytes: usize,
    /// Bytes of the settings that all layers of one profile's lineage write together: the most that a
    /// resolution's settings can have.
    pub settings_bytes: usize,
    /// Files of an authoring folder.
    pub files: usize,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            json_depth: 32,
            blob_bytes: 1 << 20,
            pattern_bytes: tool_schema::DEFAULT_PATTERN_BYTES,
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
    /// The bounds under which a manifest is parsed.
    pub fn manifest(&self) -> JsonBounds {
        JsonBounds { bytes: ("manifest_bytes", self.manifest_bytes), depth: ("json_depth", self.json_depth) }
    }

    /// Bytes of an envelope: a manifest in base64, and what stands around it. Not a limit of its own, so
    /// that whatever can be a manifest can be signed.
    pub fn envelope_bytes(&self) -> usize {
        // Signatures take 200 bytes each; the rest is for white space that other signers write.
        const AROUND: usize = 64 << 10;
        self.manifest_bytes.div_ceil(3).saturating_mul(4).saturating_add(AROUND)
    }

    /// Bytes of a bundle in its single-file form with an envelope in it.
    pub fn archive_bytes(&self) -> usize {
        const HEADER_AND_PADDING: usize = 1024;
        self.bundle_bytes.saturating_add(self.envelope_bytes()).saturating_add(HEADER_AND_PADDING)
    }

    /// The bounds under which a tool's schema is parsed.
    pub fn schema(&self) -> JsonBounds {
        JsonBounds { bytes: ("blob_bytes", self.blob_bytes), depth: ("json_depth", self.json_depth) }
    }
}
