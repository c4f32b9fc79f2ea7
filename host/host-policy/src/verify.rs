//! Verification of a resolver's answer. The host does not trust a resolver.
//!
//! Every value of a [`Proposal`] must be written by an active layer, every name must be declared by
//! the bundle, and every value must have exactly one origin: a layer that wrote it. The resolver
//! decides order, precedence and choice; it cannot add authority. A violation yields
//! [`InvalidAnswer`] and grants nothing.

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

use order::{AmendedList, Claim};

pub use failure::verify_failure;

/// Error returned for a resolver's answer that fails verification.
///
/// The text uses only words of the host and of the bundle. A resolver has seen the facts, and text of
/// its own could carry them into a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid `{field}` in the resolver's answer: {problem}")]
pub struct InvalidAnswer {
    /// JSON pointer into the resolution. `/` stands for the whole answer and `/failure` for a reported failure.
    pub field: String,
    /// The problem, in a few words.
    pub problem: String,
}

impl InvalidAnswer {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// Verifies an answer and returns a resolution or a confirmed failure.
pub fn verify_answer(
    manifest: &Manifest,
    facts: &Facts,
    request: &Request,
    limits: &BundleLimits,
    answer: Result<Proposal, ProposedFailure>,
) -> Result<Result<Resolution, crate::Failure>, InvalidAnswer> {
    match answer {
        Ok(proposal) => verify(manifest, facts, request, limits, proposal).map(Ok),
        Err(failure) => verify_failure(manifest, facts, request, &failure).map(Err),
    }
}

/// Verifies a proposal under the limits that the bundle was opened with.
///
/// The host then adds the digests of the prompts, the bundle's language if no layer sets one, and the
/// chosen model's secret as a required wish.
pub fn verify(
    manifest: &Manifest,
    facts: &Facts,
    request: &Request,
    limits: &BundleLimits,
    mut proposal: Proposal,
) -> Result<Resolution, InvalidAnswer> {
    let reach = Reach::of(manifest, request.profile(), facts)
        .map_err(|_| InvalidAnswer::new("/lineage", "the bundle has no such profile"))?;
    if let Some(lacking) = request.required_capabilities().iter().find(|name| !facts.capabilities.contains(*name)) {
        return Err(InvalidAnswer::new("/", format!("the facts lack the required capability `{lacking}`")));
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
            written
                .cloned()
                .ok_or_else(|| InvalidAnswer::new("/language", "its origin does not write this language"))?
        }
    };
    let mut wishes = check.wishes()?;
    check.order(&wishes)?;
    settings::check(&mut check, &settings)?;
    check.all_used()?;

    let mut origins = remap_origins(&reach, proposal.origins, &wishes);
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
    /// Number of origins that were looked up.
    used: usize,
    /// Index after the origin that was found last. It saves most searches: fields are mostly looked up in sorted order.
    next: usize,
}

