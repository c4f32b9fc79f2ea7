//! The resolution record: everything that is needed to see that a resolution came out as it did, and to
//! make a worker of it again without asking a resolver.

use bundles::canonical::{Canonical, JsonBounds, JsonError, read_canonical, to_canonical};
use bundles::{BundleLimits, Manifest};
use component_host::{BundleView, Resolver};
use host_policy::{Facts, InvalidAnswer, Proposal, Request, Resolution, verify};
use serde::{Deserialize, Serialize};

use crate::digests::Digests;
use crate::error::ResolveError;
use crate::report::with_policy;
use crate::resolutions::{Inputs, Resolutions, Resolved};

/// The `schema` of a record.
pub const RECORD_SCHEMA: &str = "yoi.resolution-record/1";

/// Bounds on a record: a resolver's answer of 8 MiB, and what stands around it.
pub const RECORD_BOUNDS: JsonBounds = JsonBounds { bytes: ("record_bytes", 16 << 20), depth: ("record_depth", 8) };

/// A record. Its canonical JSON is a blob; 64-bit numbers are decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: Schema,
    digests: Digests,
    facts: Facts,
    request: Request,
    proposal: Proposal,
    fuel: String,
    engine: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "yoi.resolution-record/1")]
    One,
}

/// What the fuel and the answer were computed on. Another engine version may count otherwise.
const ENGINE: &str = concat!("yoi ", env!("CARGO_PKG_VERSION"), ", wasmtime 48");

/// Why a record makes no resolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The answer does not hold against this bundle.
    #[error(transparent)]
    Misbehaved(#[from] InvalidAnswer),
    /// It holds, and is another resolution than the record says.
    #[error("the record's answer is another resolution than it says")]
    OtherResolution,
}

impl Record {
    /// The record of a resolution. `digests` may name the policy that was enforced.
    pub fn new(inputs: &Inputs, resolved: &Resolved, digests: Digests) -> Self {
        Self {
            schema: Schema::One,
            digests,
            facts: inputs.facts().clone(),
            request: inputs.request().clone(),
            proposal: resolved.proposal(),
            fuel: resolved.cost().fuel.to_string(),
            engine: ENGINE.to_owned(),
        }
    }

    /// The bytes of the record of a resolution: those of [`Record::new`], put together from what is written
    /// already.
    pub fn write(inputs: &Inputs, resolved: &Resolved, digests: &Digests) -> Vec<u8> {
        let text = |text: &str| Canonical::of(&text).unwrap_or_default();
        let record = Canonical::object(&[
            ("schema", &Canonical::of(&Schema::One).unwrap_or_default()),
            ("digests", &Canonical::of(digests).unwrap_or_default()),
            ("facts", inputs.canonical_facts()),
            ("request", inputs.canonical_request()),
            ("proposal", resolved.canonical_proposal()),
            ("fuel", &text(&resolved.cost().fuel.to_string())),
            ("engine", &text(ENGINE)),
        ]);
        record.into_bytes()
    }

    /// Reads a record, which must be canonical.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        read_canonical(bytes, RECORD_BOUNDS)
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        to_canonical(self).unwrap_or_default()
    }

    /// The digests of all inputs and of the resolution.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// The facts that the resolver was given.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What it was asked.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Fuel that it used, as it is written.
    pub fn fuel(&self) -> &str {
        &self.fuel
    }

    /// What it ran on.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// The record of the same question, asked again: with the same resolver and the same engine it has the
    /// same bytes. The bundle and the resolver are those that are given; which ones they are shows in its
    /// digests.
    pub async fn replay(&self, resolver: &Resolver, view: &BundleView) -> Result<Self, ResolveError> {
        let inputs = Inputs::new(self.facts.clone(), self.request.clone());
        let resolved = Resolutions::remembering(0).resolve(resolver, view, &inputs).await?;
        Ok(Self::new(&inputs, &resolved, with_policy(*resolved.digests(), self.digests.policy)))
    }

    /// The resolution again, from the recorded answer: no resolver is asked, and the answer is believed
    /// as little as when it came.
    pub fn restore(&self, manifest: &Manifest, limits: &BundleLimits) -> Result<Resolution, RestoreError> {
        let resolution = verify(manifest, &self.facts, &self.request, limits, self.proposal.clone())?;
        if resolution.digest() == self.digests.resolution { Ok(resolution) } else { Err(RestoreError::OtherResolution) }
    }
}

#[cfg(test)]
mod tests {
    use bundles::Digest;
    use host_policy::ProposedOrigin;

    use super::*;

    #[test]
    fn a_record_is_written_as_it_writes_itself() {
        let facts = br#"{"os":"linux","arch":"x86_64","capabilities":["shell","git"],"models":["m"]}"#;
        let facts = Facts::from_json(facts).expect("facts");
        let request = Request::new("coder".parse().expect("a name"), ["git".parse().expect("a capability")]);
        let inputs = Inputs::new(facts, request);
        let proposal = Proposal {
            lineage: vec!["coder".to_owned(), "b\"é\n".to_owned()],
            language: Some("de".to_owned()),
            wishes: vec![("shell".to_owned(), bundles::Need::Required)],
            settings: r#"{"a":1.5}"#.to_owned(),
            origins: vec![ProposedOrigin { field: "/lineage/0".to_owned(), layer: 3, profile: "coder".to_owned() }],
            ..Proposal::default()
        };
        let digest = Digest::of("");
        let digests = Digests {
            bundle: digest,
            resolver: digest,
            facts: digest,
            policy: Some(digest),
            request: digest,
            resolution: digest,
        };
        let resolved = Resolved::made_up(&proposal, digests);
        let record = Record::new(&inputs, &resolved, digests);
        assert_eq!(record.proposal, proposal);
        let written = Record::write(&inputs, &resolved, &digests);
        assert_eq!(written, record.to_json());
        assert_eq!(Record::from_json(&written), Ok(record));
    }
}
