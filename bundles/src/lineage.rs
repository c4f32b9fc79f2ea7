//! Inheritance: the host's own C3 linearisation of profiles.
//!
//! A resolver computes this for itself. The host computes it to refuse bundles that no resolver could resolve, and to
//! know the profiles that a resolution may mention.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::Profile;
use crate::names::{ProfileName, shown};

/// Error returned when a profile has no linearisation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// The profile does not exist.
    #[error("profile `{}` not found", shown(.0.as_str()))]
    Unknown(ProfileName),
    /// Profiles inherit from each other. The first is the smallest in byte order.
    #[error("cyclic inheritance: {}", chain(.0))]
    Cycle(Vec<ProfileName>),
    /// Two parents have contradictory orders.
    #[error("parents of `{}` have no consistent order", shown(.0.as_str()))]
    Conflict(ProfileName),
    /// The profile has more ancestors than allowed.
    #[error("inheritance chain of `{}` exceeds limit `lineage` ({limit} profiles)", shown(.profile.as_str()))]
    TooLong {
        /// The profile.
        profile: ProfileName,
        /// Maximum number of profiles.
        limit: usize,
    },
}

fn chain(names: &[ProfileName]) -> String {
    let names = names.iter().chain(names.first()).map(|name| format!("`{}`", shown(name.as_str())));
    names.collect::<Vec<_>>().join(" extends ")
}

/// Returns `profile` and all its ancestors in C3 order. `limit` bounds their number and thereby the work.
pub fn lineage<'a>(
    profiles: &'a BTreeMap<ProfileName, Profile>,
    profile: &ProfileName,
    limit: usize,
) -> Result<Vec<&'a ProfileName>, LineageError> {
    let ancestors = reachable(profiles, profile, limit)?;
    if let Some(cycle) = cycle(profiles, &ancestors) {
        return Err(LineageError::Cycle(cycle));
    }
    let mut done: BTreeMap<&ProfileName, Vec<&'a ProfileName>> = BTreeMap::new();
    for name in parents_first(profiles, &ancestors) {
        let parents = extends(profiles, name);
        let mut lists: Vec<Vec<&ProfileName>> =
            parents.iter().filter_map(|parent| done.get(*parent).cloned()).collect();
        lists.push(parents);
        let mut order = vec![name];
        order.extend(merge(lists).ok_or_else(|| LineageError::Conflict(name.clone()))?);
        done.insert(name, order);
    }
    done.remove(profile).ok_or_else(|| LineageError::Unknown(profile.clone()))
}

/// Returns `profile` and every profile that it reaches through `extends`.
pub fn reachable<'a>(
    profiles: &'a BTreeMap<ProfileName, Profile>,
    profile: &ProfileName,
    limit: usize,
) -> Result<BTreeSet<&'a ProfileName>, LineageError> {
    let mut found = BTreeSet::new();
    let mut open = vec![profile];
    while let Some(name) = open.pop() {
        let (name, entry) = profiles.get_key_value(name).ok_or_else(|| LineageError::Unknown(name.clone()))?;
        if found.insert(name) {
            open.extend(&entry.extends);
        }
        if found.len() > limit {
            return Err(LineageError::TooLong { profile: profile.clone(), limit });
        }
    }
    Ok(found)
}

fn extends<'a>(profiles: &'a BTreeMap<ProfileName, Profile>, name: &ProfileName) -> Vec<&'a ProfileName> {
    profiles.get(name).map(|profile| profile.extends.iter().collect()).unwrap_or_default()
}

/// Removes profiles whose parents are all removed. The remaining profiles are on a cycle or inherit from one.
fn parents_first<'a>(
    profiles: &'a BTreeMap<ProfileName, Profile>,
    names: &BTreeSet<&'a ProfileName>,
) -> Vec<&'a ProfileName> {
    let mut order: Vec<&ProfileName> = Vec::new();
    let mut left = names.clone();
    loop {
        let ready: Vec<&ProfileName> = left
            .iter()
            .copied()
            .filter(|name| !extends(profiles, name).iter().any(|parent| left.contains(parent)))
            .collect();
        if ready.is_empty() {
            return order;
        }
        for name in &ready {
            left.remove(name);
        }
        order.extend(ready);
    }
}

