//! Tar archives with one spelling: regular files in the order of the caller, without times, owners or modes.
//!
//! [`entries`] returns the files as slices of the archive. It checks neither names nor padding: a caller packs what it
//! has read again, and refuses an archive with other bytes.

/// Problem of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TarProblem {
    /// The bytes are not a tar.
    NotATar,
    /// The entry is a link, a folder, a device or an extension of the format.
    NotAFile {
        /// Name of the entry.
        name: Vec<u8>,
    },
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) content: &'a [u8],
}

/// Packs files. The bytes are the same on every machine.
pub(crate) fn pack<'a, N: AsRef<str>>(files: impl Iterator<Item = (N, &'a [u8])>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.mode(tar::HeaderMode::Deterministic);
    // Writing to memory does not fail, and every name is short.
    let mut done = Ok(());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        done = done.and_then(|()| tar.append_data(&mut header, name.as_ref(), bytes));
    }
    done.and_then(|()| tar.into_inner()).unwrap_or_default()
}

/// Returns the size of a tar of files of these sizes: a header and whole blocks for each file, and two blocks at the
/// end.
pub(crate) fn packed_bytes(files: impl Iterator<Item = usize>) -> usize {
    const BLOCK: usize = 512;
    files.map(|bytes| BLOCK + bytes.next_multiple_of(BLOCK)).sum::<usize>() + 2 * BLOCK
}

/// Reads an archive and calls `read` for each file until it returns an error. Memory does not grow with the archive.
pub(crate) fn entries<'a, E: From<TarProblem>>(
    bytes: &'a [u8],
    mut read: impl FnMut(Entry<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut tar = tar::Archive::new(bytes);
    // Raw entries, because the reader would buffer the names and sizes of format extensions.
    for entry in tar.entries().map_err(|_| TarProblem::NotATar)?.raw(true) {
        let entry = entry.map_err(|_| TarProblem::NotATar)?;
        let name = entry.path_bytes().into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(TarProblem::NotAFile { name }.into());
        }
        let content = || {
            let start = usize::try_from(entry.raw_file_position()).ok()?;
            bytes.get(start..start.checked_add(usize::try_from(entry.size()).ok()?)?)
        };
        read(Entry { name, content: content().ok_or(TarProblem::NotATar)? })?;
    }
    Ok(())
}
