//! The host does not believe a resolver.
//!
//! Every word of a [`Proposal`] must have been written by a layer that the host itself finds
//! reachable and active, every name must be declared, every value must have one origin, and that
//! origin must be a layer that wrote it. Order, precedence and choice are the resolver's; authority
//! is not. What fails is [`Misbehaved`], never a grant.

mod failure;
mod order;
mod settings;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bundles::manifest::{Amend, Layer, Manifest};
use bundles::{Authority, BundleLimits, Need, Pointer, SecretRef, Wish};

use crate::facts::Facts;
use crate::reach::{ActiveLayer, Reach};
use crate::request::Request;
use crate::resolution::{Instruction, Origin, Proposal, ProposedFailure, ProposedOrigin, Resolution};

use order::{Claim, List};

pub use failure::verify_failure;

/// What a resolver said that is not so. The text says what and where, in the host's words and the
/// bundle's: a resolver has seen the facts, and what it makes up could carry them to a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the resolver's `{field}` {problem}")]
pub struct Misbehaved {
    /// JSON pointer into the resolution; `/` and a word for what is no field of it.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Misbehaved {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// What a resolver answered, checked: a resolution, or a failure that the host has found as well.
pub fn verify_answer(
    manifest: &Manifest,
    facts: &Facts,
    request: &Request,
    limits: &BundleLimits,
    answer: Result<Proposal, ProposedFailure>,
) -> Result<Result<Resolution, crate::Failure>, Misbehaved> {
    match answer {
        Ok(proposal) => verify(manifest, facts, request, limits, proposal).map(Ok),
        Err(failure) => verify_failure(manifest, facts, request, &failure).map(Err),
    }
}

/// Checks every word of a proposal under the limits that the bundle was opened with, and adds what is the host's to add: digests, the bundle's
/// language where no layer says one, the chosen model's secret as a required wish.
pub fn verify(
    manifest: &Manifest,
    facts: &Facts,
    request: &Request,
    limits: &BundleLimits,
    mut proposal: Proposal,
) -> Result<Resolution, Misbehaved> {
    let reach = Reach::of(manifest, request.profile(), facts)
        .map_err(|_| Misbehaved::new("/lineage", "answers for a profile that the bundle does not have"))?;
    if let Some(lacking) = request.required_capabilities().iter().find(|name| !facts.capabilities.contains(*name)) {
        return Err(Misbehaved::new(
            "/",
            format!("passes over the required capability `{lacking}`, which the facts lack"),
        ));
    }
    let settings = settings::read(&proposal.settings, limits)?;
    proposal.origins.sort_unstable_by(|one, two| one.field.cmp(&two.field));
    let mut check = Check { reach: &reach, proposal: &proposal, used: 0, next: 0 };

    let lineage = check.lineage(request)?;
    let model = match &proposal.model {
        None => None,
        Some(name) => Some(check.model(manifest, facts, name)?),
    };
    let instructions = check.list(
        "/instructions",
        &proposal.instructions,
        |layer| layer.instructions.as_ref(),
        |name| {
            let (name, prompt) = manifest.prompts.get_key_value(name)?;
            Some(Instruction { name: name.clone(), digest: prompt.text.digest })
        },
    )?;
    let tools = check.list(
        "/tools",
        &proposal.tools,
        |layer| layer.tools_allow.as_ref(),
        |name| manifest.tools.get_key_value(name).map(|(name, _)| name.clone()),
    )?;
    let plugins = check.list(
        "/plugins",
        &proposal.plugins,
        |layer| layer.plugins.as_ref(),
        |name| manifest.plugins.get_key_value(name).map(|(name, _)| name.clone()),
    )?;
    let workflows = check.list(
        "/workflows",
        &proposal.workflows,
        |layer| layer.workflows.as_ref(),
        |name| manifest.workflows.get_key_value(name).map(|(name, _)| name.clone()),
    )?;
    let language = match &proposal.language {
        None => manifest.language.clone(),
        Some(text) => {
            let layer = check.origin("/language")?;
            let written = layer.layer.language.as_ref().filter(|tag| tag.as_str() == text);
            written.cloned().ok_or_else(|| Misbehaved::new("/language", "is not what its origin says"))?
        }
    };
    let mut wishes = check.wishes()?;
    check.order(&wishes)?;
    settings::check(&mut check, &settings)?;
    check.all_used()?;

    let mut origins = remapped(&reach, proposal.origins, &wishes);
    let secret = model.as_ref().and_then(|model| manifest.models.get(model)).and_then(|model| model.secret.as_ref());
    if let Some(secret) = secret {
        require_secret(secret, &mut wishes, &mut origins);
    }
    origins.sort();
    let wishes = wishes.into_iter().map(|(wish, _)| wish).collect();
    Ok(Resolution { lineage, model, instructions, tools, plugins, workflows, language, wishes, settings, origins })
}

struct Check<'a> {
    reach: &'a Reach<'a>,
    proposal: &'a Proposal,
    used: usize,
    /// Where the origin after the last found one is. Fields are mostly looked up in their order.
    next: usize,
}