fn cycle(profiles: &BTreeMap<ProfileName, Profile>, names: &BTreeSet<&ProfileName>) -> Option<Vec<ProfileName>> {
    let sound: BTreeSet<&ProfileName> = parents_first(profiles, names).into_iter().collect();
    let bad: BTreeSet<&ProfileName> = names.difference(&sound).copied().collect();
    // Every remaining profile has a remaining parent, so a walk upwards must visit some profile twice.
    let mut walk: Vec<&ProfileName> = vec![bad.first()?];
    loop {
        let next = extends(profiles, walk.last()?).into_iter().find(|parent| bad.contains(parent))?;
        if let Some(start) = walk.iter().position(|name| *name == next) {
            let mut ring: Vec<ProfileName> = walk.split_off(start).into_iter().cloned().collect();
            let smallest = ring.iter().enumerate().min_by_key(|(_, name)| *name).map_or(0, |(index, _)| index);
            ring.rotate_left(smallest);
            return Some(ring);
        }
        walk.push(next);
    }
}

/// Merges as in C3: takes the first head that is in no tail, until nothing is left.
fn merge(mut lists: Vec<Vec<&ProfileName>>) -> Option<Vec<&ProfileName>> {
    let mut merged = Vec::new();
    loop {
        lists.retain(|list| !list.is_empty());
        if lists.is_empty() {
            return Some(merged);
        }
        let good = lists
            .iter()
            .filter_map(|list| list.first())
            .find(|head| !lists.iter().any(|list| list.iter().skip(1).any(|name| name == *head)))
            .copied()?;
        merged.push(good);
        for list in &mut lists {
            list.retain(|name| *name != good);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(edges: &[(&str, &[&str])]) -> BTreeMap<ProfileName, Profile> {
        let name = |text: &str| text.parse::<ProfileName>().expect("a name");
        edges
            .iter()
            .map(|(child, parents)| {
                (
                    name(child),
                    Profile { extends: parents.iter().map(|parent| name(parent)).collect(), ..Profile::default() },
                )
            })
            .collect()
    }

    fn order(edges: &[(&str, &[&str])], of: &str) -> Result<String, LineageError> {
        let profiles = profiles(edges);
        let order = lineage(&profiles, &of.parse().expect("a name"), 8)?;
        Ok(order.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_diamond_comes_together_after_both_sides() {
        assert_eq!(
            order(&[("d", &["b", "c"]), ("b", &["a"]), ("c", &["a"]), ("a", &[])], "d").as_deref(),
            Ok("d b c a")
        );
    }

    #[test]
    fn parents_in_two_orders_are_a_conflict() {
        let edges: &[(&str, &[&str])] =
            &[("x", &[]), ("y", &[]), ("a", &["x", "y"]), ("b", &["y", "x"]), ("c", &["a", "b"])];
        assert_eq!(order(edges, "c"), Err(LineageError::Conflict("c".parse().expect("a name"))));
        assert_eq!(order(edges, "a").as_deref(), Ok("a x y"));
        assert!(matches!(order(&[("a", &["b", "b"]), ("b", &[])], "a"), Err(LineageError::Conflict(_))));
    }

    #[test]
    fn a_cycle_begins_with_its_smallest_name() {
        let edges: &[(&str, &[&str])] = &[("z", &["c"]), ("c", &["a"]), ("a", &["b"]), ("b", &["c"])];
        let name = |text: &str| text.parse::<ProfileName>().expect("a name");
        assert_eq!(order(edges, "z"), Err(LineageError::Cycle(vec![name("a"), name("b"), name("c")])));
        assert_eq!(order(&[("a", &["a"])], "a"), Err(LineageError::Cycle(vec![name("a")])));
    }

    #[test]
    fn a_chain_is_bounded() {
        let names: Vec<String> = (0..9).map(|index| format!("p{index}")).collect();
        let parents: Vec<Vec<&str>> =
            (0..9).map(|index| names.get(index + 1).map(String::as_str).into_iter().collect()).collect();
        let edges: Vec<(&str, &[&str])> =
            names.iter().map(String::as_str).zip(parents.iter().map(Vec::as_slice)).collect();
        assert!(matches!(order(&edges, "p0"), Err(LineageError::TooLong { limit: 8, .. })));
        assert!(order(&edges, "p1").is_ok());
    }
}
