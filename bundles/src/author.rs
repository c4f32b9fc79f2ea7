//! Parser of the authoring form: a folder of TOML and Markdown becomes a manifest and its blobs.
//!
//! All problems are reported at once, each with file, line and column. [`Places`] records where each value of the
//! manifest was written, so that later checks (dangling names, leaks) report the same place. Nothing here accesses a
//! disk, a clock or the environment.

mod bundle_file;
mod plugin_file;
mod plugin_toml;
mod profile_file;
mod section;
mod settings;
mod unset;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use error_code::Code;
use toml::de::DeTable;

use crate::blob::Blob;
use crate::diagnostic::{Diagnostic, Severity};
use crate::digest::Digest;
use crate::encoding;
use crate::folder::{Folder, package_of};
use crate::limits::BundleLimits;
use crate::manifest::{BlobRef, Manifest, Prompt, Workflow};
use crate::names::{PluginName, PromptName, WorkflowName, shown};
use crate::plugin::{COMPONENT, Package};
use crate::pointer::Pointer;
pub(crate) use plugin_toml::{read_plugin, without_values};
use section::Section;
pub(crate) use unset::{Unset, UnsetCheck, check as check_unsets};

/// Result of reading a folder.
pub(crate) struct AuthoredBundle {
    /// The manifest, as far as it could be read.
    pub(crate) manifest: Manifest,
    /// Blobs that the manifest names, by digest.
    pub(crate) blobs: BTreeMap<Digest, Blob>,
    /// Place of each value in the folder.
    pub(crate) places: Places,
    /// Declarations that were written but could not be read. References to them are not reported as dangling.
    pub(crate) unread: Unread,
    /// All entries of all `unset` lists.
    pub(crate) unsets: Vec<Unset>,
    /// Schema files that no tool names, and packages that no plugin names.
    pub(crate) unused_files: Vec<(String, &'static str)>,
    /// Packages of plugins in the folder.
    pub(crate) packages: BTreeMap<PluginName, Package>,
}

/// Declarations that were written but could not be read.
#[derive(Default)]
pub(crate) struct Unread {
    each: BTreeSet<Pointer>,
    /// Pointer prefixes for subfolders that could not be read.
    below: Vec<String>,
}

impl Unread {
    fn insert(&mut self, pointer: Pointer) {
        self.each.insert(pointer);
    }

    /// `true` if the declaration at `pointer` was written but could not be read.
    pub(crate) fn contains(&self, pointer: &Pointer) -> bool {
        self.each.contains(pointer) || self.below.iter().any(|start| pointer.as_str().starts_with(start))
    }
}

/// Places in the folder at which the values of a manifest were written.
#[derive(Default)]
pub(crate) struct Places {
    values: BTreeMap<Pointer, Place>,
    /// Keys that the author chose in free objects.
    keys: BTreeMap<Pointer, Place>,
    /// Files whose bytes are a blob, by the place of the blob in the manifest.
    texts: BTreeMap<Pointer, String>,
}

/// Byte range in a file.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) span: Option<Range<usize>>,
}

impl Places {
    /// Returns the place of a value, or of the nearest enclosing value with a known place.
    pub(crate) fn find(&self, pointer: &Pointer) -> Option<&Place> {
        let mut pointer = pointer.clone();
        loop {
            if let Some(place) = self.values.get(&pointer) {
                return Some(place);
            }
            pointer = pointer.parent()?;
        }
    }

    /// Returns the place of the key of a value.
    pub(crate) fn find_key(&self, pointer: &Pointer) -> Option<&Place> {
        self.keys.get(pointer).or_else(|| self.find(pointer))
    }

    /// Returns the file whose bytes are the blob at `pointer`.
    pub(crate) fn text(&self, pointer: &Pointer) -> Option<&str> {
        self.texts.get(pointer).map(String::as_str)
    }
}

/// Reads a folder and adds problems to `diagnostics`. Returns `None` only if `bundle.toml` cannot be read at all.
pub(crate) fn read(
    folder: &Folder,
    diagnostics: &mut Vec<Diagnostic>,
    limits: &BundleLimits,
) -> Option<AuthoredBundle> {
    let mut author = Author::new(folder, diagnostics);
    author.refused();
    author.schemas();
    // Plugins come first, because tools take what they do not state from the packages.
    let plugins = author.plugins(limits);
    let mut manifest = author.bundle_file()?;
    manifest.plugins = plugins;
    author.profiles(&mut manifest);
    author.prompts(&mut manifest);
    author.workflows(&mut manifest);
    let is_unused = |file: &&str| file.ends_with(".json") && !author.schemas.contains(*file);
    let schemas = folder.subfolder("schemas").map(|(file, ..)| file).filter(is_unused);
    let mut unused_files: Vec<_> = schemas.map(|file| (file.to_owned(), "schema")).collect();
    // A folder is reported once, by its manifest.
    let is_unused = |file: &&str| {
        !file.ends_with(COMPONENT) && package_of(file).is_some_and(|name| !author.package_names.contains(name))
    };
    let packages = folder.subfolder("plugins").map(|(file, ..)| file).filter(is_unused);
    unused_files.extend(packages.map(|file| (file.to_owned(), "package")));
    Some(AuthoredBundle {
        manifest,
        blobs: author.blobs,
        places: author.places,
        unread: author.unread,
        unsets: author.unsets,
        unused_files,
        packages: author.packages,
    })
}

