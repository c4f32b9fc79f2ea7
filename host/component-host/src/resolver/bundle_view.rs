//! The resolver's view of a bundle: a read-only handle with look-ups by name, which records every look-up.
//!
//! Each profile is converted once for all calls, so a look-up copies nothing on the host's side, and its
//! cost does not depend on the size of the bundle. The record is the exact read set of a call; a name that was found
//! is shared with the bundle.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use bundles::Bundle;

use super::convert;
use crate::bindings::resolver::yoi::resolver::bundle::{Kind, Profile};

/// A bundle that resolvers can read. Cheap to clone.
#[derive(Clone)]
pub struct BundleView(Arc<View>);

struct View {
    bundle: Bundle,
    /// Profiles, each converted at its first look-up. A resolution usually reads only a few of them.
    profiles: HashMap<Arc<str>, OnceLock<ConvertedProfile>>,
}

/// A profile in the contract's type.
#[derive(Clone)]
pub(crate) struct ConvertedProfile {
    pub(crate) profile: Arc<Profile>,
    /// Estimated bytes of the profile in a guest.
    pub(crate) bytes: u64,
}

impl BundleView {
    /// Creates a view of a bundle.
    pub fn new(bundle: Bundle) -> Self {
        let profiles = bundle.manifest().profiles.keys().map(|name| (name.into(), OnceLock::new())).collect();
        Self(Arc::new(View { bundle, profiles }))
    }

    /// Returns the bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.0.bundle
    }

    /// Returns a profile with its name.
    pub(crate) fn profile(&self, name: &str) -> Option<(Arc<str>, &ConvertedProfile)> {
        let (name, slot) = self.0.profiles.get_key_value(name)?;
        let profile = self.0.bundle.manifest().profiles.get(&**name)?;
        let convert = || {
            let profile = Arc::new(convert::profile(profile));
            ConvertedProfile { bytes: convert::profile_bytes(&profile), profile }
        };
        Some((name.clone(), slot.get_or_init(convert)))
    }

    /// Returns a name that the bundle declares.
    pub(crate) fn declared(&self, kind: Kind, name: &str) -> Option<Arc<str>> {
        let manifest = self.0.bundle.manifest();
        match kind {
            Kind::Prompt => key(&manifest.prompts, name),
            Kind::Tool => key(&manifest.tools, name),
            Kind::Plugin => key(&manifest.plugins, name),
            Kind::Workflow => key(&manifest.workflows, name),
            Kind::Model => key(&manifest.models, name),
        }
    }
}

fn key<K, V>(map: &BTreeMap<K, V>, name: &str) -> Option<Arc<str>>
where
    K: Borrow<str> + Ord,
    for<'a> &'a K: Into<Arc<str>>,
{
    map.get_key_value(name).map(|(name, _)| name.into())
}

impl std::fmt::Debug for BundleView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BundleView").field(&self.0.bundle).finish()
    }
}

/// One look-up of a resolver in its bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundleRead {
    /// `profile`, or a kind of declaration: `prompt`, `tool`, `plugin`, `workflow`, `model`.
    pub kind: &'static str,
    /// The requested name. If it was not found, the guest chose it and may have encoded facts in it, so it
    /// must not leave the process.
    pub name: Arc<str>,
    /// `true` if the bundle has the name.
    pub found: bool,
}

/// The host type behind the contract's resource `handle`. It stands for the single bundle of a store.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Handle;

/// The look-ups of a running call, with the totals that limits bound.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    reads: Vec<BundleRead>,
    /// Number of look-up calls and of names in them.
    pub(crate) lookups: u64,
    /// Bytes of all requested names, and estimated bytes of all returned profiles.
    pub(crate) bytes: u64,
}

impl ReadSet {
    pub(crate) fn add(&mut self, kind: &'static str, name: Arc<str>, found: bool) {
        self.reads.push(BundleRead { kind, name, found });
    }

    /// Returns the look-ups, sorted and without repetition.
    pub(crate) fn into_reads(mut self) -> Vec<BundleRead> {
        self.reads.sort_unstable();
        self.reads.dedup();
        self.reads
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
