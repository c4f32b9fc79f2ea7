//! A list of names that layers amend.

use std::collections::BTreeSet;

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
        let mut seen = BTreeSet::new();
        self.written.retain(|(name, _)| seen.insert(*name));
        self.written
    }

    /// The names without their order.
    pub(crate) fn into_set(self) -> BTreeSet<&'a str> {
        self.written.into_iter().map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
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
