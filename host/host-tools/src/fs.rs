//! The host tools `fs.list`, `fs.read` and `fs.write`: text files inside the mounts that a worker is
//! granted, and nothing else of this host.
//!
//! A path is relative to a mount, has a grammar (`path`), and is gone name by name from the mount's own
//! descriptor (`folder`). Links are followed where they stay inside the mount; a listing shows them as
//! `other`. The bundle's `paths` hold for what a path says *and* for where it leads. Only regular files are
//! opened. All work runs on threads for blocking work, in bounded pieces, and ends when the caller goes away
//! (`work`). What is refused is told in the caller's own words; no place of the host is in it (`refusal`).
//!
//! What there is no remedy for: a hard link in the mount is a file of the mount, wherever else it has a name.

#[cfg(target_os = "linux")]
mod attributes;
mod folder;
mod glob;
mod list;
mod path;
mod read;
mod refusal;
mod work;
mod write;

use std::sync::Arc;

use bundles::InvalidName;
use bundles::canonical::{MAX_SAFE_INTEGER, from_value};
use refusal::Refusal;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::tool::HostTool;

/// Most bytes of text that are read at a time, and most characters that are written.
const MAX_TEXT: usize = 1 << 20;
/// Most bytes of a file that is read or replaced: all of it is digested.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// What is read or written between two looks at whether anybody still wants it.
const PIECE_BYTES: usize = 64 << 10;

/// The three tools: to be given to [`RuntimeBuilder::tool`](../../worker_runtime/struct.RuntimeBuilder.html#method.tool).
pub fn tools() -> Result<[Arc<dyn HostTool>; 3], InvalidName> {
    Ok([Arc::new(list::List::new()?), Arc::new(read::Read::new()?), Arc::new(write::Write::new()?)])
}

/// Reads the input of a tool, whose whole numbers are in ranges: name, least and most. The input fits the bundle's
/// schema; that the bundle has the schema of these tools, nobody has said.
fn input<T: DeserializeOwned>(mut input: Value, ranges: &[(&str, u64, u64)]) -> Result<T, Refusal> {
    for (name, least, most) in ranges {
        let Some(member) = input.get_mut(*name).filter(|member| !member.is_null()) else { continue };
        let number = member.as_u64().or_else(|| member.as_f64().and_then(integral));
        match number.filter(|number| (*least..=*most).contains(number)) {
            Some(number) => *member = number.into(),
            None => {
                let expected = format!("`{name}`: expected a whole number from {least} to {most}");
                return Err(Refusal::InvalidInput(expected));
            }
        }
    }
    from_value(input).map_err(|error| Refusal::InvalidInput(error.to_string()))
}

/// The integer that a number is: `2.0` is one in JSON Schema, and none to serde.
fn integral(number: f64) -> Option<u64> {
    let is_integer = number.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(&number);
    is_integer.then_some(number as u64)
}
