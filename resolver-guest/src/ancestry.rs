//! The selected profile with all its ancestors, and their order of precedence.
//!
//! Profiles are requested level by level: the selected one, then all its parents, then their parents, each name once. A
//! level has the order of the previous level, and within one profile the order of `extends`. The first name in this
//! order that the bundle lacks is reported as unknown, and no further level is requested.
//!
//! When all profiles are loaded, a depth-first walk visits parents in their written order, starting at the selected
//! profile. The first parent that is already on the path closes the reported cycle. The first profile that the walk
//! leaves and whose parents have no common order is the reported conflict. No function recurses, so inheritance of any
//! depth cannot exhaust the stack.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::{Bundle, Failure, Profile, c3};

/// Profiles by index. The selected one has index 0. Every index in `parents` is valid for `members`.
pub(crate) struct Ancestry {
    members: Vec<Member>,
}

struct Member {
    name: String,
    profile: Profile,
    parents: Vec<usize>,
}

/// One profile of a lineage.
#[derive(Clone, Copy)]
pub(crate) struct Ancestor<'a> {
    pub(crate) name: &'a str,
    pub(crate) profile: &'a Profile,
}

impl Ancestry {
    /// Reads `selected` and all its ancestors.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownProfile`] with the first name that the bundle does not have.
    pub(crate) fn load(selected: &str, bundle: &(impl Bundle + ?Sized)) -> Result<Self, Failure> {
        let mut members = Vec::new();
        let mut indices = BTreeMap::from([(selected.to_owned(), 0)]);
        let mut level = vec![selected.to_owned()];
        while !level.is_empty() {
            let mut answers = bundle.profiles(&level).into_iter();
            let mut next_level = Vec::new();
            for name in level {
                let Some(profile) = answers.next().flatten() else {
                    return Err(Failure::UnknownProfile(name));
                };
                let mut parents = Vec::with_capacity(profile.extends.len());
                for parent in &profile.extends {
                    let index = match indices.get(parent) {
                        Some(&index) => index,
                        None => {
                            // A profile has the index of its first mention, because profiles are loaded in that order.
                            let index = indices.len();
                            indices.insert(parent.clone(), index);
                            next_level.push(parent.clone());
                            index
                        }
                    };
                    parents.push(index);
                }
                members.push(Member { name, profile, parents });
            }
            level = next_level;
        }
        Ok(Self { members })
    }

    /// Returns the C3 linearisation of the selected profile, with the profile itself first.
    ///
    /// # Errors
    ///
    /// [`Failure::InheritanceCycle`] and [`Failure::InheritanceConflict`].
    pub(crate) fn lineage(&self) -> Result<Vec<Ancestor<'_>>, Failure> {
        let mut orders: Vec<Vec<usize>> = vec![Vec::new(); self.members.len()];
        for index in self.parents_first()? {
            let Some(member) = self.members.get(index) else { continue };
            let mut merging: Vec<&[usize]> =
                member.parents.iter().filter_map(|&parent| orders.get(parent)).map(Vec::as_slice).collect();
            merging.push(&member.parents);
            let Some(ancestors) = c3::merge(merging) else {
                return Err(Failure::InheritanceConflict(member.name.clone()));
            };
            if let Some(order) = orders.get_mut(index) {
                order.reserve_exact(ancestors.len() + 1);
                order.push(index);
                order.extend(ancestors);
            }
        }
        let selected = orders.into_iter().next().unwrap_or_default();
        Ok(selected
            .into_iter()
            .filter_map(|index| self.members.get(index))
            .map(|member| Ancestor { name: &member.name, profile: &member.profile })
            .collect())
    }

    /// Returns all profiles, each after its ancestors: the order in which a depth-first walk leaves them.
    fn parents_first(&self) -> Result<Vec<usize>, Failure> {
        let mut left = Vec::with_capacity(self.members.len());
        let mut visits = vec![Visit::NotYet; self.members.len()];
        let mut path: Vec<(usize, core::slice::Iter<'_, usize>)> = Vec::new();
        let mut entering = Some(0);
        loop {
            if let Some(index) = entering.take()
                && let (Some(member), Some(visit)) = (self.members.get(index), visits.get_mut(index))
            {
                *visit = Visit::OnPath;
                path.push((index, member.parents.iter()));
            }
            let Some((index, parents)) = path.last_mut() else { return Ok(left) };
            match parents.next() {
                Some(&parent) => match visits.get(parent) {
                    Some(Visit::NotYet) => entering = Some(parent),
                    Some(Visit::OnPath) => {
                        let members = path.iter().map(|(index, _)| *index).skip_while(|&index| index != parent);
                        return Err(Failure::InheritanceCycle(self.cycle(members.collect())));
                    }
                    Some(Visit::Left) | None => {}
                },
                None => {
                    if let Some(visit) = visits.get_mut(*index) {
                        *visit = Visit::Left;
                    }
                    left.push(*index);
                    path.pop();
                }
            }
        }
    }

    /// Returns the names of a cycle, each child before its parent, starting with the bytewise smallest name.
    fn cycle(&self, indices: Vec<usize>) -> Vec<String> {
        let mut names: Vec<String> =
            indices.into_iter().filter_map(|index| self.members.get(index)).map(|member| member.name.clone()).collect();
        let smallest = names.iter().enumerate().min_by_key(|(_, name)| name.as_str()).map_or(0, |(at, _)| at);
        names.rotate_left(smallest);
        names
    }
}

