//! Search for an order of the active layers that yields an answer.
//!
//! A resolver decides the order in which layers apply, and the host does not repeat that decision. The
//! host refuses an answer that no order yields: for example one with a tool that every replacement of
//! the deny list names, or one without a required wish that no layer drops. Each claim of an answer
//! becomes a demand on the order, and all demands must hold together.
//!
//! The order is built from its end. A layer that undoes a claim may only be placed after a layer that
//! restores the claim was placed, that is, earlier in the order. Placing a layer never blocks another
//! one, so a greedy search finds an order if one exists. The work is linear in the size of the layers.

use std::collections::{BTreeMap, BTreeSet};

use bundles::manifest::{Amend, Layer};
use bundles::{Access, Authority, Need};

use crate::reach::ActiveLayer;

/// A list of names that layers append to or replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AmendedList {
    Models,
    Instructions,
    ToolsAllow,
    ToolsDeny,
    Plugins,
    Workflows,
}

/// A statement of the answer about the result of applying all layers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim<'a> {
    /// The list holds the name.
    Holds(AmendedList, &'a str),
    /// The list does not hold the name.
    Lacks(AmendedList, &'a str),
    /// The language is this one.
    Language(&'a str),
    /// The authority is wished for with this need.
    Wishes(&'a Authority, Need),
    /// The authority is optional or not wished for.
    DoesNotRequire(&'a Authority),
}

/// Returns the index of the first claim that no order of the layers yields together with the claims
/// before it.
pub(super) fn first_impossible(layers: &[ActiveLayer<'_>], claims: &[Claim<'_>]) -> Option<usize> {
    let possible = |count: usize| Demands::of(layers, claims.get(..count).unwrap_or(claims)).can_be_met();
    if possible(claims.len()) {
        return None;
    }
    // Binary search: if a number of claims is possible, every smaller number is possible too.
    let (mut met, mut unmet) = (0, claims.len());
    while unmet - met > 1 {
        let middle = met.midpoint(unmet);
        if possible(middle) { met = middle } else { unmet = middle }
    }
    Some(met)
}

/// A demand that every layer of `undone_by` stands before at least one layer of `restored_by`.
#[derive(Default)]
struct Constraint {
    undone_by: Vec<usize>,
    restored_by: Vec<usize>,
    /// `true` if a layer of `restored_by` must exist even if no layer undoes the claim.
    needed: bool,
}

/// A demand that a list holds some names.
///
/// The last replacement decides: it must hold each name that no later layer appends. Names that earlier
/// replacements omit do not matter, so one [`Constraint`] for each name would be too strict.
#[derive(Default)]
struct RequiredNames<'a> {
    /// Names that no placed layer writes yet.
    missing: BTreeSet<&'a str>,
    /// For each layer that appends to the list, the required names that it appends.
    appends: BTreeMap<usize, BTreeSet<&'a str>>,
    /// Layers that replace the list, each with the number of missing names that it holds.
    replaces: BTreeMap<usize, usize>,
    /// For each name, the layers that replace the list by one with that name.
    held_by: BTreeMap<&'a str, Vec<usize>>,
}

/// The demands of a set of claims on the order of the layers.
struct Demands<'a> {
    layers: usize,
    constraints: Vec<Constraint>,
    lists: Vec<RequiredNames<'a>>,
}

impl<'a> Demands<'a> {
    fn of(layers: &[ActiveLayer<'a>], claims: &[Claim<'a>]) -> Self {
        let mut demands = Self { layers: layers.len(), constraints: Vec::new(), lists: Vec::new() };
        let mut held: BTreeMap<AmendedList, BTreeSet<&str>> = BTreeMap::new();
        let mut lacking: BTreeMap<AmendedList, BTreeSet<&str>> = BTreeMap::new();
        let mut wishes: BTreeMap<&Authority, Option<Need>> = BTreeMap::new();
        for claim in claims {
            match *claim {
                Claim::Holds(list, name) => _ = held.entry(list).or_default().insert(name),
                Claim::Lacks(list, name) => _ = lacking.entry(list).or_default().insert(name),
                Claim::Language(tag) => demands.add_language(layers, tag),
                Claim::Wishes(authority, need) => _ = wishes.insert(authority, Some(need)),
                Claim::DoesNotRequire(authority) => _ = wishes.insert(authority, None),
            }
        }
        for (list, names) in held {
            demands.add_required_names(layers, list, names);
        }
        for (list, names) in lacking {
            demands.add_absent_names(layers, list, &names);
        }
        demands.add_wishes(layers, &wishes);
        demands
    }

    fn add_required_names(&mut self, layers: &[ActiveLayer<'a>], list: AmendedList, mut names: BTreeSet<&'a str>) {
        let amends: Vec<_> =
            layers.iter().enumerate().filter_map(|(at, layer)| Some((at, list.of(layer.layer)?))).collect();
        // Without a replacement, every order yields the names that are written at all.
        if amends.iter().all(|(_, (replaces, _))| !replaces) {
            for name in amends.iter().flat_map(|(_, (_, written))| written) {
                names.remove(name);
            }
            if names.is_empty() {
                return;
            }
        }
        let mut held = RequiredNames::default();
        for (at, (replaces, written)) in amends {
            let written: BTreeSet<&str> = written.into_iter().filter(|name| names.contains(name)).collect();
            if replaces {
                held.replaces.insert(at, written.len());
                written.into_iter().for_each(|name| held.held_by.entry(name).or_default().push(at));
            } else {
                held.appends.insert(at, written);
            }
        }
        held.missing = names;
        self.lists.push(held);
    }

    /// Adds the demand that a list holds none of `names`. Only a replacement removes a written name, and
    /// the last replacement must hold none of them.
    fn add_absent_names(&mut self, layers: &[ActiveLayer<'a>], list: AmendedList, names: &BTreeSet<&str>) {
        let mut constraint = Constraint::default();
        for (at, layer) in layers.iter().enumerate() {
            let Some((replaces, written)) = list.of(layer.layer) else { continue };
            if written.iter().any(|name| names.contains(name)) {
                constraint.undone_by.push(at);
            } else if replaces {
                constraint.restored_by.push(at);
            }
        }
        self.constraints.push(constraint);
    }

    fn add_language(&mut self, layers: &[ActiveLayer<'a>], tag: &str) {
        let mut constraint = Constraint { needed: true, ..Constraint::default() };
        for (at, layer) in layers.iter().enumerate() {
            match &layer.layer.language {
                Some(written) if written.as_str() == tag => constraint.restored_by.push(at),
                Some(_) => constraint.undone_by.push(at),
                None => {}
            }
        }
        self.constraints.push(constraint);
    }

    /// Adds the demands of the claimed wishes. A layer applies its drops before its wishes, so a layer with
    /// both does not undo its own wish.
    fn add_wishes(&mut self, layers: &[ActiveLayer<'a>], wishes: &BTreeMap<&'a Authority, Option<Need>>) {
        /// The constraints of one authority.
        #[derive(Default)]
        struct WishConstraints {
            /// The authority is wished for with at least the claimed need.
            wished: Constraint,
            /// No layer requires the authority any more.
            not_required: Constraint,
        }
        let mut constraints: BTreeMap<&Authority, WishConstraints> =
            wishes.keys().map(|authority| (*authority, WishConstraints::default())).collect();
        for (at, layer) in layers.iter().enumerate() {
            // Within a layer, `required` wins over `optional`.
            let mut wished: BTreeMap<&Authority, Need> = BTreeMap::new();
            for wish in &layer.layer.wishes {
                let need = wished.entry(&wish.authority).or_insert(wish.need);
                *need = (*need).min(wish.need);
            }
            let dropped: BTreeSet<Authority> = layer.layer.drops.iter().flat_map(dropped_authorities).collect();
            let own = wished.iter().map(|(authority, need)| (*authority, Some(*need)));
            let others = dropped.iter().filter(|authority| !wished.contains_key(*authority));
            for (authority, need) in own.chain(others.map(|authority| (authority, None))) {
                let (Some(claimed), Some(of)) = (wishes.get(authority), constraints.get_mut(authority)) else {
                    continue;
                };
                let enough = match claimed {
                    Some(Need::Required) => need == Some(Need::Required),
                    _ => need.is_some(),
                };
                if enough {
                    of.wished.restored_by.push(at);
                } else if dropped.contains(authority) {
                    of.wished.undone_by.push(at);
                }
                if need == Some(Need::Required) {
                    of.not_required.undone_by.push(at);
                } else if dropped.contains(authority) {
                    of.not_required.restored_by.push(at);
                }
            }
        }
        for (authority, of) in constraints {
            let claimed = wishes.get(authority).copied().flatten();
            if claimed.is_some() {
                self.constraints.push(Constraint { needed: true, ..of.wished });
            }
            if claimed != Some(Need::Required) {
                self.constraints.push(of.not_required);
            }
        }
    }

    /// Returns `true` if an order of the layers meets every demand.
    fn can_be_met(self) -> bool {
        let mut order = Order::new(self);
        while let Some(layer) = order.ready.pop().or_else(|| order.last_replacement()) {
            order.place(layer);
        }
        order.is_complete()
    }
}

/// An order under construction, built from the last layer to the first.
struct Order<'a> {
    constraints: Vec<Constraint>,
    lists: Vec<RequiredNames<'a>>,
    /// For each constraint, `true` once a layer that restores its claim is placed.
    is_met: Vec<bool>,
    /// For each layer, the constraints that are met by placing it.
    restores: Vec<Vec<usize>>,
    /// For each layer, the number of constraints and lists that block it; `None` if the layer is placed.
    blocked: Vec<Option<usize>>,
    /// Layers that can be placed now.
    ready: Vec<usize>,
}

impl<'a> Order<'a> {
    fn new(demands: Demands<'a>) -> Self {
        let Demands { layers, constraints, lists } = demands;
        let mut blocked = vec![0usize; layers];
        let mut restores = vec![Vec::new(); layers];
        let block = |layers: &mut dyn Iterator<Item = &usize>, blocked: &mut Vec<usize>| {
            for at in layers {
                if let Some(count) = blocked.get_mut(*at) {
                    *count += 1;
                }
            }
        };
        for (index, constraint) in constraints.iter().enumerate() {
            block(&mut constraint.undone_by.iter(), &mut blocked);
            for at in &constraint.restored_by {
                if let Some(restores) = restores.get_mut(*at) {
                    restores.push(index);
                }
            }
        }
        for list in &lists {
            block(&mut list.replaces.keys(), &mut blocked);
        }
        let ready = (0..layers).filter(|at| blocked.get(*at) == Some(&0)).collect();
        let is_met = vec![false; constraints.len()];
        Self { constraints, lists, is_met, restores, blocked: blocked.into_iter().map(Some).collect(), ready }
    }

    /// Returns a layer that is blocked only by lists and holds all missing names of those lists. It becomes
    /// their last replacement, so the search succeeds at most once for each list.
    fn last_replacement(&self) -> Option<usize> {
        let mut fitting: BTreeMap<usize, usize> = BTreeMap::new();
        for list in self.lists.iter().filter(|list| !list.missing.is_empty()) {
            for (at, _) in list.replaces.iter().filter(|(_, holds)| **holds == list.missing.len()) {
                *fitting.entry(*at).or_default() += 1;
            }
        }
        fitting.into_iter().find(|(at, count)| self.blocked.get(*at) == Some(&Some(*count))).map(|(at, _)| at)
    }

    fn place(&mut self, layer: usize) {
        if let Some(blocked) = self.blocked.get_mut(layer) {
            *blocked = None;
        }
        let mut freed = Vec::new();
        for index in self.restores.get(layer).into_iter().flatten() {
            let (Some(is_met), Some(constraint)) = (self.is_met.get_mut(*index), self.constraints.get(*index)) else {
                continue;
            };
            if !std::mem::replace(is_met, true) {
                freed.extend(constraint.undone_by.iter().copied());
            }
        }
        for list in self.lists.iter_mut().filter(|list| !list.missing.is_empty()) {
            for name in list.appends.get(&layer).into_iter().flatten() {
                if list.missing.remove(name) {
                    for at in list.held_by.get(name).into_iter().flatten() {
                        if let Some(holds) = list.replaces.get_mut(at) {
                            *holds -= 1;
                        }
                    }
                }
            }
            if list.replaces.contains_key(&layer) {
                list.missing.clear();
            }
            if list.missing.is_empty() {
                freed.extend(list.replaces.keys().copied());
            }
        }
        for at in freed {
            if let Some(Some(blocked)) = self.blocked.get_mut(at) {
                *blocked = blocked.saturating_sub(1);
                if *blocked == 0 {
                    self.ready.push(at);
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.blocked.iter().all(Option::is_none)
            && self.lists.iter().all(|list| list.missing.is_empty())
            && self.constraints.iter().zip(&self.is_met).all(|(constraint, is_met)| *is_met || !constraint.needed)
    }
}

impl AmendedList {
    /// Returns `true` and the written names if the layer replaces the list, `false` and the names if the
    /// layer appends to it, and `None` if the layer does not change it.
    fn of(self, layer: &Layer) -> Option<(bool, Vec<&str>)> {
        fn written<T: AsRef<str>>(amend: Option<&Amend<T>>) -> Option<(bool, Vec<&str>)> {
            let amend = amend?;
            Some((matches!(amend, Amend::Replace(_)), amend.names().iter().map(AsRef::as_ref).collect()))
        }
        match self {
            Self::Models => written(layer.models.as_ref()),
            Self::Instructions => written(layer.instructions.as_ref()),
            Self::ToolsAllow => written(layer.tools_allow.as_ref()),
            Self::ToolsDeny => written(layer.tools_deny.as_ref()),
            Self::Plugins => written(layer.plugins.as_ref()),
            Self::Workflows => written(layer.workflows.as_ref()),
        }
    }
}

/// Returns the authorities that a drop removes. A drop of a mount or of git removes both accesses,
/// whichever it names.
fn dropped_authorities(dropped: &Authority) -> Vec<Authority> {
    const BOTH: [Access; 2] = [Access::Read, Access::Write];
    match dropped {
        Authority::Mount(label, _) => BOTH.map(|access| Authority::Mount(label.clone(), access)).into(),
        Authority::Git(_) => BOTH.map(Authority::Git).into(),
        Authority::Secret(_) | Authority::Egress(_) | Authority::Shell => vec![dropped.clone()],
    }
}
