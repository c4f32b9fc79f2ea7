//! Opens the bundle that the argument BUNDLE names: an authoring folder, a built folder, a built file, or `builtin`.

use std::path::Path;

use bundles::archive::ArchiveError;
use bundles::layout::LayoutError;
use bundles::signature::{Envelope, EnvelopeError};
use bundles::{
    Acceptances, BuildOptions, BuildOutput, Bundle, BundleError, BundleLimits, Contents, Diagnostic, Diagnostics,
    Folder, FolderError, Severity,
};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use host_policy::RuntimeConfig;
use runtime_api::Code;
use serde_json::json;

use crate::advice;
use crate::carets;
use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// An opened bundle and its origin.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) bundle: Bundle,
    /// Signatures of the bundle.
    pub(crate) envelope: Option<Envelope>,
    /// `true` for the bundle that ships with the program.
    pub(crate) builtin: bool,
    /// Result of the build, if BUNDLE is an authoring folder.
    pub(crate) built: Option<BuildOutput>,
}

/// Returns `true` if BUNDLE names the bundle that ships with the program.
pub(crate) fn is_builtin(path: &Path) -> bool {
    path == Path::new("builtin")
}

impl Source {
    fn built_before(contents: Contents) -> Self {
        let envelope = contents.envelope().cloned();
        Self { bundle: contents.into_bundle(), envelope, builtin: false, built: None }
    }
}

/// Opens the bundle that BUNDLE names. Builds an authoring folder.
pub(crate) fn open(path: &Path, limits: &BundleLimits) -> Result<Source, CliError> {
    if is_builtin(path) {
        let bundle = worker_runtime::shipped::bundle().map_err(|error| diagnostics(error.0))?;
        return Ok(Source { bundle, envelope: None, builtin: true, built: None });
    }
    let metadata = std::fs::metadata(path).map_err(|error| files::unreadable(path, "bundle", &error))?;
    if !metadata.is_dir() {
        let bytes = files::read_within(path, ("bundle_bytes", limits.archive_bytes()), "bundle")?;
        let contents = bundles::archive::unpack_contents(&bytes, limits, Acceptances::Honour);
        let contents = contents.map_err(|error| match &error {
            ArchiveError::Bundle(error) => refused(error),
            error => CliError::of_library(error.code(), error.to_string(), error.help()),
        })?;
        return Ok(Source::built_before(contents));
    }
    let dir = open_dir(path)?;
    if !dir.is_file("bundle.toml") && dir.is_file(bundles::archive::MANIFEST) {
        let contents = bundles::layout::read_contents(&dir, limits, Acceptances::Honour);
        let contents = contents.map_err(|error| match &error {
            LayoutError::Bundle(error) => refused(error),
            error => CliError::of_library(error.code(), error.to_string(), error.help()),
        })?;
        return Ok(Source::built_before(contents));
    }
    let built = build(path, &BuildOptions::default(), limits)?;
    Ok(Source { bundle: built.bundle.clone(), envelope: None, builtin: false, built: Some(built) })
}

/// Reads an envelope from its own file and checks that it belongs to the bundle.
pub(crate) fn read_envelope(path: &Path, bundle: &Bundle, limits: &BundleLimits) -> Result<Envelope, CliError> {
    let failed = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
    let json = files::read_authored(path, limits.envelope_bytes(), "envelope")?;
    let envelope = Envelope::parse(&json, limits).map_err(failed)?;
    Contents::new(bundle.clone(), Some(envelope.clone())).map_err(failed)?;
    Ok(envelope)
}

/// Returns the error of an invalid built bundle, with all errors and their places in the manifest.
fn refused(error: &BundleError) -> CliError {
    let mut refusal = diagnostics(&bundles::errors(error));
    if let Some(details) = refusal.details.as_object_mut() {
        details.insert("pointer".to_owned(), json!(error.pointer()));
    }
    refusal
}

/// Builds an authoring folder.
pub(crate) fn build(path: &Path, options: &BuildOptions, limits: &BundleLimits) -> Result<BuildOutput, CliError> {
    build_folder(&read_folder(path, limits)?, options, limits)
}

/// Reads an authoring folder.
pub(crate) fn read_folder(path: &Path, limits: &BundleLimits) -> Result<Folder, CliError> {
    Folder::read(&open_dir(path)?, limits).map_err(|error| folder_error(&error))
}

/// Builds an authoring folder that has been read.
pub(crate) fn build_folder(
    folder: &Folder,
    options: &BuildOptions,
    limits: &BundleLimits,
) -> Result<BuildOutput, CliError> {
    bundles::build(folder, options, limits).map_err(|errors| diagnostics(&errors))
}

pub(crate) fn open_dir(path: &Path) -> Result<Dir, CliError> {
    Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| files::unreadable(path, "folder", &error))
}

pub(crate) fn folder_error(error: &FolderError) -> CliError {
    CliError::of_library(error.code(), error.to_string(), error.help())
}

/// Checks a bundle as a host with this config does. Findings that the author accepts are errors unless the config accepts them
/// too.
pub(crate) fn as_host(bundle: &Bundle, config: &RuntimeConfig, limits: &BundleLimits) -> Result<(), CliError> {
    let manifest = bundle.manifest();
    if manifest.accepted.is_empty() || config.grants(&manifest.workspace.id).accept_leak_findings {
        return Ok(());
    }
    let blobs = bundle.blobs().map(|(_, bytes)| bytes.clone());
    match Bundle::open(bundle.manifest_bytes().clone(), blobs, limits, Acceptances::Refuse) {
        Ok(_) => Ok(()),
        Err(error) => {
            let help = match &error {
                BundleError::Leak(_) => {
                    let id = &manifest.workspace.id;
                    format!(
                        "to accept the findings that the author accepts, write `accept_leak_findings = true` under [workspaces.{id}] in the config of the host"
                    )
                }
                other => other.help(),
            };
            Err(CliError::new(error.code(), error.to_string(), help)
                .with_details(json!({ "pointer": error.pointer() })))
        }
    }
}

/// Returns an error if there are warnings. For `--strict`.
pub(crate) fn refuse_warnings(warnings: &Diagnostics) -> Result<(), CliError> {
    if warnings.list.is_empty() {
        return Ok(());
    }
    let mut errors = warnings.clone();
    for diagnostic in &mut errors.list {
        diagnostic.severity = Severity::Error;
    }
    Err(diagnostics(&errors))
}

/// Prints warnings to stderr if the output is text. JSON output contains them in its document.
pub(crate) fn note_warnings(warnings: &Diagnostics, output: &Output) {
    if output.is_text() && !warnings.list.is_empty() {
        output.note(carets::render(warnings).trim_end());
    }
}

/// Converts diagnostics to one error that contains all of them.
pub(crate) fn diagnostics(found: &Diagnostics) -> CliError {
    let mut found = found.clone();
    for diagnostic in &mut found.list {
        diagnostic.help = advice::with_command(&diagnostic.help).to_owned();
    }
    let errors: Vec<&Diagnostic> =
        found.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    let (code, message, help) = match errors.first() {
        Some(first) => (first.code, first.message.clone(), first.help.clone()),
        None => (Code::InvalidBundle, "invalid bundle".to_owned(), String::new()),
    };
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    let warnings: Vec<&Diagnostic> =
        found.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Warning).collect();
    CliError::new(code, format!("{message}{more}"), help)
        .with_details(json!({ "diagnostics": found.list, "warnings": warnings }))
        .with_diagnostics(carets::render(&found))
}
