//! Explanations of a resolution: for each value the layer that set it, the layers that did not prevail,
//! and the host's refusal; for each absent value the reason.
//!
//! The host itself computes which layers write a value, which layers are active and which names are
//! declared. The resolution's origins tell which layer prevailed.

mod subject;

use bundles::manifest::{Amend, Layer, Manifest};
use bundles::{Authority, Condition, ProfileName};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::enforce::Refusal;
use crate::facts::Facts;
use crate::resolution::{Origin, Resolution};

pub use subject::{InvalidQuestion, ListField, Question, Subject};

/// Explains the values of a resolution.
#[derive(Debug, Clone, Copy)]
pub struct Explainer<'a> {
    /// The bundle's manifest.
    pub manifest: &'a Manifest,
    /// The facts that the resolver received.
    pub facts: &'a Facts,
    /// The resolution to explain.
    pub resolution: &'a Resolution,
    /// The host's optional and required refusals; empty if nothing was enforced.
    pub refusals: &'a [Refusal],
}

/// The explanation of one present or absent value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The subject in words.
    pub subject: String,
    /// JSON pointer into the resolution, if the value is present.
    pub field: Option<String>,
    /// The value, if it is present.
    pub value: Option<Value>,
    /// `true` if the resolution has the value.
    pub present: bool,
    /// The layer that set the value.
    pub origin: Option<Origin>,
    /// All layers of the lineage that affect the subject, in the order in which they apply.
    pub layers: Vec<LayerEffect>,
    /// The host's refusal of the subject.
    pub refused: Option<Refusal>,
    /// The explanation in one sentence.
    pub verdict: String,
}

/// The effect of one layer on a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerEffect {
    /// Profile that contains the layer.
    pub profile: ProfileName,
    /// Index of the layer in its profile.
    pub layer: u32,
    /// The effect in words: `appends it`, `replaces the list without it`.
    pub says: String,
    /// `true` if the layer set the value.
    pub won: bool,
    /// The first condition that does not hold; `None` if the layer is active.
    pub unmet: Option<Condition>,
}