impl<'a> Check<'a> {
    /// Returns the layer named by the only origin of `field`.
    fn origin(&mut self, field: &str) -> Result<ActiveLayer<'a>, InvalidAnswer> {
        let origins = &self.proposal.origins;
        let names = |at: usize| origins.get(at).filter(|origin| origin.field == field);
        let at = match names(self.next) {
            Some(_) => self.next,
            None => origins.partition_point(|origin| origin.field.as_str() < field),
        };
        let origin = names(at).ok_or_else(|| InvalidAnswer::new(field, "no origin is given"))?;
        if names(at + 1).is_some() {
            return Err(InvalidAnswer::new(field, "more than one origin is given"));
        }
        self.next = at + 1;
        self.used += 1;
        let layer = self.reach.layer(&origin.profile, origin.layer);
        layer.ok_or_else(|| InvalidAnswer::new(field, "its origin is not an active layer"))
    }

    /// Checks that every origin belongs to an existing field.
    fn all_used(&self) -> Result<(), InvalidAnswer> {
        if self.used == self.proposal.origins.len() {
            return Ok(());
        }
        Err(InvalidAnswer::new("/origins", "an origin refers to a field that does not exist"))
    }

    fn lineage(&self, request: &Request) -> Result<Vec<bundles::ProfileName>, InvalidAnswer> {
        let at = |index: usize| format!("/lineage/{index}");
        if self.proposal.lineage.first().map(String::as_str) != Some(request.profile().as_str()) {
            return Err(InvalidAnswer::new("/lineage", "the first entry is not the selected profile"));
        }
        let mut seen = BTreeSet::new();
        let mut lineage = Vec::with_capacity(self.proposal.lineage.len());
        for (index, name) in self.proposal.lineage.iter().enumerate() {
            let profile = self
                .reach
                .profile(name)
                .ok_or_else(|| InvalidAnswer::new(at(index), "not an ancestor of the selected profile"))?;
            if !seen.insert(profile) {
                return Err(InvalidAnswer::new(at(index), format!("duplicate entry `{profile}`")));
            }
            lineage.push(profile.clone());
        }
        Ok(lineage)
    }

    fn model(&mut self, manifest: &Manifest, facts: &Facts, name: &str) -> Result<bundles::ModelName, InvalidAnswer> {
        let layer = self.origin("/model")?;
        let undeclared = || InvalidAnswer::new("/model", "not declared by the bundle");
        let (name, _) = manifest.models.get_key_value(name).ok_or_else(undeclared)?;
        if !writes(layer.layer.models.as_ref(), name.as_str()) {
            return Err(InvalidAnswer::new("/model", format!("its origin does not write `{name}`")));
        }
        if !facts.models.contains(name) {
            return Err(InvalidAnswer::new("/model", format!("the host does not offer `{name}`")));
        }
        Ok(name.clone())
    }

    /// Checks a list of names: each must be declared, occur once, and be written by its origin.
    fn list<T: AsRef<str> + 'a, R>(
        &mut self,
        field: &'static str,
        names: &'a [String],
        written: impl Fn(&'a Layer) -> Option<&'a Amend<T>>,
        declared: impl Fn(&str) -> Option<R>,
    ) -> Result<Vec<R>, InvalidAnswer> {
        let mut seen = BTreeSet::new();
        let mut list = Vec::with_capacity(names.len());
        let mut at = String::new();
        for (index, name) in names.iter().enumerate() {
            set_element_pointer(&mut at, field, index);
            let Some(known) = declared(name) else {
                return Err(InvalidAnswer::new(at, "not declared by the bundle"));
            };
            let origin = self.origin(&at)?;
            if !writes(written(origin.layer), name) {
                return Err(InvalidAnswer::new(at, format!("its origin does not write `{name}`")));
            }
            if !seen.insert(name.as_str()) {
                return Err(InvalidAnswer::new(at, format!("duplicate entry `{name}`")));
            }
            list.push(known);
        }
        Ok(list)
    }

    /// Checks that some order of the active layers yields the whole answer. The resolver chooses the order.
    ///
    /// The answer may omit values that the order yields, except required wishes.
    fn order(&self, wishes: &[(Wish, usize)]) -> Result<(), InvalidAnswer> {
        let proposal = self.proposal;
        // Each with its field, and its index in the field. The pointer is only needed for a refusal.
        let mut claims: Vec<(Claim<'_>, &str, Option<usize>)> = Vec::new();
        if let Some(tag) = &proposal.language {
            claims.push((Claim::Language(tag), "/language", None));
        }
        if let Some(model) = &proposal.model {
            claims.push((Claim::Holds(AmendedList::Models, model), "/model", None));
        }
        let lists = [
            (AmendedList::Instructions, "/instructions", &proposal.instructions),
            (AmendedList::ToolsAllow, "/tools", &proposal.tools),
            (AmendedList::Plugins, "/plugins", &proposal.plugins),
            (AmendedList::Workflows, "/workflows", &proposal.workflows),
        ];
        for (list, field, names) in lists {
            for (index, name) in names.iter().enumerate() {
                claims.push((Claim::Holds(list, name), field, Some(index)));
                if list == AmendedList::ToolsAllow {
                    claims.push((Claim::Lacks(AmendedList::ToolsDeny, name), field, Some(index)));
                }
            }
        }
        for (wish, index) in wishes {
            claims.push((Claim::Wishes(&wish.authority, wish.need), "/wishes", Some(*index)));
        }
        let mut required: BTreeSet<&Authority> = BTreeSet::new();
        for layer in self.reach.layers() {
            let wishes = layer.layer.wishes.iter().filter(|wish| wish.need == Need::Required);
            required.extend(wishes.map(|wish| &wish.authority));
        }
        for (wish, _) in wishes {
            required.remove(&wish.authority);
        }
        claims.extend(required.into_iter().map(|authority| (Claim::DoesNotRequire(authority), "/wishes", None)));

        let demands: Vec<Claim<'_>> = claims.iter().map(|(claim, ..)| *claim).collect();
        let Some(index) = order::first_impossible(self.reach.layers(), &demands) else { return Ok(()) };
        let (claim, field, element) = claims.swap_remove(index);
        let at = element.map_or_else(|| field.to_owned(), |element| format!("{field}/{element}"));
        Err(match claim {
            Claim::DoesNotRequire(authority) => {
                InvalidAnswer::new(at, format!("the required wish `{authority}` is missing, and no layer drops it"))
            }
            Claim::Lacks(..) => {
                InvalidAnswer::new(at, "denied under every order of the layers that yields the preceding values")
            }
            _ => InvalidAnswer::new(at, "no order of the active layers yields it together with the preceding values"),
        })
    }

    /// Returns the sorted wishes, each with its index in the proposal.
    fn wishes(&mut self) -> Result<Vec<(Wish, usize)>, InvalidAnswer> {
        let mut wishes = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, (text, need)) in self.proposal.wishes.iter().enumerate() {
            let at = format!("/wishes/{index}");
            let authority: Authority =
                text.parse().map_err(|_| InvalidAnswer::new(at.clone(), "not a valid authority"))?;
            let origin = self.origin(&at)?;
            // The need may come from another layer than the one that changed the wish last. The access is part of the
            // authority: a wish for writing a mount is not a wish for reading it.
            let requests = |layer: &Layer, need: Need| {
                layer.wishes.iter().any(|wish| wish.need == need && wish.authority == authority)
            };
            if !requests(origin.layer, Need::Required) && !requests(origin.layer, Need::Optional) {
                return Err(InvalidAnswer::new(at, "its origin does not contain this wish"));
            }
            if !self.reach.layers().iter().any(|layer| requests(layer.layer, *need)) {
                return Err(InvalidAnswer::new(at, format!("no active layer contains `{authority}` with this need")));
            }
            // Checked inside the loop because the guest chooses the number of repetitions.
            if !seen.insert(authority.clone()) {
                return Err(InvalidAnswer::new(at, format!("duplicate entry `{authority}`")));
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

/// Sets `at` to the JSON pointer of a list element. The elements of a list share one buffer.
fn set_element_pointer(at: &mut String, field: &str, index: usize) {
    at.clear();
    // Writing to a string cannot fail.
    let _ = write!(at, "{field}/{index}");
}

/// Converts origins to the host's types. The index of a wish becomes its index after sorting.
fn remap_origins(reach: &Reach<'_>, proposed: Vec<ProposedOrigin>, wishes: &[(Wish, usize)]) -> Vec<Origin> {
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

/// Adds the chosen model's secret as a required wish. Its origin is the layer that set the model, unless
/// a layer itself requires the secret.
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
