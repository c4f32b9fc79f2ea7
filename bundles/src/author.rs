//! The authoring form: a folder of TOML and Markdown, read into a manifest and its blobs.
//!
//! Everything that is wrong is told at once, each with file, line and column. Where each value of
//! the manifest was written is remembered, so that what is found later (a dangling name, a leak) is
//! told at the same place. Nothing here reads a disk, a clock or the environment.

mod bundle_file;
mod plugin_file;
mod profile_file;
mod section;
mod settings;
mod unset;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;

use crate::blob::Blob;
use crate::diagnostic::{Diagnostic, Severity, line_and_column};
use crate::digest::Digest;
use crate::encoding;
use crate::folder::Folder;
use crate::manifest::{BlobRef, Manifest, Prompt, Workflow};
use crate::names::{PromptName, WorkflowName, shown};
use crate::pointer::Pointer;
use section::Section;
pub(crate) use unset::{Unset, UnsetCheck, check as check_unsets};

/// What a folder says, with where it says it.
pub(crate) struct Authored {
    /// The manifest, as far as it could be read.
    pub(crate) manifest: Manifest,
    /// What it names, by digest.
    pub(crate) blobs: BTreeMap<Digest, Blob>,
    /// Where each value was written.
    pub(crate) places: Places,
    /// Where declarations would stand that are there and could not be read: they lack nothing but
    /// what is told already.
    pub(crate) unread: Unread,
    /// Every entry of every `unset`.
    pub(crate) unsets: Vec<Unset>,
    /// Schema files that no tool names.
    pub(crate) unused_schemas: Vec<String>,
}

/// Declarations that are there and could not be read.
#[derive(Default)]
pub(crate) struct Unread {
    each: BTreeSet<Pointer>,
    /// Beginnings of pointers, for folders that could not be read.
    below: Vec<String>,
}

impl Unread {
    fn insert(&mut self, pointer: Pointer) {
        self.each.insert(pointer);
    }

    /// `true` if what would be declared at `pointer` was written and could not be read.
    pub(crate) fn contains(&self, pointer: &Pointer) -> bool {
        self.each.contains(pointer) || self.below.iter().any(|start| pointer.as_str().starts_with(start))
    }
}

/// Where the values of a manifest were written.
#[derive(Default)]
pub(crate) struct Places {
    values: BTreeMap<Pointer, Place>,
    /// Keys of free objects, where the author chose them.
    keys: BTreeMap<Pointer, Place>,
    /// Files whose bytes are a blob, by where the manifest names it.
    texts: BTreeMap<Pointer, String>,
}

/// A file, and the bytes of it where a value stands.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) span: Option<Range<usize>>,
}

impl Places {
    /// The place of a value, or of the nearest thing that it stands in.
    pub(crate) fn find(&self, pointer: &Pointer) -> Option<&Place> {
        let mut pointer = pointer.clone();
        loop {
            if let Some(place) = self.values.get(&pointer) {
                return Some(place);
            }
            pointer = pointer.parent()?;
        }
    }

    /// The place of the key under which a value stands.
    pub(crate) fn find_key(&self, pointer: &Pointer) -> Option<&Place> {
        self.keys.get(pointer).or_else(|| self.find(pointer))
    }

    /// The file whose bytes are the blob that the manifest names at `pointer`.
    pub(crate) fn text(&self, pointer: &Pointer) -> Option<&str> {
        self.texts.get(pointer).map(String::as_str)
    }
}

/// Reads a folder. What is wrong goes to `told`; a manifest comes back only where `bundle.toml`
/// could be read at all.
pub(crate) fn read(folder: &Folder, told: &mut Vec<Diagnostic>) -> Option<Authored> {
    let mut author = Author {
        folder,
        told,
        places: Places::default(),
        blobs: BTreeMap::new(),
        unread: Unread::default(),
        unsets: Vec::new(),
        schemas: BTreeSet::new(),
    };
    author.refused();
    author.schemas();
    let mut manifest = author.bundle_file()?;
    author.profiles(&mut manifest);
    author.prompts(&mut manifest);
    author.workflows(&mut manifest);
    author.plugins(&mut manifest);
    let unused = folder.room("schemas").map(|(file, ..)| file).filter(|file| !author.schemas.contains(*file));
    let unused_schemas = unused.filter(|file| file.ends_with(".json")).map(str::to_owned).collect();
    Some(Authored {
        manifest,
        blobs: author.blobs,
        places: author.places,
        unread: author.unread,
        unsets: author.unsets,
        unused_schemas,
    })
}

struct Author<'a> {
    folder: &'a Folder,
    told: &'a mut Vec<Diagnostic>,
    places: Places,
    blobs: BTreeMap<Digest, Blob>,
    unread: Unread,
    unsets: Vec<Unset>,
    /// Schema files that a tool names.
    schemas: BTreeSet<String>,
}

/// The extensions that a workflow's definition may have.
const WORKFLOW_EXTENSIONS: [&str; 6] = [".md", ".yaml", ".yml", ".json", ".toml", ".txt"];

