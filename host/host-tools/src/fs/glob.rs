//! Which files a call may touch, and which it looks for: globs over paths.
//!
//! `*` and `?` do not cross a `/`; `**` does. `?` stands for one byte. Names that begin with a dot are names
//! like others. A glob also says which folders could hold what it matches, so that a walk leaves the rest
//! alone. Matching takes time linear in the path, whatever the glob.

use bundles::WorkspaceGlob;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::path::MountPath;
use super::refusal::Refusal;

/// Most bytes of a glob, as the schema of `fs.list` says.
const MAX_GLOB_BYTES: usize = 255;

/// A set of globs.
#[derive(Debug, Clone)]
pub(super) struct Globs {
    files: GlobSet,
    folders: GlobSet,
}

impl Globs {
    /// What a caller looks for.
    pub(super) fn wanted(text: &str) -> Result<Self, Refusal> {
        let usable = !text.is_empty()
            && text.len() <= MAX_GLOB_BYTES
            && !text.contains('\\')
            && !text.split('/').any(|segment| matches!(segment, "" | "." | ".."));
        let globs = if usable { Self::new([text]).ok() } else { None };
        globs.ok_or_else(|| Refusal::InvalidGlob(bundles::shown(text)))
    }

    fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, globset::Error> {
        let (mut files, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for text in texts {
            files.add(glob(text)?);
            for folder in folders_of(text) {
                folders.add(glob(&folder)?);
            }
        }
        Ok(Self { files: files.build()?, folders: folders.build()? })
    }

    /// Whether a file is meant.
    pub(super) fn matches(&self, path: &MountPath) -> bool {
        self.files.is_match(path.as_str())
    }

    /// Whether a folder may hold, at any depth, what is meant. Says yes rather once too often.
    pub(super) fn may_lead_to(&self, folder: &MountPath) -> bool {
        self.folders.is_match(folder.as_str())
    }
}

fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build()
}

/// Globs for the folders above what `text` matches.
fn folders_of(text: &str) -> Vec<String> {
    let mut folders = Vec::new();
    let mut above = String::new();
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        // Braces may hold a `/`: from there on any folder will do.
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

/// The files that a bundle lets a tool touch: all, where it names none.
#[derive(Debug, Clone)]
pub(super) struct Allowed(Option<Globs>);

impl Allowed {
    /// By the bundle's policy for the tool.
    pub(super) fn new(paths: &[WorkspaceGlob]) -> Result<Self, Refusal> {
        if paths.is_empty() {
            return Ok(Self(None));
        }
        // Every `WorkspaceGlob` is a glob; one that were not must not widen what is allowed.
        let globs = Globs::new(paths.iter().map(WorkspaceGlob::as_str));
        globs
            .map(|globs| Self(Some(globs)))
            .map_err(|_| Refusal::InvalidInput("the globs of the policy are none".to_owned()))
    }

    /// Whether a file may be touched.
    pub(super) fn file(&self, path: &MountPath) -> bool {
        self.0.as_ref().is_none_or(|globs| globs.matches(path))
    }

    /// Whether a folder may be looked into: something in it may be touched.
    pub(super) fn folder(&self, path: &MountPath) -> bool {
        self.0.as_ref().is_none_or(|globs| globs.may_lead_to(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> MountPath {
        text.parse().expect("a path")
    }

    #[test]
    fn stars_stay_in_their_folder_and_two_do_not() {
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
            let globs = Globs::wanted(glob).expect("a glob");
            for hit in hits {
                assert!(globs.matches(&path(hit)), "{glob} {hit}");
                let mut above = path(hit);
                while let Some(folder) = above.split().0 {
                    assert!(globs.may_lead_to(&folder), "{glob} {folder}");
                    above = folder;
                }
            }
            for miss in misses {
                assert!(!globs.matches(&path(miss)), "{glob} {miss}");
            }
        }
    }

    #[test]
    fn folders_that_lead_nowhere_are_known() {
        let globs = Globs::wanted("src/*/x/*.rs").expect("a glob");
        for (folder, leads) in [
            ("src", true),
            ("src/a", true),
            ("src/a/x", true),
            ("lib", false),
            ("src/a/y", false),
            ("src/a/x/b.rs", false),
        ] {
            assert_eq!(globs.may_lead_to(&path(folder)), leads, "{folder}");
        }
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        for bad in ["", "/a", "a//b", "../*", "a/./b", "a\\b", "[a", "{a", "a}", &"a".repeat(256)] {
            assert!(matches!(Globs::wanted(bad), Err(Refusal::InvalidGlob(_))), "{bad}");
        }
        for good in [
            "a",
            "**/*",
            "{a,{b,c}}",
            &"{".repeat(64).chars().chain("a".chars()).chain("}".repeat(64).chars()).collect::<String>(),
            &"*a".repeat(127),
        ] {
            assert!(Globs::wanted(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_glob_that_is_made_to_take_long_does_not() {
        let globs = Globs::wanted(&"*a".repeat(127)).expect("a glob");
        assert!(!globs.matches(&path(&"a".repeat(250).replace("aa", "ab"))));
        assert!(!globs.may_lead_to(&path(&"b".repeat(255))));
    }

    #[test]
    fn a_policy_without_paths_allows_all_and_one_with_paths_only_those() {
        let all = Allowed::new(&[]).expect("a policy");
        assert!(all.file(&path("a/b")) && all.folder(&path("a")));
        let some = Allowed::new(&["docs/**/*.md".parse().expect("a glob")]).expect("a policy");
        assert!(some.file(&path("docs/a/b.md")) && some.folder(&path("docs/a")));
        assert!(!some.file(&path("docs/a.rs")) && !some.folder(&path("src")));
    }
}