impl Explainer<'_> {
    /// Explains all values of the resolution.
    pub fn explain_all(&self) -> Vec<Explanation> {
        let resolution = self.resolution;
        let mut subjects = Vec::new();
        if resolution.model().is_some() {
            subjects.push(Subject::Model(None));
        }
        subjects.push(Subject::Language);
        for list in ListField::ALL {
            subjects.extend(list.names(resolution).into_iter().map(|name| Subject::Item(list, name.to_owned())));
        }
        subjects.extend(resolution.wishes().iter().map(|wish| Subject::Wish(wish.authority.clone())));
        let mut leaves = Vec::new();
        collect_leaves(resolution.settings(), "", &mut leaves);
        subjects.extend(leaves.into_iter().map(Subject::Setting));
        subjects.iter().map(|subject| self.subject(subject)).collect()
    }

    /// Explains the subject of a question. Returns `None` if the question is a pointer to a list element that
    /// does not exist.
    pub fn explain(&self, question: &Question) -> Option<Explanation> {
        let subject = match question {
            Question::Subject(subject) => subject.clone(),
            Question::Place(list, index) => {
                Subject::Item(*list, (*list.names(self.resolution).get(*index)?).to_owned())
            }
            Question::WishAt(index) => Subject::Wish(self.resolution.wishes().get(*index)?.authority.clone()),
        };
        Some(self.subject(&subject))
    }

    fn subject(&self, subject: &Subject) -> Explanation {
        let (field, value) = self.find(subject);
        let origin = field.as_deref().and_then(|field| self.resolution.origin(field)).cloned();
        let refused = self.refusals.iter().find(|refusal| refers_to(refusal, subject)).cloned();
        let mut layers = Vec::new();
        // Layers apply from the farthest ancestor to the profile itself.
        for profile in self.resolution.lineage().iter().rev() {
            let written =
                self.manifest.profiles.get(profile).map(|profile| profile.layers.as_slice()).unwrap_or_default();
            for (layer, index) in written.iter().zip(0u32..) {
                let Some(says) = effect(layer, subject, self.resolution) else { continue };
                let unmet = layer.when.iter().find(|condition| !self.facts.holds(condition)).cloned();
                let won = origin.as_ref().is_some_and(|origin| origin.profile == *profile && origin.layer == index);
                layers.push(LayerEffect { profile: profile.clone(), layer: index, says, won, unmet });
            }
        }
        let present = field.is_some();
        let mut explanation = Explanation {
            subject: subject.to_string(),
            field,
            value,
            present,
            origin,
            layers,
            refused,
            verdict: String::new(),
        };
        explanation.verdict = self.verdict(subject, &explanation);
        explanation
    }

    /// Returns the JSON pointer and the value of a subject, if it is present.
    fn find(&self, subject: &Subject) -> (Option<String>, Option<Value>) {
        let resolution = self.resolution;
        match subject {
            Subject::Model(wanted) => {
                let chosen =
                    resolution.model().filter(|name| wanted.as_deref().is_none_or(|wanted| wanted == name.as_str()));
                (chosen.map(|_| "/model".to_owned()), chosen.map(|name| Value::String(name.to_string())))
            }
            Subject::Language => (Some("/language".to_owned()), Some(Value::String(resolution.language().to_string()))),
            Subject::Item(list, name) => {
                let index = list.names(resolution).iter().position(|item| item == name);
                (index.map(|index| format!("/{}/{index}", list.field())), index.map(|_| Value::String(name.clone())))
            }
            Subject::Wish(authority) => {
                let index = resolution.wishes().iter().position(|wish| wish.authority == *authority);
                let wish = index.and_then(|index| resolution.wishes().get(index));
                (
                    index.map(|index| format!("/wishes/{index}")),
                    wish.and_then(|wish| serde_json::to_value(wish.need).ok()),
                )
            }
            Subject::Setting(pointer) => {
                let value = Value::Object(resolution.settings().clone()).pointer(pointer).cloned();
                (value.as_ref().map(|_| format!("/settings{pointer}")), value)
            }
        }
    }

    fn verdict(&self, subject: &Subject, explanation: &Explanation) -> String {
        let refused = explanation
            .refused
            .as_ref()
            .map(|refusal| format!("; not granted: {} [{}]", refusal.reason, refusal.rule.code()))
            .unwrap_or_default();
        if explanation.present {
            let from = match &explanation.origin {
                Some(origin) => format!("from `{}`, layer {}", origin.profile, origin.layer),
                None if *subject == Subject::Language => {
                    "from the bundle, because no active layer sets a language".to_owned()
                }
                None => "merged from several layers".to_owned(),
            };
            return format!("{from}{refused}");
        }
        if let Some(reason) = self.undeclared(subject) {
            return reason;
        }
        if let Some(reason) = self.included(subject) {
            return reason;
        }
        let is_active = |effect: &&LayerEffect| effect.unmet.is_none();
        match (explanation.layers.last(), explanation.layers.iter().rev().find(is_active)) {
            (None, _) => self.other_profiles(subject),
            (Some(inactive), None) => {
                let unmet = inactive.unmet.as_ref().map(Condition::to_string).unwrap_or_default();
                format!(
                    "absent: `{}`, layer {} {}, but its condition `{unmet}` does not hold on this host",
                    inactive.profile, inactive.layer, inactive.says
                )
            }
            (Some(_), Some(last)) => self.overridden(subject, last, &explanation.layers),
        }
    }

    /// Explains the absence of a subject that `last`, the last active layer of `layers`, affects.
    fn overridden(&self, subject: &Subject, last: &LayerEffect, layers: &[LayerEffect]) -> String {
        if let Subject::Model(Some(name)) = subject
            && last.says == "names it"
        {
            let chosen =
                self.resolution.model().map(|model| format!(", but `{model}` comes first")).unwrap_or_default();
            let offered = self.facts.models.contains(name.as_str());
            return if offered {
                format!("not chosen: the host offers it{chosen}")
            } else {
                "not chosen: this host does not offer it".to_owned()
            };
        }
        // A deny prevails over an allow in any layer.
        let decisive =
            layers.iter().rev().find(|effect| effect.unmet.is_none() && effect.says.contains("den")).unwrap_or(last);
        format!("absent: `{}`, layer {} {}", decisive.profile, decisive.layer, decisive.says)
    }

    /// Explains the absence of a name that the bundle does not declare.
    fn undeclared(&self, subject: &Subject) -> Option<String> {
        let manifest = self.manifest;
        let (kind, name, declared) = match subject {
            Subject::Model(Some(name)) => ("model", name, manifest.models.contains_key(name.as_str())),
            Subject::Item(list, name) => {
                let declared = match list {
                    ListField::Instructions => manifest.prompts.contains_key(name.as_str()),
                    ListField::Tools => manifest.tools.contains_key(name.as_str()),
                    ListField::Plugins => manifest.plugins.contains_key(name.as_str()),
                    ListField::Workflows => manifest.workflows.contains_key(name.as_str()),
                };
                (list.item_kind(), name, declared)
            }
            _ => return None,
        };
        (!declared).then(|| format!("absent: this bundle declares no {kind} `{}`", bundles::shown(name)))
    }

    /// Explains the absence of a wish that a wider wish includes.
    fn included(&self, subject: &Subject) -> Option<String> {
        let Subject::Wish(authority) = subject else { return None };
        let wider = self.resolution.wishes().iter().find(|wish| wish.authority.covers(authority))?;
        let verdict = self.subject(&Subject::Wish(wider.authority.clone())).verdict;
        Some(format!("included in `{}`, which is {verdict}", wider.authority))
    }

    /// Explains the absence of a subject that no layer of the lineage mentions. Names other profiles that do.
    fn other_profiles(&self, subject: &Subject) -> String {
        let mentions = |layers: &[Layer]| layers.iter().any(|layer| effect(layer, subject, self.resolution).is_some());
        let others: Vec<String> = self
            .manifest
            .profiles
            .iter()
            .filter(|(name, profile)| !self.resolution.lineage().contains(name) && mentions(&profile.layers))
            .map(|(name, _)| format!("`{name}`"))
            .take(3)
            .collect();
        match others.as_slice() {
            [] => "absent: no layer of any profile mentions it".to_owned(),
            names => {
                format!("absent: no layer of this lineage mentions it, only profiles outside it: {}", names.join(", "))
            }
        }
    }
}

