//! A list of names that layers amend.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::Amend;
use crate::origins::Place;

/// One list after the layers that were applied so far.
///
/// Duplicates are removed when the list is read, because one pass is cheaper than one per layer. The result is the same:
/// a duplicate never moves the first occurrence.
#[derive(Default)]
pub(crate) struct Names<'a> {
    written: Vec<(&'a str, Place<'a>)>,
}

impl<'a> Names<'a> {
    /// Appends names, or replaces the list.
    pub(crate) fn amend(&mut self, amend: &'a Amend, place: Place<'a>) {
        let names = match amend {
            Amend::Append(names) => names,
            Amend::Replace(names) => {
                self.written.clear();
                names
            }
        };
        self.written.extend(names.iter().map(|name| (name.as_str(), place)));
    }

    /// Returns each name once, at its first position, with the layer that added it.
    pub(crate) fn into_list(mut self) -> Vec<(&'a str, Place<'a>)> {
        let mut seen = NameSet::default();
        self.written.retain(|(name, _)| seen.insert(name));
        self.written
    }

    /// Returns the names as a set.
    pub(crate) fn into_set(self) -> NameSet<'a> {
        let mut set = NameSet::default();
        for (name, _) in self.written {
            set.insert(name);
        }
        set
    }
}

/// A set of similar names, as in one list.
///
/// The set is ordered by fingerprint and then by name, so most comparisons do not read the names. Names that were chosen
/// to collide cost no more than in an ordinary ordered set.
#[derive(Default)]
pub(crate) struct NameSet<'a>(BTreeSet<(u64, &'a str)>);

impl<'a> NameSet<'a> {
    /// Adds a name. Returns `true` if it is new.
    fn insert(&mut self, name: &'a str) -> bool {
        self.0.insert((fingerprint(name), name))
    }

    pub(crate) fn contains(&self, name: &'a str) -> bool {
        !self.0.is_empty() && self.0.contains(&(fingerprint(name), name))
    }
}

/// Returns the FNV-1a hash of a name.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec::Vec;

    use super::Names;
    use crate::Amend;
    use crate::origins::Place;

    fn amended(amends: &[Amend]) -> Vec<(&str, u32)> {
        let mut names = Names::default();
        for (layer, amend) in (0..).zip(amends) {
            names.amend(amend, Place { profile: "p", layer });
        }
        names.into_list().into_iter().map(|(name, place)| (name, place.layer)).collect()
    }

    fn append(names: &[&str]) -> Amend {
        Amend::Append(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn replace(names: &[&str]) -> Amend {
        Amend::Replace(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn appended_duplicate_keeps_its_place_and_origin() {
        assert_eq!(amended(&[append(&["a", "b"]), append(&["b", "c", "a"])]), [("a", 0), ("b", 0), ("c", 1)]);
    }

    #[test]
    fn a_name_repeated_in_one_append_counts_once() {
        assert_eq!(amended(&[append(&["a", "b", "a"])]), [("a", 0), ("b", 0)]);
    }

    #[test]
    fn a_replaced_list_comes_wholly_from_the_replacing_layer() {
        assert_eq!(amended(&[append(&["a", "b"]), replace(&["b", "a", "b"])]), [("b", 1), ("a", 1)]);
    }

    #[test]
    fn an_empty_replacement_empties_and_an_empty_append_does_not() {
        assert_eq!(amended(&[append(&["a"]), append(&[])]), [("a", 0)]);
        assert_eq!(amended(&[append(&["a"]), replace(&[])]), []);
    }
}
