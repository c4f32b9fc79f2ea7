//! A file on its way to its name: made in the same folder under a name that nobody can guess, and gone
//! unless it gets there.
//!
//! Only a process that dies leaves one behind. Such a file is known by its name, `.yoi-`, 32 hex digits and
//! `.tmp`: no tool lists, reads or writes it, no secret is called so, and an operator may remove it.

use std::io::{self, Write};

use cap_fs_ext::OpenOptionsFollowExt;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};

const PREFIX: &str = ".yoi-";
const SUFFIX: &str = ".tmp";

/// Whether a name is one that unfinished files get.
pub(crate) fn is_name(name: &str) -> bool {
    let middle = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// An unfinished file.
#[derive(Debug)]
pub(crate) struct Temporary<'a> {
    folder: &'a Dir,
    name: String,
    file: File,
    placed: bool,
}

impl<'a> Temporary<'a> {
    /// Makes one in `folder`, with `mode` as far as the process's mask allows.
    pub(crate) fn make(folder: &'a Dir, mode: u32) -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{PREFIX}{hex}{SUFFIX}");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).follow(cap_fs_ext::FollowSymlinks::No);
        let file = folder.open_with(&name, &options)?;
        Ok(Self { folder, name, file, placed: false })
    }

    /// The file, to be written.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the content durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_all()
    }

    /// Gives it the name of a file, in whose place it is then.
    pub(crate) fn replace(&mut self, name: &str) -> io::Result<()> {
        self.folder.rename(&self.name, self.folder, name)?;
        self.placed = true;
        Ok(())
    }

    /// Gives it a name that nothing has. What has the name stays, whatever it is.
    pub(crate) fn place_new(&mut self, name: &str) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(self.folder, &self.name, self.folder, name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.placed = true;
                    return Ok(());
                }
                // Not every file system has it; those have hard links.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // A second name for it; the first is taken away when this is dropped.
        self.folder.hard_link(&self.name, self.folder, name)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // Where even this fails, the name says what it is.
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
    fn an_unfinished_file_is_known_by_its_name_and_goes_when_it_is_dropped() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Dir::open_ambient_dir(place.path(), cap_std::ambient_authority()).expect("opened");
        let temporary = Temporary::make(&folder, 0o600).expect("made");
        assert!(matches!(&names(&folder)[..], [name] if is_name(name)));
        drop(temporary);
        assert!(names(&folder).is_empty());
        for other in
            [".yoi-.tmp", ".yoi-0123456789ABCDEF0123456789abcdef.tmp", "yoi-0123456789abcdef0123456789abcdef.tmp"]
        {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn a_new_name_is_given_only_where_nothing_has_it() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Dir::open_ambient_dir(place.path(), cap_std::ambient_authority()).expect("opened");
        for _ in 0..2 {
            Temporary::make(&folder, 0o600).expect("made").replace("there").expect("replaced");
        }
        let error = Temporary::make(&folder, 0o600).expect("made").place_new("there").expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        folder.symlink("nowhere", "link").expect("a link");
        assert!(Temporary::make(&folder, 0o600).expect("made").place_new("link").is_err());
        Temporary::make(&folder, 0o600).expect("made").place_new("new").expect("placed");
        let mut names = names(&folder);
        names.sort();
        assert_eq!(names, ["link", "new", "there"]);
    }
}