struct Author<'a> {
    folder: &'a Folder,
    diagnostics: &'a mut Vec<Diagnostic>,
    places: Places,
    blobs: BTreeMap<Digest, Blob>,
    unread: Unread,
    unsets: Vec<Unset>,
    /// Schema files that a tool names.
    schemas: BTreeSet<String>,
    /// Files and folders of packages that a plugin names.
    package_names: BTreeSet<String>,
    packages: BTreeMap<PluginName, Package>,
}

/// File extensions of workflow definitions.
const WORKFLOW_EXTENSIONS: [&str; 6] = [".md", ".yaml", ".yml", ".json", ".toml", ".txt"];

/// Returns the name of a workflow for the name of its file.
fn workflow_stem(inside: &str) -> Option<&str> {
    WORKFLOW_EXTENSIONS.iter().find_map(|extension| inside.strip_suffix(extension))
}

impl<'a> Author<'a> {
    fn new(folder: &'a Folder, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Self {
            folder,
            diagnostics,
            places: Places::default(),
            blobs: BTreeMap::new(),
            unread: Unread::default(),
            unsets: Vec::new(),
            schemas: BTreeSet::new(),
            package_names: BTreeSet::new(),
            packages: BTreeMap::new(),
        }
    }

    /// Parses a TOML file and passes its top table and a reader for the file to `read`.
    fn toml<T>(
        &mut self,
        file: &'a str,
        read: impl FnOnce(&mut FileReader<'_, 'a>, &mut Section<'_>) -> T,
    ) -> Option<T> {
        let text = self.utf8(file, self.folder.get(file)?)?;
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = FileReader { author: self, file, text };
        // After the first syntax error, the parser's result is a guess.
        let duplicate = |error: &&toml::de::Error| is_duplicate(error);
        let syntax = errors.iter().find(|error| !is_duplicate(error));
        for error in errors.iter().filter(duplicate).chain(syntax) {
            reader.syntax(error);
        }
        if !errors.is_empty() {
            return None;
        }
        let mut section = Section::new(table.get_ref(), 0..0, "the file");
        let read = read(&mut reader, &mut section);
        reader.finish(section);
        Some(read)
    }

    /// Returns the text of a file, or reports its encoding as a problem.
    fn utf8<'t>(&mut self, file: &str, bytes: &'t [u8]) -> Option<&'t str> {
        if let Some(problem) = encoding::problem(bytes) {
            self.report_file(file, Code::NotUtf8, problem, "save the file as UTF-8");
            return None;
        }
        std::str::from_utf8(bytes).ok()
    }

    /// Reports every entry of the folder that is not a readable file and records its declaration as unread.
    fn refused(&mut self) {
        for entry in self.folder.refused() {
            self.report_file(&entry.file, entry.code, entry.message.clone(), entry.help);
            let (subfolder, inside) = entry.file.split_once('/').unwrap_or((&entry.file, ""));
            let name = match subfolder {
                "prompts" => inside.strip_suffix(".md"),
                "profiles" | "plugins" => inside.strip_suffix(".toml"),
                "workflows" => workflow_stem(inside),
                _ => continue,
            };
            let at = Pointer::root().key(subfolder);
            match name {
                Some(name) => self.unread.insert(at.key(name)),
                None if inside.is_empty() => self.unread.below.push(format!("{at}/")),
                None => self.unread.below.push(format!("{}~1", at.key(inside))),
            }
        }
    }

    fn schemas(&mut self) {
        for (file, inside, bytes) in self.folder.subfolder("schemas") {
            if !inside.ends_with(".json") {
                self.unexpected(file, "schemas are `.json` files");
                continue;
            }
            self.utf8(file, bytes);
        }
    }

    fn text_at(&mut self, pointer: Pointer, file: &str) {
        self.places.texts.insert(pointer, file.to_owned());
    }

    fn report_file(&mut self, file: &str, code: Code, message: String, help: &str) {
        let severity = Severity::Error;
        self.diagnostics.push(Diagnostic {
            code,
            severity,
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
            help: help.to_owned(),
            pointer: None,
            span: None,
        });
    }

    fn unexpected(&mut self, file: &str, expected: &str) {
        let message = format!("unexpected file `{}`: {expected}", shown(file));
        self.report_file(file, Code::UnexpectedFile, message, "rename it, or move it out of the folder");
    }

    fn blob(&mut self, bytes: &[u8]) -> BlobRef {
        let blob = Blob::new(bytes);
        let digest = blob.digest();
        self.blobs.entry(digest).or_insert(blob);
        BlobRef { digest, size: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }

    fn at_file(&mut self, pointer: Pointer, file: &str) {
        self.places.values.insert(pointer, Place { file: file.to_owned(), span: None });
    }

    fn prompts(&mut self, manifest: &mut Manifest) {
        for (file, inside, bytes) in self.folder.subfolder("prompts") {
            let Some(name) = inside.strip_suffix(".md") else {
                self.unexpected(file, "prompts are `.md` files");
                continue;
            };
            let Some(name) = self.file_name::<PromptName>(file, name) else { continue };
            self.utf8(file, bytes);
            let text = self.blob(bytes);
            let at = Pointer::root().key("prompts").key(&name);
            self.text_at(at.key("text"), file);
            self.at_file(at, file);
            manifest.prompts.insert(name, Prompt { text });
        }
    }

    fn workflows(&mut self, manifest: &mut Manifest) {
        for (file, inside, bytes) in self.folder.subfolder("workflows") {
            let Some(stem) = workflow_stem(inside) else {
                let known = WORKFLOW_EXTENSIONS.map(|extension| format!("`{extension}`")).join(", ");
                self.unexpected(file, &format!("workflows are files with one of the extensions {known}"));
                continue;
            };
            let Some(name) = self.file_name::<WorkflowName>(file, stem) else { continue };
            self.utf8(file, bytes);
            let definition = Workflow::Definition(self.blob(bytes));
            let at = Pointer::root().key("workflows").key(&name);
            self.text_at(at.key("definition"), file);
            self.at_file(at, file);
            if manifest.workflows.insert(name, definition).is_some() {
                let message = format!("workflow `{}` already exists", shown(stem));
                self.report_file(file, Code::DuplicateName, message, "rename one of the two");
            }
        }
    }

    fn file_name<T: std::str::FromStr<Err = crate::names::InvalidName>>(
        &mut self,
        file: &str,
        name: &str,
    ) -> Option<T> {
        name.parse()
            .map_err(|error: crate::names::InvalidName| {
                self.report_file(file, Code::InvalidName, error.to_string(), "rename the file")
            })
            .ok()
    }

    fn files_of(&self, subfolder: &'a str) -> Vec<(&'a str, &'a str)> {
        self.folder.subfolder(subfolder).map(|(file, inside, _)| (file, inside)).collect()
    }
}

