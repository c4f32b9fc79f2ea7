//! The order of inheritance, compared with the rules of C3 and with an exhaustive search.

use std::collections::{BTreeMap, BTreeSet};

use bundles::manifest::Profile;
use bundles::{LineageError, ProfileName, lineage, reachable};
use proptest::prelude::*;

/// Profiles by number. Each one extends lower numbers, in some order.
type Graph = Vec<Vec<usize>>;

fn name(index: usize) -> ProfileName {
    format!("p{index}").parse().expect("a name")
}

fn profiles(graph: &Graph) -> BTreeMap<ProfileName, Profile> {
    let entry = |(index, parents): (usize, &Vec<usize>)| {
        (name(index), Profile { extends: parents.iter().map(|parent| name(*parent)).collect(), ..Profile::default() })
    };
    graph.iter().enumerate().map(entry).collect()
}

fn order(graph: &Graph, of: usize) -> Result<Vec<usize>, LineageError> {
    let profiles = profiles(graph);
    let order = lineage(&profiles, &name(of), graph.len().max(1))?;
    Ok(order.iter().map(|name| name.as_str()[1..].parse().expect("a number")).collect())
}

fn ancestors(graph: &Graph, of: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([of]);
    let mut open = vec![of];
    while let Some(next) = open.pop() {
        open.extend(graph[next].iter().filter(|parent| found.insert(**parent)));
    }
    found
}

/// Returns all permutations of the numbers that start with `of`.
fn permutations(mut rest: Vec<usize>) -> Vec<Vec<usize>> {
    if rest.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..rest.len() {
        let first = rest.remove(index);
        all.extend(permutations(rest.clone()).into_iter().map(|tail| [vec![first], tail].concat()));
        rest.insert(index, first);
    }
    all
}

fn before(order: &[usize], one: usize, two: usize) -> bool {
    let place = |of: usize| order.iter().position(|number| *number == of);
    place(one) < place(two)
}

/// `true` if an order is consistent with the order of the parents and with their orders.
fn is_lawful(graph: &Graph, of: usize, order: &[usize], parents: &[Vec<usize>]) -> bool {
    let keeps = |list: &[usize]| list.windows(2).all(|pair| before(order, pair[0], pair[1]));
    order.first() == Some(&of) && keeps(&graph[of]) && parents.iter().all(|parent| keeps(parent))
}

/// Returns all valid orders, by trying every permutation. Returns none if a parent has none.
fn oracle(graph: &Graph, of: usize) -> Vec<Vec<usize>> {
    let parents: Vec<Vec<usize>> = match graph[of].iter().map(|parent| order(graph, *parent)).collect() {
        Ok(orders) => orders,
        Err(_) => return Vec::new(),
    };
    let rest: Vec<usize> = ancestors(graph, of).into_iter().filter(|number| *number != of).collect();
    let all = permutations(rest).into_iter().map(|tail| [vec![of], tail].concat());
    all.filter(|order| is_lawful(graph, of, order, &parents)).collect()
}

/// Returns the order that C3 chooses among several valid ones: next is always the first candidate of the first parent.
fn chosen(graph: &Graph, of: usize, mut lawful: Vec<Vec<usize>>) -> Vec<usize> {
    let mut lists: Vec<Vec<usize>> = graph[of].iter().map(|parent| order(graph, *parent).expect("an order")).collect();
    lists.push(graph[of].clone());
    for place in 1..lawful[0].len() {
        let placed = lawful[0][..place].to_vec();
        let left = |list: &Vec<usize>| list.iter().find(|number| !placed.contains(number)).copied();
        let heads: Vec<usize> = lists.iter().filter_map(left).collect();
        let next = heads.into_iter().find(|head| lawful.iter().any(|order| order[place] == *head)).expect("a next one");
        lawful.retain(|order| order[place] == next);
    }
    lawful.remove(0)
}

