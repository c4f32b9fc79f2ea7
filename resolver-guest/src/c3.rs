//! The merge step of C3 linearisation: combines several orders into one that contradicts none of them.

use alloc::vec;
use alloc::vec::Vec;

/// Merges `orders` into one order, in which every element occurs once and before all elements that follow it in any of
/// them.
///
/// If several elements can be next, the one of the earliest order is chosen. Returns `None` if the orders contradict each
/// other. An order with a duplicate element contradicts itself.
pub(crate) fn merge(mut orders: Vec<&[usize]>) -> Option<Vec<usize>> {
    let elements = orders.iter().flat_map(|order| order.iter()).max().map_or(0, |greatest| greatest + 1);
    // Number of orders in which each element follows another. A candidate follows none.
    let mut behind = vec![0_usize; elements];
    for &later in orders.iter().flat_map(|order| order.iter().skip(1)) {
        *behind.get_mut(later)? += 1;
    }
    let mut merged = Vec::with_capacity(elements);
    loop {
        orders.retain(|order| !order.is_empty());
        if orders.is_empty() {
            return Some(merged);
        }
        let is_candidate = |head: &&usize| behind.get(**head) == Some(&0);
        let next = *orders.iter().filter_map(|order| order.first()).find(is_candidate)?;
        merged.push(next);
        for order in &mut orders {
            if let Some((&first, rest)) = order.split_first()
                && first == next
            {
                *order = rest;
                if let Some(&head) = rest.first() {
                    *behind.get_mut(head)? -= 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::merge;

    #[test]
    fn one_order_is_its_own_merge() {
        assert_eq!(merge(vec![&[3, 1, 2]]), Some(vec![3, 1, 2]));
    }

    #[test]
    fn a_shared_ancestor_comes_after_all_its_descendants() {
        assert_eq!(merge(vec![&[1, 0], &[2, 0], &[1, 2]]), Some(vec![1, 2, 0]));
    }

    #[test]
    fn element_with_pending_predecessors_is_skipped() {
        // The published example: K1 = [1 a b c], K2 = [2 d b e], K3 = [3 d a], merged for Z(K1, K2, K3).
        let (a, b, c, d, e, o) = (10, 11, 12, 13, 14, 15);
        let merged = merge(vec![&[1, a, b, c, o], &[2, d, b, e, o], &[3, d, a, o], &[1, 2, 3]]);
        assert_eq!(merged, Some(vec![1, 2, 3, d, a, b, c, e, o]));
    }

    #[test]
    fn orders_that_contradict_each_other_have_no_merge() {
        assert_eq!(merge(vec![&[1, 2], &[2, 1]]), None);
    }

    #[test]
    fn an_element_twice_in_one_order_has_no_merge() {
        assert_eq!(merge(vec![&[1], &[1], &[1, 1]]), None);
    }

    #[test]
    fn empty_orders_merge_to_an_empty_order() {
        assert_eq!(merge(vec![&[], &[]]), Some(vec![]));
    }
}
