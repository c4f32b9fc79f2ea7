//! Names of the tools that built a component, from its `producers` sections. The names are unverified and only for
//! display.

use super::names;
use serde::Serialize;
use wasmparser::{BinaryReader, ProducersSectionReader};

/// Limit on the stored entries of each kind.
const MAX_STORED: usize = 32;
/// Limit on the entries that are read. Each one is compared with all stored entries to drop duplicates.
const MAX_READ: u32 = 4096;

/// The tools that a component and its modules name, each as `name version`, without duplicates, in order of
/// appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Producers {
    /// Programming languages, such as `Rust`.
    pub languages: Vec<String>,
    /// Compilers and linkers.
    pub processed_by: Vec<String>,
    /// Software development kits.
    pub sdks: Vec<String>,
    #[serde(skip)]
    read: u32,
}

impl Producers {
    /// Adds the entries of one `producers` section. A malformed section is not an error, because the names are only for
    /// display; the entries before the fault are added.
    pub(super) fn add(&mut self, section: BinaryReader<'_>) {
        let Ok(fields) = ProducersSectionReader::new(section) else {
            return;
        };
        for field in fields {
            let Ok(field) = field else { return };
            let stored = match field.name {
                "language" => &mut self.languages,
                "processed-by" => &mut self.processed_by,
                _ => &mut self.sdks,
            };
            for value in field.values {
                let Ok(value) = value else { return };
                self.read = self.read.saturating_add(1);
                if stored.len() >= MAX_STORED || self.read > MAX_READ {
                    break;
                }
                let text = names::shown(&names::joined(value.name, ' ', value.version));
                if !stored.contains(&text) {
                    stored.push(text);
                }
            }
        }
    }
}
