//! The bundle as a resolver sees it: a read-only handle that answers by name and keeps a record.
//!
//! The bundle is converted once, when it comes in, so that a look-up copies nothing on the host's
//! side and costs what is read, not what the bundle holds. The record is the exact read set.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use bundles::Bundle;

use crate::bindings::yoi::resolver::bundle::{Kind, Profile};
use crate::convert;

/// A bundle, ready to be read by resolvers. Cheap to clone.
#[derive(Clone)]
pub struct BundleView(Arc<View>);

struct View {
    bundle: Bundle,
    /// A profile is converted when it is first asked for: a resolution reads one chain of many.
    profiles: HashMap<Box<str>, OnceLock<Handed>>,
}

/// A profile in the contract's types, and about how many bytes a guest is handed with it.
#[derive(Clone)]
pub(crate) struct Handed {
    pub(crate) profile: Arc<Profile>,
    pub(crate) bytes: u64,
}

impl BundleView {
    /// Makes a bundle readable.
    pub fn new(bundle: Bundle) -> Self {
        let profiles = bundle.manifest().profiles.keys().map(|name| (name.as_str().into(), OnceLock::new())).collect();
        Self(Arc::new(View { bundle, profiles }))
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.0.bundle
    }

    pub(crate) fn profile(&self, name: &str) -> Option<Handed> {
        let slot = self.0.profiles.get(name)?;
        let profile = self.0.bundle.manifest().profiles.get(name)?;
        let hand = || {
            let profile = Arc::new(convert::profile(profile));
            Handed { bytes: convert::bytes(&profile), profile }
        };
        Some(slot.get_or_init(hand).clone())
    }

    pub(crate) fn declares(&self, kind: Kind, name: &str) -> bool {
        let manifest = self.0.bundle.manifest();
        match kind {
            Kind::Prompt => manifest.prompts.contains_key(name),
            Kind::Tool => manifest.tools.contains_key(name),
            Kind::Plugin => manifest.plugins.contains_key(name),
            Kind::Workflow => manifest.workflows.contains_key(name),
            Kind::Model => manifest.models.contains_key(name),
        }
    }
}

impl std::fmt::Debug for BundleView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BundleView").field(&self.0.bundle).finish()
    }
}

/// One thing that a resolver asked the bundle for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// `profile`, or a kind of declaration: `prompt`, `tool`, `plugin`, `workflow`, `model`.
    pub kind: &'static str,
    /// The name that was asked for. Where the bundle does not have it, it is the guest's own word, which
    /// may be made of facts: it stays inside.
    pub name: String,
    /// Whether the bundle has it.
    pub found: bool,
}

/// What the generated contract calls the handle. It stands for the one bundle of its store.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Handle;

/// The read set while it grows.
#[derive(Debug, Default)]
pub(crate) struct Record {
    reads: BTreeSet<Read>,
    pub(crate) lookups: u64,
    pub(crate) handed_bytes: u64,
}

impl Record {
    pub(crate) fn add(&mut self, kind: &'static str, name: &str, found: bool) {
        self.reads.insert(Read { kind, name: name.to_owned(), found });
    }

    pub(crate) fn into_reads(self) -> Vec<Read> {
        self.reads.into_iter().collect()
    }
}

pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Prompt => "prompt",
        Kind::Tool => "tool",
        Kind::Plugin => "plugin",
        Kind::Workflow => "workflow",
        Kind::Model => "model",
    }
}
