//! Resolution records: everything that is needed to repeat a resolution and to compare the result, and to restore a worker
//! without a resolver.
//!
//! Version 2 adds the read set and the peak memory, and failed resolutions. Records of version 1 are still read, replayed
//! and restored.

use std::borrow::Cow;
use std::sync::Arc;

use bundles::canonical::{Canonical, JsonBounds, JsonError, read_canonical, to_canonical};
use bundles::{BundleLimits, Digest, Manifest};
use component_host::{BundleRead, BundleView, Cost, Resolver};
use host_policy::{Facts, InvalidAnswer, Proposal, Request, Resolution, verify};
use serde::{Deserialize, Serialize};

use crate::digests::Digests;
use crate::error::ResolveError;
use crate::report::with_policy;
use crate::resolutions::{ComputedResolution, FailedResolution, Inputs, Resolutions};

/// Value of `schema` in new records.
pub const RECORD_SCHEMA: &str = "yoi.resolution-record/2";

/// Limits of a record: an answer of 8 MiB, and the rest of the record.
pub const RECORD_BOUNDS: JsonBounds = JsonBounds { bytes: ("record_bytes", 16 << 20), depth: ("record_depth", 8) };

/// A resolution record. Its canonical JSON is a blob; 64-bit numbers are decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Record {
    schema: Schema,
    digests: Digests,
    facts: Facts,
    request: Request,
    #[serde(flatten)]
    outcome: RecordedOutcome,
    fuel: String,
    engine: String,
    /// Absent in version 1.
    #[serde(flatten)]
    trace: Option<Trace>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum RecordedOutcome {
    Proposal(Proposal),
    Failure(RecordedFailure),
}

/// Error of a failed resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFailure {
    /// Error code.
    pub code: String,
    /// Description.
    pub message: String,
}

impl From<&ResolveError> for RecordedFailure {
    fn from(error: &ResolveError) -> Self {
        Self { code: error.code().to_string(), message: error.to_string() }
    }
}

/// Observations of a run that version 1 does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trace {
    /// Peak size of the guest's memories in bytes.
    memory_bytes: String,
    reads: ReadSet,
}

/// Names that a resolver looked up in the bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadSet {
    /// Names that the bundle has, sorted.
    pub found: Vec<FoundName>,
    /// Digests of kind and name of those that it does not have, sorted. The guest chose such a name and may have encoded
    /// facts in it, so the name itself is not recorded.
    pub missing: Vec<Digest>,
}

/// A name that the bundle has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundName {
    /// `profile`, or a kind of declaration: `prompt`, `tool`, `plugin`, `workflow`, `model`.
    pub kind: Cow<'static, str>,
    /// The name.
    pub name: Arc<str>,
}

impl ReadSet {
    /// Returns the number of names.
    pub fn count(&self) -> usize {
        self.found.len() + self.missing.len()
    }

    pub(crate) fn of(reads: Vec<BundleRead>) -> Self {
        let mut set = Self::default();
        for BundleRead { kind, name, found } in reads {
            match found {
                true => set.found.push(FoundName { kind: kind.into(), name }),
                false => set.missing.push(missing_name(kind, &name)),
            }
        }
        set.found.sort_unstable();
        set.missing.sort_unstable();
        set
    }
}

/// Returns the digest by which a read set holds a name that the bundle does not have.
pub(crate) fn missing_name(kind: &str, name: &str) -> Digest {
    Digest::of(to_canonical(&[kind, name]).unwrap_or_default())
}

impl Trace {
    fn of(cost: Cost, reads: &ReadSet) -> Self {
        Self { memory_bytes: cost.memory_bytes.to_string(), reads: reads.clone() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "yoi.resolution-record/1")]
    One,
    #[serde(rename = "yoi.resolution-record/2")]
    Two,
}

/// All fields that a record of some version has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    schema: Schema,
    digests: Digests,
    facts: Facts,
    request: Request,
    proposal: Option<Proposal>,
    failure: Option<RecordedFailure>,
    fuel: String,
    engine: String,
    memory_bytes: Option<String>,
    reads: Option<ReadSet>,
}

