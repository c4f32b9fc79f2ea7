//! What BUNDLE means on the command line: an authoring folder, a built folder, a built file, or
//! `builtin`.

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
use serde_json::json;

use crate::advice;
use crate::carets;
use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// A bundle, and where it came from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) bundle: Bundle,
    /// What travels with it, where somebody signed.
    pub(crate) envelope: Option<Envelope>,
    /// Whether it is the one that ships inside.
    pub(crate) builtin: bool,
    /// Warnings and accepted findings, where it was built just now.
    pub(crate) built: Option<BuildOutput>,
}

/// Whether BUNDLE names the bundle that ships inside.
pub(crate) fn is_builtin(path: &Path) -> bool {
    path == Path::new("builtin")
}

impl Source {
    fn built_before(contents: Contents) -> Self {
        let envelope = contents.envelope().cloned();
        Self { bundle: contents.into_bundle(), envelope, builtin: false, built: None }
    }
}

/// Opens whatever BUNDLE names.
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

/// Reads an envelope that travels apart from its bundle.
pub(crate) fn read_envelope(path: &Path, bundle: &Bundle, limits: &BundleLimits) -> Result<Envelope, CliError> {
    let told = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
    let json = files::read_authored(path, limits.envelope_bytes(), "envelope")?;
    let envelope = Envelope::parse(&json, limits).map_err(told)?;
    Contents::new(bundle.clone(), Some(envelope.clone())).map_err(told)?;
    Ok(envelope)
}

/// Everything that stands against a bundle that was built before, with the places in its manifest.
fn refused(error: &BundleError) -> CliError {
    let mut told = diagnostics(&bundles::errors(error));
    if let Some(details) = told.details.as_object_mut() {
        details.insert("pointer".to_owned(), json!(error.pointer()));
    }
    told
}

/// Builds an authoring folder.
pub(crate) fn build(path: &Path, options: &BuildOptions, limits: &BundleLimits) -> Result<BuildOutput, CliError> {
    build_folder(&read_folder(path, limits)?, options, limits)
}

/// Reads an authoring folder.
pub(crate) fn read_folder(path: &Path, limits: &BundleLimits) -> Result<Folder, CliError> {
    Folder::read(&open_dir(path)?, limits).map_err(|error| folder_error(&error))
}

/// Builds what was read.
pub(crate) fn build_folder(
    folder: &Folder,
    options: &BuildOptions,
    limits: &BundleLimits,
) -> Result<BuildOutput, CliError> {
    bundles::build(folder, options, limits).map_err(|told| diagnostics(&told))
}

pub(crate) fn open_dir(path: &Path) -> Result<Dir, CliError> {
    Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| files::unreadable(path, "folder", &error))
}

pub(crate) fn folder_error(error: &FolderError) -> CliError {
    CliError::of_library(error.code(), error.to_string(), error.help())
}

/// A bundle as a host with a config takes it: accepted findings count only where that says so.
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
                        "the author accepts this; to honour that, write `accept_leak_findings = true` under [workspaces.{id}] in the host's config"
                    )
                }
                other => other.help(),
            };
            Err(CliError::new(error.code(), error.to_string(), help)
                .with_details(json!({ "pointer": error.pointer() })))
        }
    }
}

/// Refuses a bundle that has warnings, where they count as errors.
pub(crate) fn refuse_warnings(told: &Diagnostics) -> Result<(), CliError> {
    if told.list.is_empty() {
        return Ok(());
    }
    let mut told = told.clone();
    for diagnostic in &mut told.list {
        diagnostic.severity = Severity::Error;
    }
    Err(diagnostics(&told))
}

/// Prints warnings to stderr, where people read the result. JSON has them in its document.
pub(crate) fn note_warnings(told: &Diagnostics, output: &Output) {
    if output.is_text() && !told.list.is_empty() {
        output.note(carets::render(told).trim_end());
    }
}

/// Everything that stands against a folder: one error, with every diagnostic in it.
pub(crate) fn diagnostics(told: &Diagnostics) -> CliError {
    let mut told = told.clone();
    for diagnostic in &mut told.list {
        diagnostic.help = advice::with_command(&diagnostic.help).to_owned();
    }
    let errors: Vec<&Diagnostic> =
        told.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    let (code, message, help) = match errors.first() {
        Some(first) => (first.code, first.message.clone(), first.help.clone()),
        None => ("invalid_bundle", "the folder is no bundle".to_owned(), String::new()),
    };
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    let warnings: Vec<&Diagnostic> =
        told.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Warning).collect();
    CliError::new(code, format!("{message}{more}"), help)
        .with_details(json!({ "diagnostics": told.list, "warnings": warnings }))
        .with_diagnostics(carets::render(&told))
}