#[derive(Clone, Copy)]
enum Visit {
    NotYet,
    OnPath,
    Left,
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    use super::Ancestry;
    use crate::{Bundle, Failure, Kind, Profile};

    /// A bundle whose profiles have no layers. It records the requested names.
    struct Family {
        extends: Vec<(&'static str, Vec<&'static str>)>,
        asked: RefCell<Vec<Vec<String>>>,
    }

    impl Family {
        fn new(extends: &[(&'static str, &[&'static str])]) -> Self {
            let extends = extends.iter().map(|(name, parents)| (*name, parents.to_vec())).collect();
            Self { extends, asked: RefCell::default() }
        }

        fn lineage(&self, selected: &str) -> Result<Vec<String>, Failure> {
            let ancestry = Ancestry::load(selected, self)?;
            Ok(ancestry.lineage()?.iter().map(|ancestor| ancestor.name.to_owned()).collect())
        }
    }

    impl Bundle for Family {
        fn profiles(&self, names: &[String]) -> Vec<Option<Profile>> {
            self.asked.borrow_mut().push(names.to_vec());
            let find = |name: &String| self.extends.iter().find(|(known, _)| known == name);
            let profile = |parents: &[&str]| Profile {
                extends: parents.iter().map(|&parent| parent.to_owned()).collect(),
                layers: vec![],
            };
            names.iter().map(|name| find(name).map(|(_, parents)| profile(parents))).collect()
        }

        fn declares(&self, _: Kind, names: &[String]) -> Vec<bool> {
            vec![true; names.len()]
        }
    }

    #[test]
    fn each_level_is_requested_at_once_and_each_name_once() {
        let family = Family::new(&[
            ("root", &[]),
            ("left", &["root"]),
            ("right", &["left", "root"]),
            ("top", &["right", "left"]),
        ]);
        assert_eq!(family.lineage("top").unwrap(), ["top", "right", "left", "root"]);
        assert_eq!(*family.asked.borrow(), [vec!["top"], vec!["right", "left"], vec!["root"]]);
    }

    #[test]
    fn first_missing_name_of_the_nearest_level_is_reported() {
        let family = Family::new(&[("top", &["far", "gone", "lost"]), ("far", &["deep"])]);
        assert_eq!(family.lineage("top"), Err(Failure::UnknownProfile("gone".into())));
        assert_eq!(family.asked.borrow().len(), 2, "no level after one with a missing name");
    }

    #[test]
    fn an_unknown_parent_is_reported_before_a_cycle() {
        let family = Family::new(&[("a", &["b"]), ("b", &["a", "gone"])]);
        assert_eq!(family.lineage("a"), Err(Failure::UnknownProfile("gone".into())));
    }

    #[test]
    fn a_cycle_begins_with_its_smallest_name_and_leaves_out_the_way_to_it() {
        let family = Family::new(&[("a", &["m"]), ("m", &["z"]), ("z", &["k"]), ("k", &["m"])]);
        assert_eq!(family.lineage("a"), Err(Failure::InheritanceCycle(vec!["k".into(), "m".into(), "z".into()])));
    }

    #[test]
    fn a_profile_that_extends_itself_is_a_cycle_of_one() {
        let family = Family::new(&[("a", &["a"])]);
        assert_eq!(family.lineage("a"), Err(Failure::InheritanceCycle(vec!["a".into()])));
    }

    #[test]
    fn the_deepest_conflict_is_reported_first() {
        let family = Family::new(&[
            ("top", &["mixed", "mixed"]),
            ("mixed", &["xy", "yx"]),
            ("xy", &["x", "y"]),
            ("yx", &["y", "x"]),
            ("x", &[]),
            ("y", &[]),
        ]);
        assert_eq!(family.lineage("top"), Err(Failure::InheritanceConflict("mixed".into())));
    }

    #[test]
    fn a_parent_written_twice_is_a_conflict() {
        let family = Family::new(&[("top", &["base", "base"]), ("base", &[])]);
        assert_eq!(family.lineage("top"), Err(Failure::InheritanceConflict("top".into())));
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let names: Vec<String> = (0..2_000).map(|index| format!("p{index}")).collect();
        let names: &'static [String] = Vec::leak(names);
        let mut family = Family::new(&[]);
        for (index, name) in names.iter().enumerate() {
            let parents = names.get(index + 1).map(|parent| vec![parent.as_str()]).unwrap_or_default();
            family.extends.push((name, parents));
        }
        assert_eq!(family.lineage("p0").unwrap().len(), 2_000);
    }
}
