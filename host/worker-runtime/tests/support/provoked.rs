//! Provoked errors: their enums, variants and texts.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;

use worker_runtime::blob_store::BlobError;
use worker_runtime::content::ContentError;
use worker_runtime::metadata::{CommitError, MetadataError};
use worker_runtime::secret::{SecretDirectoryError, SecretError};
use worker_runtime::token::TokenError;
use worker_runtime::tool::ToolError;
use worker_runtime::{
    Busy, CallError, DataFolderError, IngressError, OpenError, ReloadError, ResolveError, ResolverError, RestoreError,
    WorkerError,
};

/// A provoked variant of an enum.
pub type Variant = (String, String);

/// A provoked error.
#[derive(Debug)]
pub struct ErrorReport {
    /// Error code.
    pub code: String,
    /// Enum and variant of the error, and those of every source error.
    pub variants: BTreeSet<Variant>,
    /// All texts: `Display` and both forms of `Debug` of the error and its sources, and the help.
    pub says: String,
}

impl ErrorReport {
    /// Prefix of a line by which a child process reports an error.
    const LINE: &'static str = "provoked ";

    /// Reports the error to the parent process.
    pub fn report(&self) {
        let line = format!("\n{}{}\n", Self::LINE, serde_json::json!([self.code, self.variants, self.says]));
        std::io::stdout().write_all(line.as_bytes()).expect("somebody reads");
    }

    /// Parses the reports of a child process.
    pub fn read(printed: &str) -> Vec<Self> {
        let lines = printed.lines().filter_map(|line| line.strip_prefix(Self::LINE));
        let told = |line| serde_json::from_str(line).expect("an error");
        lines.map(told).map(|(code, variants, says)| Self { code, variants, says }).collect()
    }
}

/// Errors of this package and their sources.
pub trait ProvokedError: Error {
    fn told(&self) -> (String, String);

    fn variants(&self, found: &mut BTreeSet<Variant>);
}

/// Collects the variants and texts of an error.
pub fn provoked<T>(result: Result<T, impl ProvokedError>) -> ErrorReport {
    let Err(error) = result else { panic!("it is refused") };
    let (code, help) = error.told();
    assert!(!help.is_empty() && !error.to_string().is_empty(), "{error:?}");
    let mut variants = BTreeSet::new();
    error.variants(&mut variants);
    ErrorReport { code, variants, says: format!("{}\n{help}", says(&error)) }
}

/// Returns all texts of an error and its sources.
pub fn says(error: &dyn Error) -> String {
    let mut said = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        said.push_str(&format!("{error}\n{error:?}\n{error:#?}\n"));
        next = error.source();
    }
    said
}

fn variant(debug: &str) -> String {
    debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

macro_rules! told {
    ($($name:literal: $error:ty { $($inside:ident),* })*) => {$(
        impl ProvokedError for $error {
            fn told(&self) -> (String, String) {
                (self.code().to_string(), self.help().to_owned())
            }

            fn variants(&self, found: &mut BTreeSet<Variant>) {
                found.insert(($name.to_owned(), variant(&format!("{self:?}"))));
                #[allow(clippy::match_single_binding, unreachable_patterns, reason = "some hold nothing, some nothing else")]
                match self {
                    $(Self::$inside(inside) => inside.variants(found),)*
                    _ => {}
                }
            }
        }
    )*};
}

told! {
    "BlobError": BlobError {}
    "Busy": Busy {}
    "CallError": CallError { Worker, Tool }
    "ContentError": ContentError { Blob, Metadata, Busy, Bundle, Signature, Envelope }
    "DataFolderError": DataFolderError { Blobs }
    "IngressError": IngressError { Worker }
    "MetadataError": MetadataError {}
    "OpenError": OpenError { Config, Shipped, Metadata, DataFolder, Cache, Secrets }
    "ReloadError": ReloadError { Config, Worker }
    "ResolveError": ResolveError { Failed, Call }
    "ResolverError": ResolverError { Load, Blob, Metadata }
    "SecretDirectoryError": SecretDirectoryError { Secret }
    "SecretError": SecretError {}
    "TokenError": TokenError { Metadata }
    "ToolError": ToolError { Secret }
    "WorkerError": WorkerError { Content, Resolve }
    // Errors of the packages below.
    "BundleError": bundles::BundleError {}
    "CacheError": component_host::compile::cache::CacheError {}
    "ConfigError": host_policy::ConfigError {}
    "EnvelopeError": bundles::signature::EnvelopeError {}
    "Failure": host_policy::Failure {}
    "LoadError": component_host::LoadError { Structure }
    "ResolverCallError": component_host::RunError {}
    "SignatureRefusal": bundles::signature::SignatureRefusal {}
}

/// Errors that only appear inside other errors: these have no remedy of their own, and the last two have no code.
macro_rules! inside {
    ($($name:literal: $error:ty => $code:expr,)*) => {$(
        impl ProvokedError for $error {
            fn told(&self) -> (String, String) {
                let code: fn(&Self) -> &'static str = $code;
                (code(self).to_owned(), "-".to_owned())
            }

            fn variants(&self, found: &mut BTreeSet<Variant>) {
                found.insert(($name.to_owned(), variant(&format!("{self:?}"))));
            }
        }
    )*};
}

inside! {
    "StructureRefusal": component_host::structure::StructureRefusal => |refusal| refusal.code().as_str(),
    "CommitError": CommitError => |_| "-",
    "RestoreError": RestoreError => |_| "-",
}