impl<'a> Check<'a> {
    /// The layer that the one origin of `field` names.
    fn origin(&mut self, field: &str) -> Result<ActiveLayer<'a>, Misbehaved> {
        let origins = &self.proposal.origins;
        let names = |at: usize| origins.get(at).filter(|origin| origin.field == field);
        let at = match names(self.next) {
            Some(_) => self.next,
            None => origins.partition_point(|origin| origin.field.as_str() < field),
        };
        let origin = names(at).ok_or_else(|| Misbehaved::new(field, "has no origin"))?;
        if names(at + 1).is_some() {
            return Err(Misbehaved::new(field, "has more than one origin"));
        }
        self.next = at + 1;
        self.used += 1;
        let layer = self.reach.layer(&origin.profile, origin.layer);
        layer.ok_or_else(|| Misbehaved::new(field, "names a layer as its origin that does not count here"))
    }

    /// Every origin must have belonged to a field that is there.
    fn all_used(&self) -> Result<(), Misbehaved> {
        if self.used == self.proposal.origins.len() {
            return Ok(());
        }
        Err(Misbehaved::new("/origins", "speaks of fields that the resolution does not have"))
    }

    fn lineage(&self, request: &Request) -> Result<Vec<bundles::ProfileName>, Misbehaved> {
        let at = |index: usize| format!("/lineage/{index}");
        if self.proposal.lineage.first().map(String::as_str) != Some(request.profile().as_str()) {
            return Err(Misbehaved::new("/lineage", "does not begin with the selected profile"));
        }
        let mut seen = BTreeSet::new();
        let mut lineage = Vec::with_capacity(self.proposal.lineage.len());
        for (index, name) in self.proposal.lineage.iter().enumerate() {
            let profile = self
                .reach
                .profile(name)
                .ok_or_else(|| Misbehaved::new(at(index), "is no ancestor of the selected profile"))?;
            if !seen.insert(profile) {
                return Err(Misbehaved::new(at(index), format!("`{profile}` stands there twice")));
            }
            lineage.push(profile.clone());
        }
        Ok(lineage)
    }

    fn model(&mut self, manifest: &Manifest, facts: &Facts, name: &str) -> Result<bundles::ModelName, Misbehaved> {
        let layer = self.origin("/model")?;
        let undeclared = || Misbehaved::new("/model", "is not declared by the bundle");
        let (name, _) = manifest.models.get_key_value(name).ok_or_else(undeclared)?;
        if !writes(layer.layer.models.as_ref(), name.as_str()) {
            return Err(Misbehaved::new("/model", format!("`{name}` is not written by its origin")));
        }
        if !facts.models.contains(name) {
            return Err(Misbehaved::new("/model", format!("`{name}` is not offered by the host")));
        }
        Ok(name.clone())
    }

    /// A list of names: each declared, each written by the layer that is its origin, none twice.
    fn list<T: AsRef<str> + 'a, R>(
        &mut self,
        field: &'static str,
        names: &'a [String],
        written: impl Fn(&'a Layer) -> Option<&'a Amend<T>>,
        declared: impl Fn(&str) -> Option<R>,
    ) -> Result<Vec<R>, Misbehaved> {
        let mut seen = BTreeSet::new();
        let mut list = Vec::with_capacity(names.len());
        let mut at = String::new();
        for (index, name) in names.iter().enumerate() {
            element(&mut at, field, index);
            let Some(known) = declared(name) else {
                return Err(Misbehaved::new(at, "is not declared by the bundle"));
            };
            let origin = self.origin(&at)?;
            if !writes(written(origin.layer), name) {
                return Err(Misbehaved::new(at, format!("`{name}` is not written by its origin")));
            }
            if !seen.insert(name.as_str()) {
                return Err(Misbehaved::new(at, format!("`{name}` stands there twice")));
            }
            list.push(known);
        }
        Ok(list)
    }

    /// One order of the layers must yield the whole answer. Which order that is remains the resolver's to decide.
    ///
    /// What an order yields beside the answer may be left out, but for a required wish.
    fn order(&self, wishes: &[(Wish, usize)]) -> Result<(), Misbehaved> {
        let proposal = self.proposal;
        let mut claims: Vec<(Claim<'_>, String)> = Vec::new();
        if let Some(tag) = &proposal.language {
            claims.push((Claim::Language(tag), "/language".to_owned()));
        }
        if let Some(model) = &proposal.model {
            claims.push((Claim::Holds(List::Models, model), "/model".to_owned()));
        }
        let lists = [
            (List::Instructions, "/instructions", &proposal.instructions),
            (List::ToolsAllow, "/tools", &proposal.tools),
            (List::Plugins, "/plugins", &proposal.plugins),
            (List::Workflows, "/workflows", &proposal.workflows),
        ];
        for (list, field, names) in lists {
            for (index, name) in names.iter().enumerate() {
                claims.push((Claim::Holds(list, name), format!("{field}/{index}")));
                if list == List::ToolsAllow {
                    claims.push((Claim::Lacks(List::ToolsDeny, name), format!("{field}/{index}")));
                }
            }
        }
        for (wish, index) in wishes {
            claims.push((Claim::Asks(&wish.authority, wish.need), format!("/wishes/{index}")));
        }
        let mut required: BTreeSet<&Authority> = BTreeSet::new();
        for layer in self.reach.layers() {
            let wishes = layer.layer.wishes.iter().filter(|wish| wish.need == Need::Required);
            required.extend(wishes.map(|wish| &wish.authority));
        }
        for (wish, _) in wishes {
            required.remove(&wish.authority);
        }
        claims.extend(required.into_iter().map(|authority| (Claim::RequiresNot(authority), "/wishes".to_owned())));

        let demands: Vec<Claim<'_>> = claims.iter().map(|(claim, _)| *claim).collect();
        let Some(index) = order::first_impossible(self.reach.layers(), &demands) else { return Ok(()) };
        Err(match claims.swap_remove(index) {
            (Claim::RequiresNot(authority), field) => {
                Misbehaved::new(field, format!("leave out `{authority}`, which is required and not dropped"))
            }
            (Claim::Lacks(..), field) => {
                Misbehaved::new(field, "is denied under every order of the layers that yields the values before it")
            }
            (_, field) => {
                Misbehaved::new(field, "follows from no order of the layers that count, given the values before it")
            }
        })
    }

    /// The wishes, sorted, each with the index that it had in the proposal.
    fn wishes(&mut self) -> Result<Vec<(Wish, usize)>, Misbehaved> {
        let mut wishes = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, (text, need)) in self.proposal.wishes.iter().enumerate() {
            let at = format!("/wishes/{index}");
            let authority: Authority = text.parse().map_err(|_| Misbehaved::new(at.clone(), "is no authority"))?;
            let origin = self.origin(&at)?;
            // The need may come from another layer than the one that changed the wish last. Access is part of the
            // authority: where only writing was asked for, nobody asked for reading.
            let asked = |layer: &Layer, need: Need| {
                layer.wishes.iter().any(|wish| wish.need == need && wish.authority == authority)
            };
            if !asked(origin.layer, Need::Required) && !asked(origin.layer, Need::Optional) {
                return Err(Misbehaved::new(at, "is not asked for by its origin"));
            }
            if !self.reach.layers().iter().any(|layer| asked(layer.layer, *need)) {
                return Err(Misbehaved::new(at, format!("`{authority}` is asked for with a need that nobody wrote")));
            }
            // Here and not at the end: how often a wish is repeated is a number of the guest's choice.
            if !seen.insert(authority.clone()) {
                return Err(Misbehaved::new(at, format!("`{authority}` stands there twice")));
            }
            wishes.push((Wish { authority, need: *need }, index));
        }
        wishes.sort();
        Ok(wishes)
    }
}

