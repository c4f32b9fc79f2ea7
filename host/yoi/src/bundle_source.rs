//! What BUNDLE means on the command line: an authoring folder, a built folder, a built file, or
//! `builtin`.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use bundles::{
    Acceptances, BuildOptions, Built, Bundle, BundleError, BundleLimits, Diagnostic, Diagnostics, Folder, FolderError,
    Severity, one_line,
};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::json;

use crate::error::CliError;
use crate::files;

/// A bundle, and where it came from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) bundle: Bundle,
    /// Whether it is the one that ships inside.
    pub(crate) builtin: bool,
    /// Warnings and accepted findings, where it was built just now.
    pub(crate) built: Option<Built>,
}

/// Whether BUNDLE names the bundle that ships inside.
pub(crate) fn is_builtin(path: &Path) -> bool {
    path == Path::new("builtin")
}

/// Opens whatever BUNDLE names.
pub(crate) fn open(path: &Path, limits: &BundleLimits) -> Result<Source, CliError> {
    if is_builtin(path) {
        let bundle = worker_runtime::shipped::bundle().map_err(|error| diagnostics(error.0))?;
        return Ok(Source { bundle, builtin: true, built: None });
    }
    let metadata = std::fs::metadata(path).map_err(|error| files::unreadable(path, "bundle", &error))?;
    if !metadata.is_dir() {
        let bytes = files::read(path, limits.bundle_bytes, "bundle")?;
        let bundle = bundles::archive::unpack(&bytes, limits, Acceptances::Honour).map_err(|error| {
            CliError::new(error.code(), error.to_string(), error.help()).with_details(archive_details(&error))
        })?;
        return Ok(Source { bundle, builtin: false, built: None });
    }
    let dir = open_dir(path)?;
    if !dir.is_file("bundle.toml") && dir.is_file(bundles::archive::MANIFEST) {
        let bundle = bundles::layout::read(&dir, limits, Acceptances::Honour)
            .map_err(|error| CliError::new(error.code(), error.to_string(), error.help()))?;
        return Ok(Source { bundle, builtin: false, built: None });
    }
    let built = build(path, &BuildOptions::default(), limits)?;
    Ok(Source { bundle: built.bundle.clone(), builtin: false, built: Some(built) })
}

fn archive_details(error: &bundles::archive::ArchiveError) -> serde_json::Value {
    match error {
        bundles::archive::ArchiveError::Bundle(error) => json!({ "pointer": error.pointer() }),
        _ => json!({}),
    }
}

/// Builds an authoring folder.
pub(crate) fn build(path: &Path, options: &BuildOptions, limits: &BundleLimits) -> Result<Built, CliError> {
    build_folder(&read_folder(path, limits)?, options, limits)
}

/// Reads an authoring folder.
pub(crate) fn read_folder(path: &Path, limits: &BundleLimits) -> Result<Folder, CliError> {
    Folder::read(&open_dir(path)?, limits).map_err(|error| folder_error(&error))
}

/// Builds what was read.
pub(crate) fn build_folder(folder: &Folder, options: &BuildOptions, limits: &BundleLimits) -> Result<Built, CliError> {
    bundles::build(folder, options, limits).map_err(|told| diagnostics(&told))
}

pub(crate) fn open_dir(path: &Path) -> Result<Dir, CliError> {
    Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| files::unreadable(path, "folder", &error))
}

pub(crate) fn folder_error(error: &FolderError) -> CliError {
    CliError::new(error.code(), error.to_string(), error.help())
}

/// A bundle as a host with a config takes it: accepted findings count only where that says so.
pub(crate) fn reopen_strict(bundle: &Bundle, limits: &BundleLimits) -> Result<(), CliError> {
    let blobs = bundle.blobs().map(|(_, bytes)| bytes.clone()).collect();
    match Bundle::open(bundle.manifest_bytes().clone(), blobs, limits, Acceptances::Refuse) {
        Ok(_) => Ok(()),
        Err(error) => {
            let help = match &error {
                BundleError::Leak(_) => {
                    let id = &bundle.manifest().workspace.id;
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

/// Everything that stands against a folder: one error, with every diagnostic in it.
pub(crate) fn diagnostics(told: &Diagnostics) -> CliError {
    let errors: Vec<&Diagnostic> =
        told.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    let (code, message, help) = match errors.first() {
        Some(first) => (first.code, first.message.clone(), first.help.clone()),
        None => ("invalid_bundle", "the folder is no bundle".to_owned(), String::new()),
    };
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    let mut text = format!("the folder is no bundle: {}\n\n", crate::text::count(errors.len(), "error"));
    text.push_str(&render(told));
    CliError::new(code, format!("{message}{more}"), help)
        .with_details(json!({ "diagnostics": told.list }))
        .with_text(text)
}

/// Diagnostics for people, with carets.
pub(crate) fn render(told: &Diagnostics) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for diagnostic in &told.list {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (message, file) = (one_line(&diagnostic.message), one_line(&diagnostic.file));
        let help = one_line(&diagnostic.help);
        let title = level.primary_title(message.as_str()).id(diagnostic.code);
        let source = told.source_of(diagnostic);
        let group = match (source, &diagnostic.span) {
            (Some(source), Some(span)) => title.element(
                Snippet::source(source.masked.as_str())
                    .path(file.as_str())
                    .line_start(1)
                    .annotation(AnnotationKind::Primary.span(first_line(&source.masked, span))),
            ),
            _ => title.element(Level::NOTE.message(format!("in `{file}`"))),
        };
        let group = group.element(Level::HELP.message(help.as_str()));
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text
}

/// A caret under the first line of what is meant: a table of thirty lines helps nobody.
fn first_line(text: &str, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let inside = text.get(start..end).unwrap_or_default();
    start..start + inside.find('\n').unwrap_or(inside.len())
}