/// Maximum number of reported problems. Finding the line of each requires a pass over its file.
pub(crate) const MAX_DIAGNOSTICS: usize = 1000;

/// Reads one TOML file and reports its problems.
struct FileReader<'r, 'a> {
    author: &'r mut Author<'a>,
    file: &'a str,
    text: &'a str,
}

impl FileReader<'_, '_> {
    fn report(&mut self, span: Range<usize>, code: Code, message: String, help: impl Into<String>) {
        if self.author.diagnostics.len() >= MAX_DIAGNOSTICS {
            return;
        }
        let place = (self.file, self.text);
        self.author.diagnostics.push(Diagnostic::error_at(place, span, code, message, help));
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        // Messages of the parser for values and for keys.
        if message == "recursion limit" || message.starts_with("cannot recurse further") {
            let message = "arrays and tables are nested too deeply".to_owned();
            self.report(span, Code::TooDeep, message, "flatten the value");
        } else if is_duplicate(error) {
            self.report(span, Code::DuplicateKey, "duplicate key in a table".to_owned(), "remove one of the two");
        } else {
            self.report(span, Code::InvalidToml, format!("invalid TOML: {message}"), "see the TOML 1.0 specification");
        }
    }

    /// Records the declaration as unread if `read` is `None`.
    fn declared<T>(&mut self, at: &Pointer, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.author.unread.insert(at.clone());
        }
        read
    }

    /// Records the place of a key.
    fn place_key(&mut self, pointer: Pointer, span: Range<usize>) {
        self.author.places.keys.insert(pointer, Place { file: self.file.to_owned(), span: Some(span) });
    }

    /// Records the place of a value.
    fn place(&mut self, pointer: Pointer, span: Range<usize>) {
        self.author.places.values.insert(pointer, Place { file: self.file.to_owned(), span: Some(span) });
    }
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().starts_with("duplicate key")
}

/// Returns the known name nearest to a mistyped one, if one is near enough.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // The cost of a comparison is the product of the lengths, and the list may be long.
    let short: String = name.chars().take(64).collect();
    known
        .take(4096)
        .map(|candidate| (strsim::damerau_levenshtein(&short, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(short.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}
