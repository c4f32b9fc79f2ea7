//! Builder of bundles: a pure function of the files of an authoring folder and of [`BuildOptions`]. The clock, the
//! environment and the location of the folder have no influence, so the same folder has the same digest on every
//! machine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use error_code::Code;
use tool_schema::Schema;

use crate::author::{self, Places};
use crate::bundle::{Acceptances, Bundle, BundleError};
use crate::canonical::{parse, to_canonical};
use crate::check::{self, Violation};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Source, byte_at, line_and_column, masked};
use crate::folder::Folder;
use crate::json_place;
use crate::leak_report::{self, Finding, Text};
use crate::limits::BundleLimits;
use crate::manifest::{Manifest, Provenance};
use crate::names::{Revision, Timestamp, WITHHELD, shown_file};
use crate::pointer::Pointer;

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
}

/// Builds a bundle, or returns all problems of the folder.
pub fn build(folder: &Folder, options: &BuildOptions, limits: &BundleLimits) -> Result<BuildOutput, Diagnostics> {
    let mut diagnostics = Vec::new();
    let authored = author::read(folder, &mut diagnostics);
    let mut reporter = Reporter { folder, errors: diagnostics.len(), diagnostics, marks: Vec::new() };
    let Some(authored) = authored else { return Err(reporter.finish()) };
    let mut manifest = authored.manifest;
    apply(&mut manifest, options);
    let unreadable = !reporter.diagnostics.is_empty();
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
    if reporter.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
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
    for file in &authored.unused_schemas {
        let message = "no tool uses this schema".to_owned();
        let help = "name the schema in a tool, or remove the file".to_owned();
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
            let accepted = findings.into_iter().filter(|finding| finding.accepted).collect();
            Ok(BuildOutput { bundle, diagnostics: reporter.finish(), accepted })
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

fn place(found: Option<&author::Place>) -> (String, Option<Range<usize>>) {
    found.map_or_else(|| ("bundle.toml".to_owned(), None), |place| (place.file.clone(), place.span.clone()))
}

/// Returns the range of the whole lines that contain a span.
fn lines_of(bytes: &[u8], span: Range<usize>) -> Range<usize> {
    let newline = |byte: &u8| *byte == b'\n';
    let start = bytes.get(..span.start).and_then(|before| before.iter().rposition(newline)).map_or(0, |at| at + 1);
    let end = bytes.get(span.end..).and_then(|after| after.iter().position(newline));
    start..end.map_or(bytes.len(), |at| span.end + at)
}

struct Reporter<'a> {
    folder: &'a Folder,
    diagnostics: Vec<Diagnostic>,
    /// Number of errors in `diagnostics`.
    errors: usize,
    /// Spans to mask before a line is shown, by file.
    marks: Vec<(String, Range<usize>)>,
}

impl Reporter<'_> {
    fn report(
        &mut self,
        file: &str,
        span: Option<Range<usize>>,
        severity: Severity,
        code: Code,
        message: String,
        help: String,
    ) {
        // Warnings never displace an error.
        let most = author::MAX_DIAGNOSTICS;
        match severity {
            Severity::Error if self.errors >= most => return,
            Severity::Error => self.errors += 1,
            Severity::Warning if self.diagnostics.len() >= most => return,
            Severity::Warning => {}
        }
        let text = self.folder.get(file).map(String::from_utf8_lossy).unwrap_or_default();
        let (line, column) = span.as_ref().map_or((0, 0), |span| line_and_column(&text, span.start));
        let (file, pointer) = (file.to_owned(), None);
        self.diagnostics.push(Diagnostic { code, severity, file, line, column, pointer, message, help, span });
    }

    fn whole(&mut self, file: &str, code: Code, message: String, help: &str) {
        self.report(file, None, Severity::Error, code, message, help.to_owned());
    }

    fn at(
        &mut self,
        places: &Places,
        pointer: &Pointer,
        severity: Severity,
        code: Code,
        message: String,
        help: String,
    ) {
        let (file, span) = place(places.find(pointer));
        self.report(&file, span, severity, code, message, help);
    }

    fn violation(&mut self, places: &Places, severity: Severity, violation: Violation) {
        let Violation { code, pointer, message, help, wanted: _, newer: _ } = violation;
        self.at(places, &pointer, severity, code, message, help);
    }

    fn unset(&mut self, check: &author::UnsetCheck<'_>, severity: Severity) {
        let (file, span) = place(Some(check.place));
        self.report(&file, span, severity, check.code, check.message.clone(), check.help.clone());
    }

    fn finding(&mut self, places: &Places, finding: &Finding) {
        let rule = finding.leak.rule;
        let message = finding.to_string();
        let help = match rule.kind() {
            leak_scan::Kind::Secret => {
                "remove and revoke the credential, and name it by reference, such as `secret:github-token`".to_owned()
            }
            leak_scan::Kind::HostPath => {
                "name a mount or a resource instead, which each host maps to a place of its own".to_owned()
            }
        };
        let (file, span) = match (finding.text, places.text(&finding.exact)) {
            // The span of the finding counts bytes of this file.
            (Text::Blob, Some(file)) => (file.to_owned(), Some(finding.leak.span.clone())),
            // Elsewhere, the span counts bytes of the decoded text, so the whole value is marked.
            (Text::Key, _) => place(places.find_key(&finding.exact)),
            _ => place(places.find(&finding.exact)),
        };
        // In a text, whole lines are masked, because the rest of a secret may be next to the value.
        let mark = span.clone().map(|span| match (finding.text, self.folder.get(&file)) {
            (Text::Blob, Some(bytes)) => lines_of(bytes, span),
            _ => span,
        });
        self.marks.extend(mark.map(|mark| (file.clone(), mark)));
        self.report(&file, span, Severity::Error, leak_report::error_code(rule.kind()), message, help);
    }

    /// Reports the faults of a tool's schema, each at its line. [`Bundle::open`] refuses a schema that is not a JSON
    /// object.
    fn schema(&mut self, places: &Places, pointer: &Pointer, bytes: &[u8], limits: &BundleLimits) {
        let Ok(document) = parse(bytes, limits.schema()) else { return };
        let (Err(faults), true) = (Schema::parse(&document, limits.pattern_bytes), document.is_object()) else {
            return;
        };
        let file = places.text(pointer).unwrap_or("bundle.toml").to_owned();
        let text = self.folder.get(&file).map(String::from_utf8_lossy).unwrap_or_default();
        for fault in faults {
            let span = json_place::value_start(&text, &fault.pointer).map(|byte| byte..byte);
            let message = format!("invalid schema {fault}");
            self.report(&file, span, Severity::Error, Code::InvalidSchema, message, fault.problem.help().to_owned());
        }
    }

    fn unused_acceptances(&mut self, places: &Places, manifest: &Manifest, findings: &[Finding]) {
        for (index, accepted) in manifest.accepted.iter().enumerate() {
            let used = |finding: &Finding| {
                let is_same_field = [&finding.pointer, &finding.exact].iter().any(|at| at.as_str() == accepted.field);
                finding.leak.rule.id() == accepted.rule && is_same_field
            };
            if !findings.iter().any(used) {
                let pointer = Pointer::root().key("accepted").index(index);
                let message = "the rule finds nothing in this field".to_owned();
                self.at(
                    places,
                    &pointer,
                    Severity::Warning,
                    Code::UnusedAcceptance,
                    message,
                    "remove it, so that it cannot hide a later leak".to_owned(),
                );
            }
        }
    }

    fn bundle_error(&mut self, places: &Places, error: &BundleError) {
        if let Some(file) = error.pointer().and_then(|pointer| places.text(pointer)) {
            let text = self.folder.get(file).map(String::from_utf8_lossy).unwrap_or_default();
            let span = match error {
                BundleError::InvalidSchema { problem, .. } => problem.place().map(|place| byte_at(&text, place)),
                _ => None,
            };
            let span = span.map(|byte| byte..byte);
            return self.report(file, span, Severity::Error, error.code(), error.to_string(), error.help());
        }
        match error.pointer() {
            Some(pointer) => self.at(places, pointer, Severity::Error, error.code(), error.to_string(), error.help()),
            None => self.whole("bundle.toml", error.code(), error.to_string(), &error.help()),
        }
    }

    fn finish(mut self) -> Diagnostics {
        self.diagnostics.sort_by(|one, two| {
            (&one.file, one.line, one.column, one.severity).cmp(&(&two.file, two.line, two.column, two.severity))
        });
        self.diagnostics.dedup();
        // Text that a message withholds is also masked in the shown line.
        let withheld = self.diagnostics.iter().filter(|diagnostic| diagnostic.message.contains(WITHHELD));
        self.marks.extend(withheld.filter_map(|diagnostic| Some((diagnostic.file.clone(), diagnostic.span.clone()?))));
        let mut files: Vec<String> = self.diagnostics.iter().map(|diagnostic| diagnostic.file.clone()).collect();
        files.dedup();
        let mut sources: Vec<Source> = Vec::new();
        let mut shown: BTreeMap<String, String> = BTreeMap::new();
        for file in files {
            let mut name = shown_file(&file);
            // Two files with the same withheld name stay distinct.
            let alike = shown.values().filter(|other| other.split(' ').next() == Some(name.as_str())).count();
            if name != file && alike > 0 {
                name = format!("{name} ({})", alike + 1);
            }
            if let Some(text) = self.folder.get(&file).and_then(|bytes| std::str::from_utf8(bytes).ok()) {
                let marks = self.marks.iter().filter(|(marked, _)| *marked == file).map(|(_, span)| span.clone());
                sources.push(Source { file: name.clone(), masked: masked(text, &marks.collect::<Vec<_>>()) });
            }
            shown.insert(file, name);
        }
        for diagnostic in &mut self.diagnostics {
            if let Some(name) = shown.get(&diagnostic.file) {
                diagnostic.file.clone_from(name);
            }
        }
        Diagnostics { list: self.diagnostics, sources }
    }
}
