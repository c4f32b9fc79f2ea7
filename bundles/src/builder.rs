//! Builder of bundles: a pure function of the files of an authoring folder and of [`BuildOptions`]. The clock, the
//! environment and the location of the folder have no influence, so the same folder has the same digest on every
//! machine.

use error_code::Code;
use std::collections::BTreeSet;

use crate::author;
use crate::bundle::{Acceptances, Bundle, BundleError};
use crate::canonical::to_canonical;
use crate::check;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::folder::Folder;
use crate::leak_report::{self, Finding};
use crate::limits::BundleLimits;
use crate::manifest::{Manifest, Provenance};
use crate::names::{Revision, Timestamp};
use crate::plugin::{Package, differences};
use crate::pointer::Pointer;
use crate::reporter::Reporter;

/// Values that override those in `bundle.toml`.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The revision.
    pub revision: Option<Revision>,
    /// The time of the revision.
    pub created_at: Option<Timestamp>,
    /// The provenance. Fields that are `None` keep the written value.
    pub provenance: Provenance,
}

/// A bundle and the warnings about it.
#[derive(Debug)]
pub struct BuildOutput {
    /// The bundle.
    pub bundle: Bundle,
    /// Warnings only.
    pub diagnostics: Diagnostics,
    /// Findings of the leak scan that the author accepted.
    pub accepted: Vec<Finding>,
    /// Packages of plugins in the folder. They travel beside the bundle.
    pub packages: Vec<Package>,
}

/// Builds a bundle, or returns all problems of the folder.
pub fn build(folder: &Folder, options: &BuildOptions, limits: &BundleLimits) -> Result<BuildOutput, Diagnostics> {
    let mut diagnostics = Vec::new();
    let authored = author::read(folder, &mut diagnostics, limits);
    let mut reporter = Reporter::new(folder, diagnostics);
    let Some(authored) = authored else { return Err(reporter.finish()) };
    let mut manifest = authored.manifest;
    apply(&mut manifest, options);
    let unreadable = reporter.has_errors();
    for violation in check::check(&manifest, limits) {
        // The declaration exists but could not be read. This was reported already.
        let unread = violation.wanted.as_ref().is_some_and(|wanted| authored.unread.contains(wanted));
        let lost = unreadable && violation.code == Code::DanglingName && violation.wanted.is_none();
        if !unread && !lost {
            reporter.violation(&authored.places, Severity::Error, violation);
        }
    }
    let unsets = author::check_unsets(&manifest, &authored.unsets, limits);
    for check in unsets.iter().filter(|check| check.is_certain) {
        reporter.unset(check, Severity::Error);
    }
    let mut findings = leak_report::scan_manifest(&manifest);
    for (pointer, blob) in manifest.blobs() {
        if let Some(bytes) = authored.blobs.get(&blob.digest) {
            findings.extend(leak_report::scan_blob(&manifest, &pointer, bytes));
        }
    }
    let mut judged = BTreeSet::new();
    for (pointer, blob) in manifest.blobs() {
        if pointer.as_str().starts_with("/tools/")
            // Faults are reported with the keys around them, and a key may contain a leak.
            && !findings.iter().any(|finding| !finding.accepted && finding.exact.as_str().starts_with(pointer.as_str()))
            && judged.insert(blob.digest)
            && let Some(bytes) = authored.blobs.get(&blob.digest)
        {
            reporter.schema(&authored.places, &pointer, bytes.bytes(), limits);
        }
    }
    for finding in findings.iter().filter(|finding| !finding.accepted) {
        reporter.finding(&authored.places, finding);
    }
    if reporter.has_errors() {
        return Err(reporter.finish());
    }
    // Warnings are computed only without errors, because erroneous declarations would be reported as unused.
    reporter.unused_acceptances(&authored.places, &manifest, &findings);
    for check in &unsets {
        reporter.unset(check, Severity::Warning);
    }
    for advice in check::advice::conditions(&manifest).into_iter().chain(check::advice::declarations(&manifest)) {
        reporter.violation(&authored.places, Severity::Warning, advice);
    }
    for (file, what) in &authored.unused_files {
        let user = if *what == "schema" { "tool" } else { "plugin" };
        let message = format!("no {user} uses this {what}");
        let help = format!("name the {what} in a {user}, or remove the file");
        reporter.report(file, None, Severity::Warning, Code::UnusedDeclaration, message, help);
    }
    let bytes = match to_canonical(&manifest) {
        Ok(bytes) => bytes,
        Err(error) => {
            reporter.whole("bundle.toml", error.code(), error.to_string(), error.help());
            return Err(reporter.finish());
        }
    };
    // Opened with the code of every Runtime, so every Runtime accepts the result.
    match Bundle::open(bytes.into(), authored.blobs.into_values(), limits, Acceptances::Honour) {
        Ok(bundle) => {
            for (name, package) in &authored.packages {
                for difference in differences(&bundle, name, package.manifest(), package.reference()) {
                    let (at, help) = (&difference.pointer, difference.help().to_owned());
                    let (code, message) = (difference.code(), difference.to_string());
                    reporter.at(&authored.places, at, Severity::Error, code, message, help);
                }
            }
            if reporter.has_errors() {
                return Err(reporter.finish());
            }
            let accepted = findings.into_iter().filter(|finding| finding.accepted).collect();
            let packages = authored.packages.into_values().collect();
            Ok(BuildOutput { bundle, diagnostics: reporter.finish(), accepted, packages })
        }
        Err(error) => {
            reporter.bundle_error(&authored.places, &error);
            Err(reporter.finish())
        }
    }
}

