//! Config bundles: the configuration of agents' workers, in a form that travels between machines.
//!
//! ```
//! use bundles::{BuildOptions, BundleLimits, Folder, build};
//!
//! let bundle_toml = r#"
//! schema = "yoi.config-bundle/1"
//! revision = 1
//! created_at = "2026-06-25T15:49:30Z"
//! language = "en"
//! [workspace]
//! id = "my-team"
//! "#;
//! let folder = Folder::from_files([
//!     ("bundle.toml".to_owned(), bundle_toml.into()),
//!     ("prompts/hello.md".to_owned(), b"Be kind and brief.".to_vec()),
//!     ("profiles/helper.toml".to_owned(), br#"instructions = ["hello"]"#.to_vec()),
//! ]);
//! let built = build(&folder, &BuildOptions::default(), &BundleLimits::default()).unwrap();
//! assert!(built.bundle.digest().to_string().starts_with("sha256:"));
//! ```
//!
//! A bundle is a canonical [`Manifest`] that names blobs by digest. It cannot contain a secret, a host path, a socket or
//! a session. Authors write a [`Folder`], and [`build`] turns it into a [`Bundle`] with the same bytes on every machine.
//! This package has no access to the network and does not run WebAssembly.
//!
//! Start at `manifest`, then read `bundle`, which verifies, and `builder`, which builds.

pub mod archive;
mod author;
mod authority;
mod blob;
mod builder;
mod builtin;
mod bundle;
pub mod canonical;
mod canonical_tar;
mod capability;
mod check;
pub mod comparison;
mod condition;
mod contents;
mod definition;
mod diagnostic;
mod digest;
pub mod encoding;
mod folder;
mod json_place;
pub mod layout;
pub mod leak_report;
mod limits;
mod lineage;
pub mod manifest;
mod names;
mod one_line;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod plugin;
mod pointer;
mod reporter;
mod resource;
mod secret_placement;
pub mod signature;
mod text;
mod toml_problem;
mod tool_source;
mod url_permission;
mod url_prefix;

pub use author::nearest;
pub use authority::{Access, Authority, AuthorityKind, Need, Wish};
pub use blob::{Blob, BlobReader};
pub use builder::{BuildOptions, BuildOutput, build, errors, warnings};
pub use builtin::{builtin, folder as builtin_folder};
pub use bundle::{Acceptances, Admission, Bundle, BundleError, VerifiedManifest, open_manifest};
pub use capability::{KnownCapabilities, UnknownCapability};
pub use check::Violation;
pub use condition::Condition;
pub use contents::Contents;
pub use diagnostic::{Diagnostic, Diagnostics, Severity, Source};
pub use digest::{Digest, Digester, InvalidDigest};
pub use folder::{Folder, FolderError};
pub use limits::BundleLimits;
pub use lineage::{LineageError, lineage, reachable};
pub use manifest::Manifest;
pub use names::{
    Capability, CommitId, IngressName, InvalidName, LabelKey, LabelValue, LanguageTag, ModelName, MountLabel, Platform,
    PluginName, ProfileName, PromptName, ProviderName, Revision, RuntimeName, SecretRef, Surface, Timestamp, ToolName,
    WorkflowName, WorkspaceId, WorldName, may_leak, shown, shown_file,
};
pub use one_line::one_line;
pub use pointer::Pointer;
pub use resource::{ResourceUri, WorkspaceGlob};
pub use secret_placement::{HeaderName, HeaderPrefix, SecretPlacement};
pub use toml_problem::TomlProblem;
pub use tool_source::ToolSource;
pub use url_permission::*;
pub use url_prefix::{MAX_URL_BYTES, SCHEMES, UrlPrefix, is_ambiguous_path, path_covers};
