//! The host tools `fs.list`, `fs.read` and `fs.write`. They access text files inside the mounts that a worker is
//! granted, and nothing else on the host.
//!
//! A path is relative to a mount and is checked as text (`path`). It is then resolved one name at a time from the
//! descriptor of the mount (`mount`). Links are followed if they stay inside the mount, and a listing shows them as
//! `other`. The `paths` of the bundle apply to the path as written *and* to the path without links. Only regular files
//! are opened. All work runs on blocking threads in limited steps, and ends when the caller's future is dropped
//! (`cancellation`). Errors name the caller's path and no path of the host (`error`).
//!
//! A hard link cannot be recognised: it is a file of the mount, even if the file has another name outside.

#[cfg(target_os = "linux")]
mod attributes;
mod cancellation;
mod error;
mod glob;
mod list;
mod mount;
mod path;
mod read;
mod write;

use std::sync::Arc;

use bundles::InvalidName;
use bundles::canonical::{MAX_SAFE_INTEGER, from_value};
use error::FsError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::tool::HostTool;

/// Maximum number of bytes of text in an output of `fs.read`, and of characters in an input of `fs.write`.
const MAX_TEXT: usize = 1 << 20;
/// Maximum size in bytes of a file that is read or replaced. All of it is hashed.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Number of bytes that are read or written between two checks for cancellation.
const CHUNK_BYTES: usize = 64 << 10;

/// Returns the three tools, for [`RuntimeBuilder::tool`](../../worker_runtime/struct.RuntimeBuilder.html#method.tool).
pub fn tools() -> Result<[Arc<dyn HostTool>; 3], InvalidName> {
    Ok([Arc::new(list::List::new()?), Arc::new(read::Read::new()?), Arc::new(write::Write::new()?)])
}

/// Parses the input of a tool. `ranges` are the names of integers with their minimum and maximum. The input is valid
/// against the schema in the bundle, which may differ from the schema of these tools.
fn input<T: DeserializeOwned>(mut input: Value, ranges: &[(&str, u64, u64)]) -> Result<T, FsError> {
    for (name, min, max) in ranges {
        let Some(member) = input.get_mut(*name).filter(|member| !member.is_null()) else { continue };
        let number = member.as_u64().or_else(|| member.as_f64().and_then(integral));
        match number.filter(|number| (*min..=*max).contains(number)) {
            Some(number) => *member = number.into(),
            None => {
                let expected = format!("`{name}`: expected a whole number from {min} to {max}");
                return Err(FsError::InvalidInput(expected));
            }
        }
    }
    from_value(input).map_err(|error| FsError::InvalidInput(error.to_string()))
}

/// Converts a number with an integral value, such as `2.0`, which is an integer in JSON Schema but not for `serde`.
fn integral(number: f64) -> Option<u64> {
    let is_integer = number.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(&number);
    is_integer.then_some(number as u64)
}
