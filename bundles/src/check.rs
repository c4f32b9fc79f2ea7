//! Rules for manifests: names are declared, inheritance has one order, and sizes are within limits.
//!
//! The builder and every Runtime that receives a bundle run this code. All violations are reported at once, by JSON
//! pointer. The builder adds the places in the authoring folder.

pub(crate) mod advice;
mod extent;
pub(crate) mod plugin;
mod references;

use std::collections::{BTreeSet, HashMap};

use error_code::Code;

pub(crate) use self::extent::keys;
use self::extent::settings_bytes;
use crate::author::{MAX_DIAGNOSTICS, nearest};
use crate::limits::BundleLimits;
use crate::manifest::{Manifest, PLUGIN_SURFACES};
use crate::names::{ProfileName, Surface, shown};
use crate::pointer::Pointer;

/// A violation of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Stable error code.
    pub code: Code,
    /// Place in the manifest.
    pub pointer: Pointer,
    /// The problem, as a message.
    pub message: String,
    /// Recommended action.
    pub help: String,
    /// Pointer of the missing declaration, if the violation is a dangling name.
    pub wanted: Option<Pointer>,
    /// `true` if stored bundles may be older than the rule ([`Admission`](crate::Admission)).
    pub newer: bool,
}

impl Violation {
    fn new(code: Code, pointer: Pointer, message: String, help: impl Into<String>) -> Self {
        Self { code, pointer, message, help: help.into(), wanted: None, newer: false }
    }
}

/// Returns all violations, in the order of the manifest.
pub(crate) fn check(manifest: &Manifest, limits: &BundleLimits) -> Vec<Violation> {
    let settings = manifest.profiles.iter().map(|(name, profile)| (name, settings_bytes(profile))).collect();
    let mut checker = Checker { manifest, limits, settings, found: keys(manifest, limits), compared: 0 };
    checker.texts();
    checker.counts();
    checker.blobs();
    for (name, profile) in &manifest.profiles {
        checker.profile(name, profile);
    }
    checker.tools();
    checker.policy();
    checker.found
}

struct Checker<'a> {
    manifest: &'a Manifest,
    limits: &'a BundleLimits,
    /// Size of the settings that each profile's own layers write, in bytes.
    settings: HashMap<&'a ProfileName, usize>,
    found: Vec<Violation>,
    /// Number of names that were compared to find a suggestion.
    compared: usize,
}

/// Maximum number of names to compare in total. A comparison takes 1 to 10 µs, and a manifest can contain 100,000
/// dangling names.
const MAX_COMPARISONS: usize = 1 << 14;

impl Checker<'_> {
    fn report(&mut self, code: Code, pointer: Pointer, message: String, help: impl Into<String>) {
        self.found.push(Violation::new(code, pointer, message, help));
    }

    fn dangling<'n>(
        &mut self,
        pointer: Pointer,
        message: String,
        wanted: Pointer,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let left = MAX_COMPARISONS.saturating_sub(self.compared);
        let mut compared = 0;
        let help = suggestion(name, known.take(left).inspect(|_| compared += 1));
        self.compared += compared;
        self.found.push(Violation {
            code: Code::DanglingName,
            pointer,
            message,
            help,
            wanted: Some(wanted),
            newer: false,
        });
    }
}

/// Returns violations for unknown and duplicate surfaces. Surfaces determine what a plugin can be connected to.
fn surfaces(at: &Pointer, surfaces: &[Surface]) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let violation = |(index, surface): (usize, &'_ Surface)| {
        let at = at.index(index);
        match unknown_surface(surface.as_str()) {
            Some((message, help)) => Some(Violation::new(Code::UnknownSurface, at, message, help)),
            None if !seen.insert(surface.clone()) => {
                let message = format!("duplicate surface `{surface}`");
                Some(Violation::new(Code::DuplicateName, at, message, "remove one of the two"))
            }
            None => None,
        }
    };
    surfaces.iter().enumerate().filter_map(violation).take(MAX_DIAGNOSTICS).collect()
}

/// Returns the problem and the recommended action for an unknown plugin surface.
pub(crate) fn unknown_surface(text: &str) -> Option<(String, String)> {
    if PLUGIN_SURFACES.contains(&text) {
        return None;
    }
    let known = PLUGIN_SURFACES.map(|known| format!("`{known}`")).join(", ");
    let help = match nearest(&text.trim().to_lowercase(), PLUGIN_SURFACES.into_iter()) {
        Some(near) => format!("did you mean `{near}`? The surfaces are {known}"),
        None => format!("name one of {known}"),
    };
    Some((format!("`{}` is not a plugin surface", shown(text)), help))
}

fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it, or remove the name".to_owned(),
    }
}
