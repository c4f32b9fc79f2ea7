//! A list of names that layers amend.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::Amend;
use crate::origins::Place;

/// What the layers so far made of one list.
///
/// Kept with its repetitions until it is read: one look at the end is cheaper than one a layer, and says the same,
/// because a repetition never moves the first occurrence.
#[derive(Default)]
pub(crate) struct Names<'a> {
    written: Vec<(&'a str, Place<'a>)>,
}

impl<'a> Names<'a> {
    /// Adds at the end, or begins anew.
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

    /// Each name once, where it stood first, with the layer that put it there.
    pub(crate) fn into_list(mut self) -> Vec<(&'a str, Place<'a>)> {
        let mut seen = NameSet::default();
        self.written.retain(|(name, _)| seen.insert(name));
        self.written
    }

    /// The names without their order.
    pub(crate) fn into_set(self) -> NameSet<'a> {
        let mut set = NameSet::default();
        for (name, _) in self.written {
            set.insert(name);
        }
        set
    }
}

/// A set of names that are much alike, as names of one list are.
///
/// Ordered by a fingerprint, so that comparing two names rarely means reading both; where fingerprints are equal, the
/// names decide. So names that were chosen to collide cost no more than an ordinary ordered set.
#[derive(Default)]
pub(crate) struct NameSet<'a>(BTreeSet<(u64, &'a str)>);

impl<'a> NameSet<'a> {
    /// Whether the name is new.
    fn insert(&mut self, name: &'a str) -> bool {
        self.0.insert((fingerprint(name), name))
    }

    pub(crate) fn contains(&self, name: &'a str) -> bool {
        !self.0.is_empty() && self.0.contains(&(fingerprint(name), name))
    }
}

/// FNV-1a.
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
    fn an_appended_name_that_is_there_keeps_its_place_and_origin() {
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
