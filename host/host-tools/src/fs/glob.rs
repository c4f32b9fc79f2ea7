//! Globs over paths: the files that a call may access, and the files that it searches for.
//!
//! `*` and `?` do not match a `/`, and `**` does. `?` matches one byte. Names that begin with a dot are not special. A
//! set of globs also determines which folders may contain a match, so that a walk can skip the others. Matching takes
//! time linear in the length of the path, for every glob.

use bundles::WorkspaceGlob;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::FsError;
use super::path::MountPath;

/// Maximum length of a glob in bytes, as in the schema of `fs.list`.
const MAX_GLOB_BYTES: usize = 255;

/// A set of globs, with globs for the folders that may contain a match.
#[derive(Debug, Clone)]
pub(super) struct Globs {
    files: GlobSet,
    folders: GlobSet,
}

impl Globs {
    /// Parses the glob of a caller.
    pub(super) fn parse(text: &str) -> Result<Self, FsError> {
        let usable = !text.is_empty()
            && text.len() <= MAX_GLOB_BYTES
            && !text.contains('\\')
            && !text.split('/').any(|segment| matches!(segment, "" | "." | ".."));
        let globs = if usable { Self::new([text]).ok() } else { None };
        globs.ok_or_else(|| FsError::InvalidGlob(bundles::shown(text)))
    }

    fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, globset::Error> {
        let (mut files, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for text in texts {
            files.add(glob(text)?);
            for folder in parent_globs(text) {
                folders.add(glob(&folder)?);
            }
        }
        Ok(Self { files: files.build()?, folders: folders.build()? })
    }

    /// `true` if a file matches.
    pub(super) fn matches(&self, path: &MountPath) -> bool {
        self.files.is_match(path.as_str())
    }

    /// `true` if a folder may contain a match at any depth. Returns `true` for some folders without a match, but never
    /// `false` for a folder with one.
    pub(super) fn may_contain_match(&self, folder: &MountPath) -> bool {
        self.folders.is_match(folder.as_str())
    }
}

fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build()
}

/// Returns globs for the folders above the files that `text` matches.
fn parent_globs(text: &str) -> Vec<String> {
    let mut folders = Vec::new();
    let mut above = String::new();
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Braces may contain a `/`, so every folder from here on may contain a match.
        if segment == "**" || segment.contains(['{', '}', '[', ']']) {
            folders.push(format!("{above}**"));
            break;
        }
        if segments.peek().is_none() {
            break;
        }
        above.push_str(segment);
        folders.push(above.clone());
        above.push('/');
    }
    folders
}

/// Files that a bundle allows a tool to access. Without globs, all are allowed.
#[derive(Debug, Clone)]
pub(super) struct AllowedPaths(Option<Globs>);

impl AllowedPaths {
    /// Creates the set from the bundle's policy for the tool.
    pub(super) fn new(paths: &[WorkspaceGlob]) -> Result<Self, FsError> {
        if paths.is_empty() {
            return Ok(Self(None));
        }
        // A `WorkspaceGlob` is always a valid glob. If it were not, ignoring the error would allow more files.
        let globs = Globs::new(paths.iter().map(WorkspaceGlob::as_str));
        globs
            .map(|globs| Self(Some(globs)))
            .map_err(|_| FsError::InvalidInput("the policy of the tool contains an invalid glob".to_owned()))
    }

    /// `true` if the tool may access the file.
    pub(super) fn allows_file(&self, path: &MountPath) -> bool {
        self.0.as_ref().is_none_or(|globs| globs.matches(path))
    }

    /// `true` if the tool may list the folder, because it may contain a file that the tool may access.
    pub(super) fn allows_folder(&self, path: &MountPath) -> bool {
        self.0.as_ref().is_none_or(|globs| globs.may_contain_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> MountPath {
        text.parse().expect("a path")
    }

    #[test]
    fn one_star_does_not_match_a_slash_and_two_do() {
        for (glob, hits, misses) in [
            ("*.rs", vec!["a.rs", ".rs"], vec!["src/a.rs", "a.rsx"]),
            ("src/**/*.rs", vec!["src/a.rs", "src/x/y/a.rs"], vec!["a.rs", "lib/src/a.rs"]),
            ("**", vec!["a", "a/b/.c"], vec![]),
            ("src/**", vec!["src/a", "src/a/b"], vec!["src", "srca/b"]),
            ("**/x", vec!["x", "a/b/x"], vec!["ax"]),
            ("a?c", vec!["abc"], vec!["a/c", "ac"]),
            ("{a,b/c}.md", vec!["a.md", "b/c.md"], vec!["c.md"]),
            ("[a-c]/x", vec!["b/x"], vec!["d/x"]),
        ] {
            let globs = Globs::parse(glob).expect("a glob");
            for hit in hits {
                assert!(globs.matches(&path(hit)), "{glob} {hit}");
                let mut above = path(hit);
                while let Some(folder) = above.split().0 {
                    assert!(globs.may_contain_match(&folder), "{glob} {folder}");
                    above = folder;
                }
            }
            for miss in misses {
                assert!(!globs.matches(&path(miss)), "{glob} {miss}");
            }
        }
    }

    #[test]
    fn folders_without_a_possible_match_are_recognised() {
        let globs = Globs::parse("src/*/x/*.rs").expect("a glob");
        for (folder, leads) in [
            ("src", true),
            ("src/a", true),
            ("src/a/x", true),
            ("lib", false),
            ("src/a/y", false),
            ("src/a/x/b.rs", false),
        ] {
            assert_eq!(globs.may_contain_match(&path(folder)), leads, "{folder}");
        }
    }

    #[test]
    fn invalid_globs_are_refused() {
        for bad in ["", "/a", "a//b", "../*", "a/./b", "a\\b", "[a", "{a", "a}", &"a".repeat(256)] {
            assert!(matches!(Globs::parse(bad), Err(FsError::InvalidGlob(_))), "{bad}");
        }
        for good in [
            "a",
            "**/*",
            "{a,{b,c}}",
            &"{".repeat(64).chars().chain("a".chars()).chain("}".repeat(64).chars()).collect::<String>(),
            &"*a".repeat(127),
        ] {
            assert!(Globs::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn crafted_glob_does_not_take_long() {
        let globs = Globs::parse(&"*a".repeat(127)).expect("a glob");
        assert!(!globs.matches(&path(&"a".repeat(250).replace("aa", "ab"))));
        assert!(!globs.may_contain_match(&path(&"b".repeat(255))));
    }

    #[test]
    fn policy_without_paths_allows_all_and_one_with_paths_only_those() {
        let all = AllowedPaths::new(&[]).expect("a policy");
        assert!(all.allows_file(&path("a/b")) && all.allows_folder(&path("a")));
        let some = AllowedPaths::new(&["docs/**/*.md".parse().expect("a glob")]).expect("a policy");
        assert!(some.allows_file(&path("docs/a/b.md")) && some.allows_folder(&path("docs/a")));
        assert!(!some.allows_file(&path("docs/a.rs")) && !some.allows_folder(&path("src")));
    }
}