fn writes<T: AsRef<str>>(amend: Option<&Amend<T>>, name: &str) -> bool {
    amend.is_some_and(|amend| amend.names().iter().any(|written| written.as_ref() == name))
}

/// Makes `at` the pointer of a list's element. One text serves all elements of a list.
fn element(at: &mut String, field: &str, index: usize) {
    at.clear();
    // Writing to a string cannot fail.
    let _ = write!(at, "{field}/{index}");
}

/// Origins in the host's types. A wish's index is the one after sorting.
fn remapped(reach: &Reach<'_>, proposed: Vec<ProposedOrigin>, wishes: &[(Wish, usize)]) -> Vec<Origin> {
    let mut place = vec![0; wishes.len()];
    for (sorted, (_, proposed)) in wishes.iter().enumerate() {
        if let Some(place) = place.get_mut(*proposed) {
            *place = sorted;
        }
    }
    let origins = proposed.into_iter().filter_map(|origin| {
        let profile = reach.profile(&origin.profile)?.clone();
        let index = origin.field.strip_prefix("/wishes/").and_then(|index| index.parse::<usize>().ok());
        let field = match index.and_then(|index| place.get(index)) {
            Some(sorted) => format!("/wishes/{sorted}"),
            None => origin.field,
        };
        Some(Origin { field, profile, layer: origin.layer })
    });
    origins.collect()
}

