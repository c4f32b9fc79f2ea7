//! What a component says about the tools that made it. Anyone can write anything there: it is shown, never believed.

use super::names;
use serde::Serialize;
use wasmparser::{BinaryReader, ProducersSectionReader};

/// Most entries kept of each kind.
const KEPT: usize = 32;
/// Most entries read: repetitions are dropped, and each costs a comparison with all that are kept.
const READ: u32 = 4096;

/// The tools that a component and its modules name, each as `name version`, without repetition, in the order found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Producers {
    /// Languages, as in `Rust`.
    pub languages: Vec<String>,
    /// Compilers and linkers that worked on it.
    pub processed_by: Vec<String>,
    /// Kits that made it.
    pub sdks: Vec<String>,
    #[serde(skip)]
    read: u32,
}

impl Producers {
    /// Adds what one `producers` section names. A section that cannot be read adds what was read before its fault:
    /// it decides nothing.
    pub(super) fn add(&mut self, section: BinaryReader<'_>) {
        let Ok(fields) = ProducersSectionReader::new(section) else {
            return;
        };
        for field in fields {
            let Ok(field) = field else { return };
            let kept = match field.name {
                "language" => &mut self.languages,
                "processed-by" => &mut self.processed_by,
                _ => &mut self.sdks,
            };
            for value in field.values {
                let Ok(value) = value else { return };
                self.read = self.read.saturating_add(1);
                if kept.len() >= KEPT || self.read > READ {
                    break;
                }
                let text = names::shown(&names::joined(value.name, ' ', value.version));
                if !kept.contains(&text) {
                    kept.push(text);
                }
            }
        }
    }
}