impl TryFrom<Fields> for Record {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { schema, digests, facts, request, proposal, failure, fuel, engine, memory_bytes, reads } = fields;
        let outcome = match (proposal, failure, digests.resolution, schema) {
            (Some(proposal), None, Some(_), _) => RecordedOutcome::Proposal(proposal),
            (None, Some(failure), None, Schema::Two) => RecordedOutcome::Failure(failure),
            _ => return Err("the record has neither a proposal with its resolution nor a failure, or it has both"),
        };
        let trace = match (schema, memory_bytes, reads) {
            (Schema::One, None, None) => None,
            (Schema::Two, Some(memory_bytes), Some(reads)) => Some(Trace { memory_bytes, reads }),
            _ => return Err("the record has fields of another version, or lacks fields of its own"),
        };
        Ok(Self { schema, digests, facts, request, outcome, fuel, engine, trace })
    }
}

/// Program that computed fuel and answer. Another version of the engine may count fuel differently.
const ENGINE: &str = concat!("yoi ", env!("CARGO_PKG_VERSION"), ", wasmtime 48");

/// Error returned if a record cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The recorded answer is invalid for this bundle.
    #[error(transparent)]
    Misbehaved(#[from] InvalidAnswer),
    /// The recorded answer gives another resolution than the record names.
    #[error("the recorded answer gives another resolution than the record names")]
    OtherResolution,
    /// The recorded resolution failed.
    #[error("the recorded resolution failed")]
    Failed,
}

impl Record {
    /// Creates the record of a resolution. `digests` may name the policy that was enforced.
    pub fn new(inputs: &Inputs, resolved: &ComputedResolution, digests: Digests) -> Self {
        Self {
            schema: Schema::Two,
            digests,
            facts: inputs.facts().clone(),
            request: inputs.request().clone(),
            outcome: RecordedOutcome::Proposal(resolved.proposal()),
            fuel: resolved.cost().fuel.to_string(),
            engine: ENGINE.to_owned(),
            trace: Some(Trace::of(resolved.cost(), resolved.reads())),
        }
    }

    /// Creates the record of a failed resolution.
    pub fn of_failure(inputs: &Inputs, failed: &FailedResolution) -> Self {
        Self {
            schema: Schema::Two,
            digests: failed.digests,
            facts: inputs.facts().clone(),
            request: inputs.request().clone(),
            outcome: RecordedOutcome::Failure((&failed.error).into()),
            fuel: failed.cost.fuel.to_string(),
            engine: ENGINE.to_owned(),
            trace: Some(Trace::of(failed.cost, &failed.reads)),
        }
    }

    /// Returns the bytes of the record that [`Record::new`] creates, composed of parts that are canonical already.
    pub fn write(inputs: &Inputs, resolved: &ComputedResolution, digests: &Digests) -> Vec<u8> {
        let Cost { fuel, memory_bytes, .. } = resolved.cost();
        let text = |text: &str| Canonical::of(&text).unwrap_or_default();
        let record = Canonical::object(&[
            ("schema", &Canonical::of(&Schema::Two).unwrap_or_default()),
            ("digests", &Canonical::of(digests).unwrap_or_default()),
            ("facts", inputs.canonical_facts()),
            ("request", inputs.canonical_request()),
            ("proposal", resolved.canonical_proposal()),
            ("fuel", &text(&fuel.to_string())),
            ("engine", &text(ENGINE)),
            ("memory_bytes", &text(&memory_bytes.to_string())),
            ("reads", &Canonical::of(resolved.reads()).unwrap_or_default()),
        ]);
        record.into_bytes()
    }

