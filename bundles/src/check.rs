//! Whether a manifest is sound: every name leads somewhere, inheritance has one order, nothing is
//! larger than its bound.
//!
//! The builder and every Runtime that receives a bundle run this same code. It says everything that
//! is wrong at once, by JSON pointer; where the author wrote it is the builder's to add.

pub(crate) mod advice;
mod extent;
mod references;

use std::collections::{BTreeSet, HashMap};

pub(crate) use self::extent::keys;
use self::extent::settings_bytes;
use crate::author::nearest;
use crate::limits::BundleLimits;
use crate::manifest::{Manifest, PLUGIN_SURFACES};
use crate::names::{ProfileName, Surface, shown};
use crate::pointer::Pointer;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The stable machine word.
    pub code: &'static str,
    /// Where, in the manifest.
    pub pointer: Pointer,
    /// What, in a sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Where the name that leads nowhere would be declared, where it is the name of a declaration.
    pub wanted: Option<Pointer>,
    /// `true` if the rule is newer than bundles that may be stored ([`Admission`](crate::Admission)).
    pub newer: bool,
}

/// Everything that is wrong with `manifest`, in the order of the manifest.
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
    /// Bytes of settings that each profile's own layers write.
    settings: HashMap<&'a ProfileName, usize>,
    found: Vec<Violation>,
    /// Names that were compared to suggest one.
    compared: usize,
}

/// Most names to compare over all. Each costs a microsecond or ten, and a manifest can name what is
/// not there a hundred thousand times.
const MOST_COMPARED: usize = 1 << 14;

impl Checker<'_> {
    fn say(&mut self, code: &'static str, pointer: Pointer, message: String, help: impl Into<String>) {
        self.found.push(Violation { code, pointer, message, help: help.into(), wanted: None, newer: false });
    }

    /// A surface decides what a plugin may be wired to, so an unknown one must not wait for a host that knows it.
    fn surfaces(&mut self, at: &Pointer, surfaces: &[Surface]) {
        let mut seen = BTreeSet::new();
        for (index, surface) in surfaces.iter().enumerate() {
            let told = match unknown_surface(surface.as_str()) {
                Some((message, help)) => Some(("unknown_surface", message, help)),
                None if !seen.insert(surface) => {
                    let message = format!("surface `{surface}` stands twice");
                    Some(("duplicate_name", message, "keep one of the two".to_owned()))
                }
                None => None,
            };
            let Some((code, message, help)) = told else { continue };
            self.say(code, at.index(index), message, help);
            if let Some(violation) = self.found.last_mut() {
                violation.newer = true;
            }
        }
    }

    fn dangling<'n>(
        &mut self,
        pointer: Pointer,
        message: String,
        wanted: Pointer,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let left = MOST_COMPARED.saturating_sub(self.compared);
        let mut compared = 0;
        let help = suggestion(name, known.take(left).inspect(|_| compared += 1));
        self.compared += compared;
        self.found.push(Violation {
            code: "dangling_name",
            pointer,
            message,
            help,
            wanted: Some(wanted),
            newer: false,
        });
    }
}

/// Returns the problem with a text that is no plugin surface, and the remedy.
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
        None => "declare it, or take the name out".to_owned(),
    }
}
