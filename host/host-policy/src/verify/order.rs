//! Search for an order of the active layers that yields an answer.
//!
//! A resolver decides in which order layers apply, and the host does not repeat that decision. The
//! host refuses an answer that no order yields: for example one with a tool that every replacement of
//! the deny list names, or one without a required wish that no layer drops. So every claim of an
//! answer becomes a demand on the order, and all demands are tried together.
//!
//! The order is built from its end. A layer that would undo a claim may only be placed once a layer
//! that restores the claim is placed, which is later in the order. Placing a layer never hinders
//! another one, so placing whatever can be placed finds an order if there is one. The work is linear
//! in what the layers write.

use std::collections::{BTreeMap, BTreeSet};

use bundles::manifest::{Amend, Layer};
use bundles::{Access, Authority, Need};

use crate::reach::ActiveLayer;

/// A list of names that layers append to or replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    Models,
    Instructions,
    ToolsAllow,
    ToolsDeny,
    Plugins,
    Workflows,
}

/// Something that holds after the last layer, as an answer says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim<'a> {
    /// The list holds the name.
    Holds(List, &'a str),
    /// The list does not hold the name.
    Lacks(List, &'a str),
    /// The language is this one.
    Language(&'a str),
    /// The authority is asked for with this need.
    Asks(&'a Authority, Need),
    /// The authority is optional or not asked for.
    RequiresNot(&'a Authority),
}

/// Returns the index of the first claim that no order of the layers yields together with the claims
/// before it.
pub(super) fn first_impossible(layers: &[ActiveLayer<'_>], claims: &[Claim<'_>]) -> Option<usize> {
    let possible = |count: usize| Demands::of(layers, claims.get(..count).unwrap_or(claims)).can_be_met();
    if possible(claims.len()) {
        return None;
    }
    // Fewer claims demand less, so every number of claims below the one that is looked for is possible.
    let (mut met, mut unmet) = (0, claims.len());
    while unmet - met > 1 {
        let middle = met.midpoint(unmet);
        if possible(middle) { met = middle } else { unmet = middle }
    }
    Some(met)
}

/// Every layer of `undone_by` must stand before at least one layer of `restored_by`.
#[derive(Default)]
struct Rule {
    undone_by: Vec<usize>,
    restored_by: Vec<usize>,
    /// `true` if one of `restored_by` is needed even where nothing undoes the claim.
    needed: bool,
}

/// A list that must hold some names.
///
/// Of the replacements the last one decides: it must hold each name that no later layer appends. The
/// names that earlier ones leave out do not matter, which is why this is no [`Rule`] for each name.
#[derive(Default)]
struct Held<'a> {
    /// The names that no placed layer writes yet.
    missing: BTreeSet<&'a str>,
    /// Names that each layer appends.
    appends: BTreeMap<usize, BTreeSet<&'a str>>,
    /// The layers that replace the list, each with the number of missing names that it holds.
    replaces: BTreeMap<usize, usize>,
    /// The layers that replace the list by one that holds the name.
    held_by: BTreeMap<&'a str, Vec<usize>>,
}

/// Demands of a set of claims on the order of the layers.
struct Demands<'a> {
    layers: usize,
    rules: Vec<Rule>,
    lists: Vec<Held<'a>>,
}

impl<'a> Demands<'a> {
    fn of(layers: &[ActiveLayer<'a>], claims: &[Claim<'a>]) -> Self {
        let mut demands = Self { layers: layers.len(), rules: Vec::new(), lists: Vec::new() };
        let mut held: BTreeMap<List, BTreeSet<&str>> = BTreeMap::new();
        let mut lacking: BTreeMap<List, BTreeSet<&str>> = BTreeMap::new();
        let mut wishes: BTreeMap<&Authority, Option<Need>> = BTreeMap::new();
        for claim in claims {
            match *claim {
                Claim::Holds(list, name) => _ = held.entry(list).or_default().insert(name),
                Claim::Lacks(list, name) => _ = lacking.entry(list).or_default().insert(name),
                Claim::Language(tag) => demands.language(layers, tag),
                Claim::Asks(authority, need) => _ = wishes.insert(authority, Some(need)),
                Claim::RequiresNot(authority) => _ = wishes.insert(authority, None),
            }
        }
        for (list, names) in held {
            demands.hold(layers, list, names);
        }
        for (list, names) in lacking {
            demands.lack(layers, list, &names);
        }
        demands.wish(layers, &wishes);
        demands
    }

    fn hold(&mut self, layers: &[ActiveLayer<'a>], list: List, names: BTreeSet<&'a str>) {
        let mut held = Held::default();
        for (at, layer) in layers.iter().enumerate() {
            let Some((replaces, written)) = list.of(layer.layer) else { continue };
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

    /// A name that is written goes away only by a replacement, and the last replacement must hold none
    /// of the names.
    fn lack(&mut self, layers: &[ActiveLayer<'a>], list: List, names: &BTreeSet<&str>) {
        let mut rule = Rule::default();
        for (at, layer) in layers.iter().enumerate() {
            let Some((replaces, written)) = list.of(layer.layer) else { continue };
            if written.iter().any(|name| names.contains(name)) {
                rule.undone_by.push(at);
            } else if replaces {
                rule.restored_by.push(at);
            }
        }
        self.rules.push(rule);
    }

    fn language(&mut self, layers: &[ActiveLayer<'a>], tag: &str) {
        let mut rule = Rule { needed: true, ..Rule::default() };
        for (at, layer) in layers.iter().enumerate() {
            match &layer.layer.language {
                Some(written) if written.as_str() == tag => rule.restored_by.push(at),
                Some(_) => rule.undone_by.push(at),
                None => {}
            }
        }
        self.rules.push(rule);
    }

    /// A layer drops before it asks: one that does both does not undo what it asks for.
    fn wish(&mut self, layers: &[ActiveLayer<'a>], wishes: &BTreeMap<&'a Authority, Option<Need>>) {
        /// Rules for the authority to be asked for, and for nothing to require it any more.
        #[derive(Default)]
        struct Of {
            asked: Rule,
            not_required: Rule,
        }
        let mut rules: BTreeMap<&Authority, Of> = wishes.keys().map(|authority| (*authority, Of::default())).collect();
        for (at, layer) in layers.iter().enumerate() {
            // Required wins within a layer, too.
            let mut asked: BTreeMap<&Authority, Need> = BTreeMap::new();
            for wish in &layer.layer.wishes {
                let need = asked.entry(&wish.authority).or_insert(wish.need);
                *need = (*need).min(wish.need);
            }
            let dropped: BTreeSet<Authority> = layer.layer.drops.iter().flat_map(taken_back).collect();
            let own = asked.iter().map(|(authority, need)| (*authority, Some(*need)));
            let others = dropped.iter().filter(|authority| !asked.contains_key(*authority));
            for (authority, need) in own.chain(others.map(|authority| (authority, None))) {
                let (Some(claimed), Some(of)) = (wishes.get(authority), rules.get_mut(authority)) else { continue };
                let enough = match claimed {
                    Some(Need::Required) => need == Some(Need::Required),
                    _ => need.is_some(),
                };
                if enough {
                    of.asked.restored_by.push(at);
                } else if dropped.contains(authority) {
                    of.asked.undone_by.push(at);
                }
                if need == Some(Need::Required) {
                    of.not_required.undone_by.push(at);
                } else if dropped.contains(authority) {
                    of.not_required.restored_by.push(at);
                }
            }
        }
        for (authority, of) in rules {
            let claimed = wishes.get(authority).copied().flatten();
            if claimed.is_some() {
                self.rules.push(Rule { needed: true, ..of.asked });
            }
            if claimed != Some(Need::Required) {
                self.rules.push(of.not_required);
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

/// An order while it is built, the last layer first.
struct Order<'a> {
    rules: Vec<Rule>,
    lists: Vec<Held<'a>>,
    is_met: Vec<bool>,
    /// The rules that each layer meets when it is placed.
    restores: Vec<Vec<usize>>,
    /// Number of rules and lists that forbid placing each layer; `None` for a layer that is placed.
    blocked: Vec<Option<usize>>,
    /// Layers that nothing forbids placing.
    ready: Vec<usize>,
}

impl<'a> Order<'a> {
    fn new(demands: Demands<'a>) -> Self {
        let Demands { layers, rules, lists } = demands;
        let mut blocked = vec![0usize; layers];
        let mut restores = vec![Vec::new(); layers];
        let block = |layers: &mut dyn Iterator<Item = &usize>, blocked: &mut Vec<usize>| {
            for at in layers {
                if let Some(count) = blocked.get_mut(*at) {
                    *count += 1;
                }
            }
        };
        for (index, rule) in rules.iter().enumerate() {
            block(&mut rule.undone_by.iter(), &mut blocked);
            for at in &rule.restored_by {
                if let Some(restores) = restores.get_mut(*at) {
                    restores.push(index);
                }
            }
        }
        for list in &lists {
            block(&mut list.replaces.keys(), &mut blocked);
        }
        let ready = (0..layers).filter(|at| blocked.get(*at) == Some(&0)).collect();
        let is_met = vec![false; rules.len()];
        Self { rules, lists, is_met, restores, blocked: blocked.into_iter().map(Some).collect(), ready }
    }

    /// Returns a layer that only lists forbid to place and that holds all that those lists miss. It becomes the
    /// last one that replaces them, so this is looked for at most once a list.
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
        for rule in self.restores.get(layer).into_iter().flatten() {
            let (Some(is_met), Some(rule)) = (self.is_met.get_mut(*rule), self.rules.get(*rule)) else { continue };
            if !std::mem::replace(is_met, true) {
                freed.extend(rule.undone_by.iter().copied());
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
            && self.rules.iter().zip(&self.is_met).all(|(rule, is_met)| *is_met || !rule.needed)
    }
}

impl List {
    /// Returns whether a layer replaces the list, and the names that it writes.
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

/// Returns what a drop takes back: of a mount and of git both accesses, whichever is named.
fn taken_back(dropped: &Authority) -> Vec<Authority> {
    const BOTH: [Access; 2] = [Access::Read, Access::Write];
    match dropped {
        Authority::Mount(label, _) => BOTH.map(|access| Authority::Mount(label.clone(), access)).into(),
        Authority::Git(_) => BOTH.map(Authority::Git).into(),
        Authority::Secret(_) | Authority::Egress(_) | Authority::Shell => vec![dropped.clone()],
    }
}
