//! What a resolution may speak of, by the host's own reckoning: the layers that the selected
//! profile reaches and whose conditions hold.
//!
//! Order and precedence are not decided here; a resolver decides those. This says only what somebody
//! wrote into a layer that counts.

use bundles::manifest::{Layer, Manifest};
use bundles::{LineageError, ProfileName, reachable};

use crate::facts::Facts;

/// A layer that counts: reachable from the selected profile, and every condition holds.
#[derive(Debug, Clone, Copy)]
pub struct ActiveLayer<'a> {
    /// The profile that holds it.
    pub profile: &'a ProfileName,
    /// Its index among the profile's layers.
    pub index: usize,
    /// What it sets.
    pub layer: &'a Layer,
}

/// The profiles that are reachable, and their layers that count.
#[derive(Debug)]
pub struct Reach<'a> {
    profiles: Vec<&'a ProfileName>,
    layers: Vec<ActiveLayer<'a>>,
}

impl<'a> Reach<'a> {
    /// Everything that `profile` reaches in `manifest` on a host of these facts.
    pub fn of(manifest: &'a Manifest, profile: &ProfileName, facts: &Facts) -> Result<Self, LineageError> {
        let profiles: Vec<&ProfileName> =
            reachable(&manifest.profiles, profile, manifest.profiles.len())?.into_iter().collect();
        let mut layers = Vec::new();
        for name in &profiles {
            let all = manifest.profiles.get(*name).map(|profile| profile.layers.as_slice()).unwrap_or_default();
            let counted =
                all.iter().enumerate().filter(|(_, layer)| layer.when.iter().all(|condition| facts.holds(condition)));
            layers.extend(counted.map(|(index, layer)| ActiveLayer { profile: name, index, layer }));
        }
        Ok(Self { profiles, layers })
    }

    /// The reachable profile of that name.
    pub fn profile(&self, name: &str) -> Option<&'a ProfileName> {
        let found = self.profiles.binary_search_by(|profile| profile.as_str().cmp(name)).ok()?;
        self.profiles.get(found).copied()
    }

    /// The layers that count.
    pub fn layers(&self) -> &[ActiveLayer<'a>] {
        &self.layers
    }

    /// The layer that counts at that index of that profile.
    pub fn layer(&self, profile: &str, index: u32) -> Option<ActiveLayer<'a>> {
        let index = usize::try_from(index).ok()?;
        let key = |layer: &ActiveLayer<'a>| (layer.profile.as_str(), layer.index);
        let found = self.layers.binary_search_by(|layer| key(layer).cmp(&(profile, index))).ok()?;
        self.layers.get(found).copied()
    }
}
