//! The wishes that layers ask for and take back.

use alloc::collections::BTreeMap;

use crate::origins::Place;
use crate::{Access, Authority, Need, Wish};

/// What is wished for so far, by authority, access included: a read and a write of one mount are two wishes.
///
/// In the order of the contract's kinds, then of their names, read before write; no layer's order shows through.
#[derive(Default)]
pub(crate) struct Wishes<'a> {
    asked: BTreeMap<&'a Authority, (Need, Place<'a>)>,
}

impl<'a> Wishes<'a> {
    /// Takes back what earlier layers asked for. For a mount and for git this means every access, whichever is named.
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

    /// Asks for `wish`. What was asked before can become required, never optional; only a change changes the origin.
    pub(crate) fn ask(&mut self, wish: &'a Wish, place: Place<'a>) {
        let (need, origin) = self.asked.entry(&wish.authority).or_insert((wish.need, place));
        if *need == Need::Optional && wish.need == Need::Required {
            *need = Need::Required;
            *origin = place;
        }
    }

    /// How many are wished for.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// Each wish once, with the layer that last changed it.
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

    /// Asks in as many layers as there are wishes, after dropping in the one before last what is to be dropped.
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
    fn required_wins_whichever_came_first() {
        let shell = || Authority::Shell;
        assert_eq!(joined(&[ask(shell(), OPTIONAL), ask(shell(), REQUIRED)]), [(shell(), REQUIRED, 1)]);
        assert_eq!(joined(&[ask(shell(), REQUIRED), ask(shell(), OPTIONAL)]), [(shell(), REQUIRED, 0)]);
    }

    #[test]
    fn asking_again_without_a_change_keeps_the_origin() {
        for need in [OPTIONAL, REQUIRED] {
            let wishes = [ask(Authority::Shell, need), ask(Authority::Shell, need)];
            assert_eq!(joined(&wishes), [(Authority::Shell, need, 0)]);
        }
    }

    #[test]
    fn read_and_write_stand_side_by_side() {
        let wishes = [ask(mount("repo", Access::Write), OPTIONAL), ask(mount("repo", Access::Read), REQUIRED)];
        assert_eq!(
            joined(&wishes),
            [(mount("repo", Access::Read), REQUIRED, 1), (mount("repo", Access::Write), OPTIONAL, 0)]
        );
    }

    #[test]
    fn a_drop_takes_back_both_accesses_of_this_label_and_no_other() {
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
    fn what_was_dropped_and_asked_again_begins_anew() {
        let again = vec![Wish { authority: Authority::Shell, need: OPTIONAL }];
        let wishes = [ask(Authority::Shell, REQUIRED), (Some(Authority::Shell), again)];
        assert_eq!(joined(&wishes), [(Authority::Shell, OPTIONAL, 1)]);
    }
}