/// Generates graphs without cycles: each profile extends some of the previous ones, in any order.
fn graphs(most: usize) -> impl Strategy<Value = Graph> {
    let parents = |index: usize| {
        let numbers: Vec<usize> = (0..index).collect();
        proptest::sample::subsequence(numbers, 0..=index.min(3)).prop_shuffle()
    };
    (1..=most).prop_flat_map(move |count| (0..count).map(parents).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_is_found_exactly_if_a_valid_one_exists(graph in graphs(7)) {
        for of in 0..graph.len() {
            let lawful = oracle(&graph, of);
            match order(&graph, of) {
                Ok(order) => {
                    prop_assert!(lawful.contains(&order), "{graph:?}: {order:?} of {lawful:?}");
                    prop_assert_eq!(order, chosen(&graph, of, lawful));
                }
                Err(LineageError::Conflict(at)) => {
                    let at: usize = at.as_str()[1..].parse().expect("a number");
                    prop_assert!(ancestors(&graph, of).contains(&at));
                    prop_assert!(oracle(&graph, at).is_empty(), "{graph:?}: {at} has an order");
                    prop_assert!(graph[at].iter().all(|parent| order(&graph, *parent).is_ok()));
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn order_starts_with_the_profile_keeps_parent_order_and_has_no_duplicates(graph in graphs(20)) {
        for of in 0..graph.len() {
            let Ok(found) = order(&graph, of) else { continue };
            prop_assert_eq!(found[0], of);
            prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), ancestors(&graph, of));
            prop_assert_eq!(found.len(), ancestors(&graph, of).len());
            prop_assert!(graph[of].windows(2).all(|pair| before(&found, pair[0], pair[1])), "local precedence");
            for ancestor in ancestors(&graph, of) {
                let inner = order(&graph, ancestor).expect("an ancestor of one with an order has one");
                prop_assert!(inner.windows(2).all(|pair| before(&found, pair[0], pair[1])), "monotonicity");
                prop_assert!(graph[ancestor].iter().all(|parent| before(&found, ancestor, *parent)));
            }
        }
    }

    #[test]
    fn unreachable_profile_does_not_change_an_order(graph in graphs(12), more in graphs(5)) {
        let count = graph.len();
        let mut wider = graph.clone();
        wider.extend(more.iter().map(|parents| parents.iter().map(|parent| parent + count).collect::<Vec<_>>()));
        wider.push((0..count).collect());
        for of in 0..count {
            prop_assert_eq!(order(&graph, of), order(&wider, of));
        }
    }

    #[test]
    fn cycle_is_reported_exactly_if_one_is_reachable(graph in graphs(10), from in 0usize..10, to in 0usize..10) {
        let mut graph = graph;
        let (from, to) = (from % graph.len(), to % graph.len());
        if !graph[from].contains(&to) {
            graph[from].push(to);
        }
        let ringed = ancestors(&graph, to).contains(&from);
        for of in 0..graph.len() {
            let reaches = ancestors(&graph, of).contains(&from) && ringed;
            match order(&graph, of) {
                Err(LineageError::Cycle(ring)) => {
                    prop_assert!(reaches);
                    let ring: Vec<usize> = ring.iter().map(|name| name.as_str()[1..].parse().expect("a number")).collect();
                    let next = |index: usize| ring[(index + 1) % ring.len()];
                    prop_assert!(ring.iter().enumerate().all(|(index, number)| graph[*number].contains(&next(index))));
                    prop_assert_eq!(ring.iter().collect::<BTreeSet<_>>().len(), ring.len());
                    let smallest = ring.iter().map(|number| name(*number)).min();
                    prop_assert_eq!(smallest, Some(name(ring[0])), "the smallest name comes first");
                }
                _ => prop_assert!(!reaches),
            }
        }
    }

    #[test]
    fn lineage_above_the_limit_is_refused_before_ordering(graph in graphs(12), limit in 1usize..12) {
        let profiles = profiles(&graph);
        for of in 0..graph.len() {
            let count = ancestors(&graph, of).len();
            let bounded = lineage(&profiles, &name(of), limit);
            prop_assert_eq!(matches!(bounded, Err(LineageError::TooLong { .. })), count > limit);
            prop_assert_eq!(reachable(&profiles, &name(of), limit).is_ok(), count <= limit);
        }
    }
}

#[test]
fn the_published_example_of_c3_is_ordered_as_published() {
    // O, then A B C D E over it, K1 = A B C, K2 = D B E, K3 = D A, Z = K1 K2 K3.
    let graph: Graph = vec![
        vec![],
        vec![0],
        vec![0],
        vec![0],
        vec![0],
        vec![0],
        vec![1, 2, 3],
        vec![4, 2, 5],
        vec![4, 1],
        vec![6, 7, 8],
    ];
    assert_eq!(order(&graph, 6), Ok(vec![6, 1, 2, 3, 0]));
    assert_eq!(order(&graph, 7), Ok(vec![7, 4, 2, 5, 0]));
    assert_eq!(order(&graph, 8), Ok(vec![8, 4, 1, 0]));
    assert_eq!(order(&graph, 9), Ok(vec![9, 6, 7, 8, 4, 1, 2, 3, 5, 0]));
}

#[test]
fn missing_profile_is_named() {
    let mut profiles = profiles(&vec![vec![], vec![0]]);
    assert_eq!(lineage(&profiles, &name(7), 9), Err(LineageError::Unknown(name(7))));
    profiles.remove("p0");
    assert_eq!(lineage(&profiles, &name(1), 9), Err(LineageError::Unknown(name(0))));
}