/// Returns the warnings about a bundle whose authoring folder is not available.
pub fn warnings(manifest: &Manifest) -> Diagnostics {
    let advice = [check::advice::conditions(manifest), check::advice::declarations(manifest)];
    let diagnostics = advice.into_iter().flatten().take(author::MAX_DIAGNOSTICS);
    let diagnostics = diagnostics
        .map(|advice| in_manifest(Severity::Warning, advice.code, Some(&advice.pointer), advice.message, advice.help));
    Diagnostics { list: diagnostics.collect(), sources: Vec::new() }
}

/// Returns the problems of a bundle whose authoring folder is not available.
pub fn errors(error: &BundleError) -> Diagnostics {
    let severity = Severity::Error;
    let list = match error {
        BundleError::Unsound(violations) => {
            let diagnostics = violations.iter().take(author::MAX_DIAGNOSTICS);
            diagnostics
                .map(|one| in_manifest(severity, one.code, Some(&one.pointer), one.message.clone(), one.help.clone()))
                .collect()
        }
        error => vec![in_manifest(severity, error.code(), error.pointer(), error.to_string(), error.help())],
    };
    Diagnostics { list, sources: Vec::new() }
}

fn in_manifest(severity: Severity, code: Code, pointer: Option<&Pointer>, message: String, help: String) -> Diagnostic {
    let (file, pointer) = (crate::archive::MANIFEST.to_owned(), pointer.cloned());
    Diagnostic { code, severity, file, line: 0, column: 0, pointer, message, help, span: None }
}

fn apply(manifest: &mut Manifest, options: &BuildOptions) {
    if let Some(revision) = options.revision {
        manifest.revision = revision;
    }
    if let Some(created_at) = &options.created_at {
        manifest.created_at = created_at.clone();
    }
    let (written, given) = (&mut manifest.provenance, &options.provenance);
    for (written, given) in [
        (&mut written.source, &given.source),
        (&mut written.repository, &given.repository),
        (&mut written.builder, &given.builder),
    ] {
        if given.is_some() {
            written.clone_from(given);
        }
    }
    if given.commit.is_some() {
        written.commit.clone_from(&given.commit);
    }
}