fn refers_to(refusal: &Refusal, subject: &Subject) -> bool {
    match subject {
        Subject::Wish(authority) => refusal.subject == authority.to_string(),
        Subject::Item(ListField::Tools, name) => refusal.subject.strip_prefix("tool:") == Some(name),
        Subject::Item(ListField::Plugins, name) => refusal.subject.strip_prefix("plugin:") == Some(name),
        _ => false,
    }
}

/// Describes the effect of a layer on a subject; `None` if the layer does not mention the subject.
fn effect(layer: &Layer, subject: &Subject, resolution: &Resolution) -> Option<String> {
    match subject {
        Subject::Model(wanted) => {
            let name = wanted.as_deref().or_else(|| resolution.model().map(|name| name.as_str()));
            let amend = layer.models.as_ref()?;
            Some(match name {
                Some(name) => list_effect(amend, name, "names it", "names it in a new list")
                    .unwrap_or_else(|| format!("names {}", join(amend.names()))),
                None => format!("names {}", join(amend.names())),
            })
        }
        Subject::Language => layer.language.as_ref().map(|tag| format!("sets `{tag}`")),
        Subject::Item(ListField::Tools, name) => {
            let allow = layer
                .tools_allow
                .as_ref()
                .and_then(|amend| list_effect(amend, name, "allows it", "allows it in a new list"));
            let deny = layer.tools_deny.as_ref().and_then(|amend| match amend {
                Amend::Replace(names) if !names.iter().any(|denied| denied.as_str() == name) => {
                    Some("removes every earlier deny".to_owned())
                }
                amend => list_effect(amend, name, "denies it", "denies it in a new list"),
            });
            match (allow, deny) {
                (Some(allow), Some(deny)) => Some(format!("{allow} and {deny}")),
                (allow, deny) => allow.or(deny),
            }
        }
        Subject::Item(list, name) => match list {
            ListField::Instructions => layer
                .instructions
                .as_ref()
                .and_then(|amend| list_effect(amend, name, "appends it", "puts it into a new list")),
            ListField::Plugins => layer
                .plugins
                .as_ref()
                .and_then(|amend| list_effect(amend, name, "appends it", "puts it into a new list")),
            ListField::Workflows => layer
                .workflows
                .as_ref()
                .and_then(|amend| list_effect(amend, name, "appends it", "puts it into a new list")),
            ListField::Tools => None,
        },
        Subject::Wish(authority) => wish_effect(layer, authority),
        Subject::Setting(pointer) => setting_effect(&layer.settings, pointer),
    }
}

fn list_effect<T: AsRef<str>>(amend: &Amend<T>, name: &str, append: &str, replace: &str) -> Option<String> {
    let is_written = amend.names().iter().any(|written| written.as_ref() == name);
    match (amend, is_written) {
        (Amend::Append(_), true) => Some(append.to_owned()),
        (Amend::Replace(_), true) => Some(replace.to_owned()),
        (Amend::Replace(_), false) => Some("replaces the list without it".to_owned()),
        (Amend::Append(_), false) => None,
    }
}

fn wish_effect(layer: &Layer, authority: &Authority) -> Option<String> {
    let wished = layer.wishes.iter().find(|wish| wish.authority == *authority).map(|wish| match wish.need {
        bundles::Need::Required => "requires it",
        bundles::Need::Optional => "wishes for it",
    });
    let dropped = layer.drops.iter().any(|drop| drop.is_same_resource(authority)).then_some("drops it");
    match (dropped, wished) {
        (Some(dropped), Some(wished)) => Some(format!("{dropped} and then {wished}")),
        (dropped, wished) => dropped.or(wished).map(str::to_owned),
    }
}

fn setting_effect(settings: &Map<String, Value>, pointer: &str) -> Option<String> {
    let mut value = None;
    let mut map = Some(settings);
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        value = map?.get(&key);
        match value? {
            Value::Object(inner) => map = Some(inner),
            Value::Null => return Some("unsets it".to_owned()),
            _ => map = None,
        }
    }
    Some(match value? {
        Value::Object(_) => "sets parts of it".to_owned(),
        Value::Null => "unsets it".to_owned(),
        other => format!("sets {}", short(other)),
    })
}

/// Returns the value as JSON text, cut after 60 characters.
fn short(value: &Value) -> String {
    let text: String = value.to_string().chars().take(60).collect();
    text
}

fn join<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Appends the JSON pointers of all leaves below `at` to `leaves`. An empty object is a leaf.
fn collect_leaves(map: &Map<String, Value>, at: &str, leaves: &mut Vec<String>) {
    for (key, value) in map {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(inner) if !inner.is_empty() => collect_leaves(inner, &pointer, leaves),
            _ => leaves.push(pointer),
        }
    }
}
