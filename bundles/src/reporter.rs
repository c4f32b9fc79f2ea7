//! Reporter of problems at their places in an authoring folder.
//!
//! Violations, leak findings and faults of schemas are found in values. The reporter adds file, line and column, and
//! masks what must not be shown.

use error_code::Code;
use std::collections::BTreeMap;
use std::ops::Range;

use tool_schema::Schema;

use crate::author::{self, Places};
use crate::bundle::BundleError;
use crate::canonical::parse;
use crate::check::Violation;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Source, byte_at, line_and_column, masked};
use crate::folder::Folder;
use crate::json_place;
use crate::leak_report::{self, Finding, Text};
use crate::limits::BundleLimits;
use crate::manifest::Manifest;
use crate::names::{WITHHELD, shown_file};
use crate::pointer::Pointer;

/// Diagnostics about the files of a folder.
pub(crate) struct Reporter<'a> {
    folder: &'a Folder,
    diagnostics: Vec<Diagnostic>,
    /// Number of errors in `diagnostics`.
    errors: usize,
    /// Spans to mask before a line is shown, by file.
    marks: Vec<(String, Range<usize>)>,
}

impl<'a> Reporter<'a> {
    /// Creates a reporter with the errors of the reader.
    pub(crate) fn new(folder: &'a Folder, errors: Vec<Diagnostic>) -> Self {
        Self { folder, errors: errors.len(), diagnostics: errors, marks: Vec::new() }
    }

    /// `true` if an error was reported.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub(crate) fn report(
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

    pub(crate) fn whole(&mut self, file: &str, code: Code, message: String, help: &str) {
        self.report(file, None, Severity::Error, code, message, help.to_owned());
    }

    pub(crate) fn at(
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

    pub(crate) fn violation(&mut self, places: &Places, severity: Severity, violation: Violation) {
        let Violation { code, pointer, message, help, wanted: _, newer: _ } = violation;
        self.at(places, &pointer, severity, code, message, help);
    }

    pub(crate) fn unset(&mut self, check: &author::UnsetCheck<'_>, severity: Severity) {
        let (file, span) = place(Some(check.place));
        self.report(&file, span, severity, check.code, check.message.clone(), check.help.clone());
    }

    pub(crate) fn finding(&mut self, places: &Places, finding: &Finding) {
        let rule = finding.leak.rule;
        let message = finding.to_string();
        let help = leak_help(rule.kind());
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

    /// Reports the leaks in `comments`, the text of a file without its values.
    pub(crate) fn comments(&mut self, file: &str, comments: &str) {
        for leak in leak_scan::scan(leak_scan::Place::Text, comments) {
            let kind = leak.rule.kind();
            let (code, (line, _)) = (leak_report::error_code(kind), line_and_column(comments, leak.span.start));
            // A key that stands in several headers was reported already.
            if self.diagnostics.iter().any(|one| one.code == code && one.line == line) {
                continue;
            }
            let rule = leak.rule;
            let message = format!("a comment holds {}: {} (rule `{}`)", kind.noun(), rule.description(), rule.id());
            self.marks.push((file.to_owned(), leak.span.clone()));
            self.report(file, Some(leak.span), Severity::Error, code, message, leak_help(kind));
        }
    }

    /// Reports the faults of a tool's schema, each at its line. [`Bundle::open`](crate::Bundle::open) refuses a schema that is not a JSON
    /// object.
    pub(crate) fn schema(&mut self, places: &Places, pointer: &Pointer, bytes: &[u8], limits: &BundleLimits) {
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

    pub(crate) fn unused_acceptances(&mut self, places: &Places, manifest: &Manifest, findings: &[Finding]) {
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

    pub(crate) fn bundle_error(&mut self, places: &Places, error: &BundleError) {
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

    /// Returns the diagnostics by file and place, with the masked sources.
    pub(crate) fn finish(mut self) -> Diagnostics {
        self.diagnostics.sort_by(|one, two| {
            (&one.file, one.line, one.column, one.severity).cmp(&(&two.file, two.line, two.column, two.severity))
        });
        self.diagnostics.dedup();
        // Text that a message withholds is also masked in the shown line, and so is a leak in the manifest of a package,
        // which another reporter found.
        let is_leak = |code: Code| {
            [leak_scan::Kind::Secret, leak_scan::Kind::HostPath].map(leak_report::error_code).contains(&code)
        };
        let is_masked = |one: &&Diagnostic| one.message.contains(WITHHELD) || is_leak(one.code);
        let withheld = self.diagnostics.iter().filter(is_masked);
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

fn leak_help(kind: leak_scan::Kind) -> String {
    match kind {
        leak_scan::Kind::Secret => {
            "remove and revoke the credential, and name it by reference, such as `secret:github-token`".to_owned()
        }
        leak_scan::Kind::HostPath => {
            "name a mount or a resource instead, which each host maps to a place of its own".to_owned()
        }
    }
}