    /// Parses a record, which must be canonical JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        read_canonical(bytes, RECORD_BOUNDS)
    }

    /// Returns the record as canonical JSON.
    pub fn to_json(&self) -> Vec<u8> {
        to_canonical(self).unwrap_or_default()
    }

    /// Returns the digests of all inputs and of the resolution.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Returns the facts that the resolver received.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the error of a failed resolution.
    pub fn failure(&self) -> Option<&RecordedFailure> {
        match &self.outcome {
            RecordedOutcome::Proposal(_) => None,
            RecordedOutcome::Failure(failure) => Some(failure),
        }
    }

    /// Returns the answer of the resolver, unless the resolution failed.
    pub(crate) fn proposal(&self) -> Option<&Proposal> {
        match &self.outcome {
            RecordedOutcome::Proposal(proposal) => Some(proposal),
            RecordedOutcome::Failure(_) => None,
        }
    }

    /// Returns the consumed fuel, as a decimal number.
    pub fn fuel(&self) -> &str {
        &self.fuel
    }

    /// Returns the program and engine that computed the resolution.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// `true` if this program computed the record. Another version of the engine may count fuel differently.
    pub fn is_of_this_engine(&self) -> bool {
        self.engine == ENGINE
    }

    /// Returns the peak size of the guest's memories in bytes, as a decimal number. `None` in version 1.
    pub fn memory_bytes(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.memory_bytes.as_str())
    }

    /// Returns the names that the resolver looked up. `None` in version 1.
    pub fn reads(&self) -> Option<&ReadSet> {
        self.trace.as_ref().map(|trace| &trace.reads)
    }

    /// Repeats the resolution with this resolver and bundle, and returns the new record. With the same resolver, bundle and
    /// engine it has the same bytes: a resolution is repeated in the version of this record, and a failure always in
    /// version 2.
    ///
    /// # Errors
    ///
    /// The error of a failure that does not depend on the inputs alone, such as an exceeded deadline.
    pub async fn replay(&self, resolver: &Resolver, view: &BundleView) -> Result<Self, ResolveError> {
        let inputs = Inputs::new(self.facts.clone(), self.request.clone());
        match Resolutions::with_capacity(0).run(resolver, view, &inputs).await {
            Ok(resolved) => {
                let record = Self::new(&inputs, &resolved, with_policy(*resolved.digests(), self.digests.policy));
                Ok(match self.schema {
                    Schema::One => Self { schema: Schema::One, trace: None, ..record },
                    Schema::Two => record,
                })
            }
            Err(failed) if failed.error.is_deterministic() => Ok(Self::of_failure(&inputs, &failed)),
            Err(failed) => Err(failed.error),
        }
    }

    /// Returns the resolution from the recorded answer, without a resolver. The answer is verified as if it came from one.
    pub fn restore(&self, manifest: &Manifest, limits: &BundleLimits) -> Result<Resolution, RestoreError> {
        let RecordedOutcome::Proposal(proposal) = &self.outcome else { return Err(RestoreError::Failed) };
        let resolution = verify(manifest, &self.facts, &self.request, limits, proposal.clone())?;
        if Some(resolution.digest()) == self.digests.resolution {
            Ok(resolution)
        } else {
            Err(RestoreError::OtherResolution)
        }
    }
}

#[cfg(test)]
mod tests {
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
            resolution: Some(digest),
        };
        let resolved = ComputedResolution::made_up(&proposal, digests);
        let record = Record::new(&inputs, &resolved, digests);
        assert_eq!(record.outcome, RecordedOutcome::Proposal(proposal));
        let written = Record::write(&inputs, &resolved, &digests);
        assert_eq!(written, record.to_json());
        assert_eq!(Record::from_json(&written).as_ref(), Ok(&record));
        let reads = record.reads().expect("version 2");
        assert_eq!(reads.found, [FoundName { kind: "profile".into(), name: "coder".into() }]);
        assert_eq!(reads.missing, [Digest::of(r#"["prompt","chosen by the guest"]"#)]);
        assert!(!String::from_utf8_lossy(&written).contains("chosen by the guest"));

        // Version 1 has neither field, and a record with the fields of another version is refused.
        let first = Record { schema: Schema::One, trace: None, ..record.clone() };
        assert_eq!(Record::from_json(&first.to_json()).as_ref(), Ok(&first));
        assert_eq!((first.reads(), first.memory_bytes()), (None, None));
        for mixed in [Record { schema: Schema::One, ..record.clone() }, Record { trace: None, ..record }] {
            assert!(Record::from_json(&mixed.to_json()).is_err());
        }
    }
}
