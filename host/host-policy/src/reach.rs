//! The profiles and layers that may contribute to a resolution, as computed by the host.
//!
//! A layer is active if the selected profile reaches its profile and all of its conditions hold. The
//! order and the precedence of active layers are the resolver's decision and not computed here.

use bundles::manifest::{Layer, Manifest};
use bundles::{LineageError, ProfileName, reachable};

use crate::facts::Facts;

/// A layer that is reachable from the selected profile and whose conditions all hold.
#[derive(Debug, Clone, Copy)]
pub struct ActiveLayer<'a> {
    /// The profile that contains the layer.
    pub profile: &'a ProfileName,
    /// Index of the layer in its profile.
    pub index: usize,
    /// The layer itself.
    pub layer: &'a Layer,
}

/// The profiles reachable from a selected profile, and their active layers.
#[derive(Debug)]
pub struct Reach<'a> {
    profiles: Vec<&'a ProfileName>,
    layers: Vec<ActiveLayer<'a>>,
}

impl<'a> Reach<'a> {
    /// Computes the profiles that `profile` reaches in `manifest`, and the layers that are active under `facts`.
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

    /// Returns the reachable profile called `name`.
    pub fn profile(&self, name: &str) -> Option<&'a ProfileName> {
        let found = self.profiles.binary_search_by(|profile| profile.as_str().cmp(name)).ok()?;
        self.profiles.get(found).copied()
    }

    /// Returns the active layers, sorted by profile name and index.
    pub fn layers(&self) -> &[ActiveLayer<'a>] {
        &self.layers
    }

    /// Returns the layer at `index` of `profile` if it is active.
    pub fn layer(&self, profile: &str, index: u32) -> Option<ActiveLayer<'a>> {
        let index = usize::try_from(index).ok()?;
        let key = |layer: &ActiveLayer<'a>| (layer.profile.as_str(), layer.index);
        let found = self.layers.binary_search_by(|layer| key(layer).cmp(&(profile, index))).ok()?;
        self.layers.get(found).copied()
    }
}
