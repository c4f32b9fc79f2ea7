//! An authoring folder made by code, to be broken on purpose in one place.
//!
//! Where it is broken is marked with [`CARET`] in the new text, so that a test says where the error
//! must point without counting lines.

use std::collections::BTreeMap;

use bundles::{BuildOptions, BuildOutput, BundleLimits, Diagnostic, Diagnostics, Folder, Severity, build};
use yoi_tests::fuzz::seeds;

/// Marks the character that a diagnostic must point at. It is taken out of the text.
pub(crate) const CARET: &str = "‸";

/// Files, and the place where they were last broken.
#[derive(Clone)]
pub(crate) struct Files {
    files: BTreeMap<String, Vec<u8>>,
    spot: (String, usize, usize),
}

impl Files {
    /// A folder with every field of the authoring form. It builds.
    pub(crate) fn full() -> Self {
        Self { files: seeds::folder().into_iter().collect(), spot: ("bundle.toml".to_owned(), 0, 0) }
    }

    /// A folder with what must be there and nothing else. It builds.
    pub(crate) fn small() -> Self {
        let mut files = Self::full();
        files.files.retain(|name, _| name == "bundle.toml");
        let bundle = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                      language = \"en\"\n[workspace]\nid = \"acme\"\n";
        files.put("bundle.toml", bundle)
    }

    /// The same with this file, whose text may hold a caret.
    pub(crate) fn put(mut self, file: &str, text: &str) -> Self {
        self.spot = (file.to_owned(), 0, 0);
        if let Some((before, _)) = text.split_once(CARET) {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            self.spot = (file.to_owned(), line, column);
        }
        self.files.insert(file.to_owned(), text.replace(CARET, "").into_bytes());
        self
    }

    /// The same with these bytes as a file.
    pub(crate) fn put_bytes(mut self, file: &str, bytes: &[u8]) -> Self {
        self.spot = (file.to_owned(), 0, 0);
        self.files.insert(file.to_owned(), bytes.to_vec());
        self
    }

    /// The same without this file.
    pub(crate) fn without(mut self, file: &str) -> Self {
        assert!(self.files.remove(file).is_some(), "there is no {file}");
        self.spot = (file.to_owned(), 0, 0);
        self
    }

    /// The same with another text in the place of `from`, which stands in the file exactly once.
    pub(crate) fn edit(self, file: &str, from: &str, to: &str) -> Self {
        let text = self.text(file);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
        self.put(file, &text.replace(from, to))
    }

    /// The same with this text at the end of a file.
    pub(crate) fn append(self, file: &str, more: &str) -> Self {
        let text = self.text(file);
        self.put(file, &(text + more))
    }

    /// The same, and what is wrong is to be told at this place.
    pub(crate) fn told_at(mut self, file: &str, line: usize, column: usize) -> Self {
        self.spot = (file.to_owned(), line, column);
        self
    }

    pub(crate) fn text(&self, file: &str) -> String {
        String::from_utf8(self.files[file].clone()).expect("text")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::from_files(self.files.clone())
    }

    pub(crate) fn build(&self) -> Result<BuildOutput, Diagnostics> {
        self.build_within(&BundleLimits::default())
    }

    pub(crate) fn build_within(&self, limits: &BundleLimits) -> Result<BuildOutput, Diagnostics> {
        build(&self.folder(), &BuildOptions::default(), limits)
    }

    /// Asserts that it builds.
    #[track_caller]
    pub(crate) fn passes(&self) -> BuildOutput {
        self.build().unwrap_or_else(|told| panic!("{:#?}", told.list))
    }

    /// Asserts that this is what is told and nothing else, at the caret.
    #[track_caller]
    pub(crate) fn refused(&self, code: &str, help: &str) -> Diagnostic {
        self.refused_within(&BundleLimits::default(), code, help)
    }

    /// [`Files::refused`], with other limits.
    #[track_caller]
    pub(crate) fn refused_within(&self, limits: &BundleLimits, code: &str, help: &str) -> Diagnostic {
        let told = self.build_within(limits).expect_err(&format!("{code}: this is no bundle"));
        let errors: Vec<_> = told.list.iter().filter(|one| one.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{code}: {errors:#?}");
        self.is_told(errors[0], code, help);
        errors[0].clone()
    }

    /// Asserts that this is told among other things, at the caret.
    #[track_caller]
    pub(crate) fn refused_among_others(&self, code: &str, help: &str) -> Diagnostics {
        let told = self.build().expect_err(&format!("{code}: this is no bundle"));
        let place = |one: &&Diagnostic| (one.file.as_str(), one.line, one.column) == self.place() && one.code == code;
        let one = told.list.iter().find(place).unwrap_or_else(|| panic!("{:?}: {:#?}", self.spot, told.list));
        self.is_told(one, code, help);
        told
    }

    fn place(&self) -> (&str, usize, usize) {
        (&self.spot.0, self.spot.1, self.spot.2)
    }

    #[track_caller]
    fn is_told(&self, one: &Diagnostic, code: &str, help: &str) {
        assert_eq!(one.code, code, "{one:#?}");
        assert_eq!((one.file.as_str(), one.line, one.column), self.place(), "{one:#?}");
        assert!(!one.help.is_empty() && one.help.contains(help), "{help}: {one:#?}");
        assert!(!one.message.is_empty() && !one.message.ends_with('.'), "{one:#?}");
    }
}

/// Asserts that none of eight characters of `value` in a row stand in `said`.
#[track_caller]
pub(crate) fn says_nothing_of(value: &str, said: &str) {
    let letters: Vec<char> = value.chars().collect();
    for window in letters.windows(8) {
        let window: String = window.iter().collect();
        assert!(!said.contains(&window), "something says a part of a value that it must not");
    }
}
