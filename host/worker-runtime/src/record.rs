//! The resolution record: everything that is needed to see that a resolution came out as it did.

use bundles::canonical::to_canonical;
use host_policy::{Facts, Request};
use serde::Serialize;

use crate::digests::Digests;
use crate::resolutions::{Inputs, Resolved};

/// The `schema` of a record.
pub const RECORD_SCHEMA: &str = "yoi.resolution-record/1";

/// A record. Its canonical JSON is a blob; 64-bit numbers are decimal strings.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    schema: &'static str,
    digests: Digests,
    facts: &'a Facts,
    request: &'a Request,
    fuel: String,
    engine: &'static str,
}

/// What the fuel and the answer were computed on. Another engine version may count otherwise.
const ENGINE: &str = concat!("yoi ", env!("CARGO_PKG_VERSION"), ", wasmtime 48");

impl<'a> Record<'a> {
    /// The record of a resolution. `digests` may name the policy that was enforced.
    pub fn new(inputs: &'a Inputs, resolved: &Resolved, digests: Digests) -> Self {
        Self {
            schema: RECORD_SCHEMA,
            digests,
            facts: inputs.facts(),
            request: inputs.request(),
            fuel: resolved.cost().fuel.to_string(),
            engine: ENGINE,
        }
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        to_canonical(self).unwrap_or_default()
    }
}
