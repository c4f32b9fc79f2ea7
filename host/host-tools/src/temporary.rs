//! Temporary files that become or replace another file of the same folder by a rename.
//!
//! A file has an unpredictable name while it is written: `.yoi-`, 32 hex digits and `.tmp`. It is removed when it is
//! dropped before the rename, so only a process that is killed leaves one behind. No tool lists, reads or writes such a
//! file, and no secret has such a name, so an operator may remove it.

use std::io::{self, Write};

use cap_fs_ext::OpenOptionsFollowExt;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};

const PREFIX: &str = ".yoi-";
const SUFFIX: &str = ".tmp";

/// `true` if the name has the form of the names of temporary files.
pub(crate) fn is_temporary_name(name: &str) -> bool {
    let middle = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// A temporary file. It is removed when this is dropped, unless it was renamed.
#[derive(Debug)]
pub(crate) struct TemporaryFile<'a> {
    folder: &'a Dir,
    name: String,
    file: File,
    renamed: bool,
}

impl<'a> TemporaryFile<'a> {
    /// Creates a file in `folder` with this mode, reduced by the umask of the process.
    pub(crate) fn create(folder: &'a Dir, mode: u32) -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{PREFIX}{hex}{SUFFIX}");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).follow(cap_fs_ext::FollowSymlinks::No);
        let file = folder.open_with(&name, &options)?;
        Ok(Self { folder, name, file, renamed: false })
    }

    /// Returns the open file for writing.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the content durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_all()
    }

    /// Renames the file to `name`, and replaces a file of this name.
    pub(crate) fn replace(&mut self, name: &str) -> io::Result<()> {
        self.folder.rename(&self.name, self.folder, name)?;
        self.renamed = true;
        Ok(())
    }

    /// Renames the file to `name`. Fails if there is an entry of this name, of any kind.
    pub(crate) fn rename_new(&mut self, name: &str) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(self.folder, &self.name, self.folder, name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.renamed = true;
                    return Ok(());
                }
                // File systems without `RENAME_NOREPLACE` have hard links.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Gives the file a second name. Dropping this removes the first one.
        self.folder.hard_link(&self.name, self.folder, name)
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // If this fails, the name still identifies the file as a temporary one.
            let _ = self.folder.remove_file(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Dir) -> Vec<String> {
        let names = folder.entries().expect("entries").map(|entry| entry.expect("one").file_name());
        names.map(|name| name.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn temporary_file_has_a_recognisable_name_and_is_removed_on_drop() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        let temporary = TemporaryFile::create(&folder, 0o600).expect("made");
        assert!(matches!(&names(&folder)[..], [name] if is_temporary_name(name)));
        drop(temporary);
        assert!(names(&folder).is_empty());
        for other in
            [".yoi-.tmp", ".yoi-0123456789ABCDEF0123456789abcdef.tmp", "yoi-0123456789abcdef0123456789abcdef.tmp"]
        {
            assert!(!is_temporary_name(other), "{other}");
        }
    }

    #[test]
    fn new_name_is_given_only_if_nothing_has_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).expect("opened");
        for _ in 0..2 {
            TemporaryFile::create(&folder, 0o600).expect("made").replace("there").expect("replaced");
        }
        let error = TemporaryFile::create(&folder, 0o600).expect("made").rename_new("there").expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        folder.symlink("nowhere", "link").expect("a link");
        assert!(TemporaryFile::create(&folder, 0o600).expect("made").rename_new("link").is_err());
        TemporaryFile::create(&folder, 0o600).expect("made").rename_new("new").expect("renamed");
        let mut names = names(&folder);
        names.sort();
        assert_eq!(names, ["link", "new", "there"]);
    }
}