/// The chosen model's secret is a required wish without being written as one. Its origin is the
/// layer that gave the model, unless a layer asks for the secret by itself.
fn require_secret(secret: &SecretRef, wishes: &mut Vec<(Wish, usize)>, origins: &mut Vec<Origin>) {
    let authority = Authority::Secret(secret.clone());
    let Some(model) = origins.iter().find(|origin| origin.field == "/model").cloned() else { return };
    let at = |index: usize| Pointer::root().key("wishes").index(index).as_str().to_owned();
    match wishes.binary_search_by(|(wish, _)| wish.authority.cmp(&authority)) {
        Ok(found) => {
            if let Some((wish, _)) = wishes.get_mut(found)
                && wish.need == Need::Optional
            {
                wish.need = Need::Required;
                origins.retain(|origin| origin.field != at(found));
                origins.push(Origin { field: at(found), ..model });
            }
        }
        Err(place) => {
            for origin in origins.iter_mut() {
                let index = origin.field.strip_prefix("/wishes/").and_then(|index| index.parse::<usize>().ok());
                if let Some(index) = index.filter(|index| *index >= place) {
                    origin.field = at(index + 1);
                }
            }
            wishes.insert(place, (Wish { authority, need: Need::Required }, usize::MAX));
            origins.push(Origin { field: at(place), ..model });
        }
    }
}
