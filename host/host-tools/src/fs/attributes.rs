//! Copies the extended attributes of a replaced file to the new one, including its POSIX access control list.
//!
//! Replacing a file must not give access to more users. The access control list and the other `system.*` and `user.*`
//! attributes are copied, and a list that the new file inherited from its folder is removed. If a copy fails, the write
//! is refused. `security.capability` would give the new content the capabilities of the old program, so `security.*`
//! and `trusted.*` are not copied. The kernel labels the new file by its policy (SELinux).

use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// Attribute that holds the POSIX access control list.
const ACCESS_LIST: &str = "system.posix_acl_access";
/// Kernel limit in bytes on the names of all attributes of a file, and on one value (`XATTR_LIST_MAX`,
/// `XATTR_SIZE_MAX`).
const KERNEL_BYTES: usize = 64 << 10;
/// Limit in bytes on the values of all copied attributes. Only one value at a time is in memory.
const MAX_TOTAL_BYTES: usize = 1 << 20;

/// Error of copying attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttributeError {
    /// The new file cannot have an attribute of the old one.
    NotKept,
    /// The file system failed.
    Io(Errno),
}

impl From<Errno> for AttributeError {
    fn from(errno: Errno) -> Self {
        match errno {
            // No permission, attribute not supported, or value larger than the kernel or file system allows.
            Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::INVAL | Errno::RANGE | Errno::TOOBIG => Self::NotKept,
            errno => Self::Io(errno),
        }
    }
}

/// Returns the names of the attributes to copy.
fn names(file: impl AsFd) -> Result<Vec<String>, AttributeError> {
    let mut list = Vec::with_capacity(KERNEL_BYTES);
    match flistxattr(file, rustix::buffer::spare_capacity(&mut list)) {
        // The file system has no attributes.
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut names = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.") || name.starts_with(b"system."))
    {
        // A name that is not UTF-8 is valid but unusual.
        names.push(String::from_utf8(name.to_vec()).map_err(|_| AttributeError::NotKept)?);
    }
    Ok(names)
}

/// `true` if the file has attributes that grant access beyond its mode.
pub(super) fn has_access_list(file: impl AsFd) -> Result<bool, AttributeError> {
    Ok(names(file)?.iter().any(|name| name.starts_with("system.")))
}

/// Copies the attributes of `old` to `new`, and removes the access control list of `new` if `old` has none. The group
/// bits of the mode of `new` must be unset, so that an inherited list grants nothing until it is removed.
pub(super) fn copy(old: impl AsFd, new: impl AsFd) -> Result<(), AttributeError> {
    let names = names(&old)?;
    if !names.iter().any(|name| name == ACCESS_LIST) {
        match fremovexattr(&new, ACCESS_LIST) {
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => {}
            removed => removed?,
        }
    }
    let mut total = 0_usize;
    for name in names {
        let mut value = Vec::with_capacity(KERNEL_BYTES);
        fgetxattr(&old, &name, rustix::buffer::spare_capacity(&mut value))?;
        total += value.len();
        if total > MAX_TOTAL_BYTES {
            return Err(AttributeError::NotKept);
        }
        fsetxattr(&new, &name, &value, XattrFlags::empty())?;
    }
    Ok(())
}