/// The name of a workflow by the name of its file.
fn workflow_stem(inside: &str) -> Option<&str> {
    WORKFLOW_EXTENSIONS.iter().find_map(|extension| inside.strip_suffix(extension))
}

impl<'a> Author<'a> {
    /// Hands one TOML file to `read`, with its sections and a reader that knows the file.
    fn toml<T>(
        &mut self,
        file: &'a str,
        read: impl FnOnce(&mut FileReader<'_, 'a>, &mut Section<'_>) -> T,
    ) -> Option<T> {
        let text = self.utf8(file, self.folder.get(file)?)?;
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = FileReader { author: self, file, text };
        // What is read after the first error of syntax is a guess at what was meant.
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

    /// The text of a file, or a mistake that names the encoding.
    fn utf8<'t>(&mut self, file: &str, bytes: &'t [u8]) -> Option<&'t str> {
        if let Some(problem) = encoding::problem(bytes) {
            self.tell_file(file, "not_utf8", problem, "save the file as UTF-8");
            return None;
        }
        std::str::from_utf8(bytes).ok()
    }

    /// Tells every entry of the folder that is no readable file, and remembers what it would declare.
    fn refused(&mut self) {
        for entry in self.folder.refused() {
            self.tell_file(&entry.file, entry.code, entry.message.clone(), entry.help);
            let (room, inside) = entry.file.split_once('/').unwrap_or((&entry.file, ""));
            let name = match room {
                "prompts" => inside.strip_suffix(".md"),
                "profiles" | "plugins" => inside.strip_suffix(".toml"),
                "workflows" => workflow_stem(inside),
                _ => continue,
            };
            let at = Pointer::root().key(room);
            match name {
                Some(name) => self.unread.insert(at.key(name)),
                None if inside.is_empty() => self.unread.below.push(format!("{at}/")),
                None => self.unread.below.push(format!("{}~1", at.key(inside))),
            }
        }
    }

    fn schemas(&mut self) {
        for (file, inside, bytes) in self.folder.room("schemas") {
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

    fn tell_file(&mut self, file: &str, code: &'static str, message: String, help: &str) {
        let severity = Severity::Error;
        self.told.push(Diagnostic {
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
        let message = format!("`{}` is not expected here: {expected}", shown(file));
        self.tell_file(file, "unexpected_file", message, "rename it, or move it out of the folder");
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
        for (file, inside, bytes) in self.folder.room("prompts") {
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
        for (file, inside, bytes) in self.folder.room("workflows") {
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
                let message = format!("there is already a workflow `{}`", shown(stem));
                self.tell_file(file, "duplicate_name", message, "rename one of the two");
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
                self.tell_file(file, "invalid_name", error.to_string(), "rename the file")
            })
            .ok()
    }

    fn files_of(&self, room: &'a str) -> Vec<(&'a str, &'a str)> {
        self.folder.room(room).map(|(file, inside, _)| (file, inside)).collect()
    }
}

/// Most mistakes that are told. Finding the line of each costs a walk through its file.
pub(crate) const MOST_TOLD: usize = 1000;

/// Reads one TOML file and tells what is wrong in it.
struct FileReader<'r, 'a> {
    author: &'r mut Author<'a>,
    file: &'a str,
    text: &'a str,
}

impl FileReader<'_, '_> {
    fn tell(&mut self, span: Range<usize>, code: &'static str, message: String, help: impl Into<String>) {
        if self.author.told.len() >= MOST_TOLD {
            return;
        }
        let (line, column) = line_and_column(self.text, span.start);
        self.author.told.push(Diagnostic {
            code,
            severity: Severity::Error,
            file: self.file.to_owned(),
            line,
            column,
            message,
            help: help.into(),
            pointer: None,
            span: Some(span),
        });
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        // In the reader's words, of keys and of values.
        if message == "recursion limit" || message.starts_with("cannot recurse further") {
            let message = "arrays and tables are nested deeper than a reader goes".to_owned();
            self.tell(span, "too_deep", message, "flatten the value");
        } else if is_duplicate(error) {
            self.tell(span, "duplicate_key", "this key stands twice in one table".to_owned(), "keep one of the two");
        } else {
            self.tell(span, "invalid_toml", format!("this is not TOML: {message}"), "see the TOML 1.0 specification");
        }
    }

    /// Remembers a declaration that could not be read.
    fn declared<T>(&mut self, at: &Pointer, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.author.unread.insert(at.clone());
        }
        read
    }

    /// Remembers where a key was written.
    fn place_key(&mut self, pointer: Pointer, span: Range<usize>) {
        self.author.places.keys.insert(pointer, Place { file: self.file.to_owned(), span: Some(span) });
    }

    /// Remembers where a value of the manifest was written.
    fn place(&mut self, pointer: Pointer, span: Range<usize>) {
        self.author.places.values.insert(pointer, Place { file: self.file.to_owned(), span: Some(span) });
    }
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().starts_with("duplicate key")
}

/// The known name that is nearest to a mistyped one, where one is near enough to be meant.
pub fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Comparing costs the product of the lengths, and the list may be long.
    let short: String = name.chars().take(64).collect();
    known
        .take(4096)
        .map(|candidate| (strsim::damerau_levenshtein(&short, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(short.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}
