//! The wishes that layers add and drop.

use alloc::collections::BTreeMap;

use crate::origins::Place;
use crate::{Access, Authority, Need, Wish};

/// The wishes of the layers that were applied so far. A read and a write wish for the same mount are two wishes.
///
/// The order is that of the kinds in the contract, then of the names, read before write. It does not depend on the order
/// of the layers.
#[derive(Default)]
pub(crate) struct Wishes<'a> {
    asked: BTreeMap<&'a Authority, (Need, Place<'a>)>,
}

impl<'a> Wishes<'a> {
    /// Removes a wish of earlier layers. For a mount and for git this removes both accesses, whichever is named.
    pub(crate) fn drop(&mut self, authority: &Authority) {
        match authority {
            Authority::Mount((label, _)) => {
                for access in [Access::Read, Access::Write] {
                    self.asked.remove(&Authority::Mount((label.clone(), access)));
                }
            }
            Authority::Git(_) => {
                for access in [Access::Read, Access::Write] {
                    self.asked.remove(&Authority::Git(access));
                }
            }
            Authority::Secret(_) | Authority::Egress(_) | Authority::Shell => {
                self.asked.remove(authority);
            }
        }
    }

    /// Adds a wish. An optional wish can become required, but not vice versa. The origin changes only with the need.
    pub(crate) fn ask(&mut self, wish: &'a Wish, place: Place<'a>) {
        let (need, origin) = self.asked.entry(&wish.authority).or_insert((wish.need, place));
        if *need == Need::Optional && wish.need == Need::Required {
            *need = Need::Required;
            *origin = place;
        }
    }

    /// Returns the number of wishes.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// Returns each wish with the layer that changed it last.
    pub(crate) fn into_list(self) -> impl Iterator<Item = (Wish, Place<'a>)> {
        self.asked.into_iter().map(|(authority, (need, place))| (Wish { authority: authority.clone(), need }, place))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::Wishes;
    use crate::origins::Place;
    use crate::{Access, Authority, Need, Wish};

    const OPTIONAL: Need = Need::Optional;
    const REQUIRED: Need = Need::Required;

    fn mount(label: &str, access: Access) -> Authority {
        Authority::Mount((label.into(), access))
    }

    /// Returns the wishes after layers that each drop an authority, if any, and then add wishes.
    fn joined(layers: &[(Option<Authority>, Vec<Wish>)]) -> Vec<(Authority, Need, u32)> {
        let mut wishes = Wishes::default();
        for (layer, (drop, asked)) in (0..).zip(layers) {
            if let Some(authority) = drop {
                wishes.drop(authority);
            }
            for wish in asked {
                wishes.ask(wish, Place { profile: "p", layer });
            }
        }
        wishes.into_list().map(|(wish, place)| (wish.authority, wish.need, place.layer)).collect()
    }

    fn ask(authority: Authority, need: Need) -> (Option<Authority>, Vec<Wish>) {
        (None, vec![Wish { authority, need }])
    }

    #[test]
    fn required_takes_precedence_in_either_order() {
        let shell = || Authority::Shell;
        assert_eq!(joined(&[ask(shell(), OPTIONAL), ask(shell(), REQUIRED)]), [(shell(), REQUIRED, 1)]);
        assert_eq!(joined(&[ask(shell(), REQUIRED), ask(shell(), OPTIONAL)]), [(shell(), REQUIRED, 0)]);
    }

    #[test]
    fn repeated_wish_keeps_its_origin() {
        for need in [OPTIONAL, REQUIRED] {
            let wishes = [ask(Authority::Shell, need), ask(Authority::Shell, need)];
            assert_eq!(joined(&wishes), [(Authority::Shell, need, 0)]);
        }
    }

    #[test]
    fn read_and_write_wishes_are_kept_separately() {
        let wishes = [ask(mount("repo", Access::Write), OPTIONAL), ask(mount("repo", Access::Read), REQUIRED)];
        assert_eq!(
            joined(&wishes),
            [(mount("repo", Access::Read), REQUIRED, 1), (mount("repo", Access::Write), OPTIONAL, 0)]
        );
    }

    #[test]
    fn drop_removes_both_accesses_of_its_label_and_no_other() {
        let wishes = [
            ask(mount("repo", Access::Read), REQUIRED),
            ask(mount("repo", Access::Write), REQUIRED),
            ask(mount("docs", Access::Read), REQUIRED),
            (Some(mount("repo", Access::Write)), vec![]),
        ];
        assert_eq!(joined(&wishes), [(mount("docs", Access::Read), REQUIRED, 2)]);
        let wishes = [
            ask(Authority::Git(Access::Write), REQUIRED),
            ask(Authority::Git(Access::Read), REQUIRED),
            (Some(Authority::Git(Access::Read)), vec![]),
        ];
        assert_eq!(joined(&wishes), []);
    }

    #[test]
    fn wish_after_a_drop_has_a_new_need_and_origin() {
        let again = vec![Wish { authority: Authority::Shell, need: OPTIONAL }];
        let wishes = [ask(Authority::Shell, REQUIRED), (Some(Authority::Shell), again)];
        assert_eq!(joined(&wishes), [(Authority::Shell, OPTIONAL, 1)]);
    }
}
