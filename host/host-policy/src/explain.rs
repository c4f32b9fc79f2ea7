//! Why a worker is what it is: for every value the layer that gave it, the layers that lost, and
//! what the host narrowed; and for what is not there, why not.
//!
//! The account is the host's own: which layers write a value, which of them count here, what is
//! declared. Which of those won is what the resolution's origins say.

mod subject;

use bundles::manifest::{Amend, Layer, Manifest};
use bundles::{Authority, Condition, ProfileName};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::enforce::Refusal;
use crate::facts::Facts;
use crate::resolution::{Origin, Resolution};

pub use subject::{InvalidQuestion, List, Question, Subject};

/// What is to be explained, from which inputs.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// The bundle's manifest.
    pub manifest: &'a Manifest,
    /// The facts that the resolver was given.
    pub facts: &'a Facts,
    /// What came out.
    pub resolution: &'a Resolution,
    /// What the host refused, optional and required; empty where nothing was enforced.
    pub refusals: &'a [Refusal],
}

/// Why one value is there, or is not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What was asked about, in words.
    pub subject: String,
    /// Its pointer in the resolution, where it is there.
    pub field: Option<String>,
    /// The value, where there is one to show.
    pub value: Option<Value>,
    /// Whether the resolution has it.
    pub present: bool,
    /// The layer that gave it.
    pub origin: Option<Origin>,
    /// Every layer of the lineage that says something about it, in the order in which they apply.
    pub layers: Vec<LayerSays>,
    /// What the host refused of it.
    pub refused: Option<Refusal>,
    /// The answer in one sentence.
    pub verdict: String,
}

/// What one layer says about a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerSays {
    /// The layer's profile.
    pub profile: ProfileName,
    /// Its index among the profile's layers.
    pub layer: u32,
    /// What it does, in words: `appends it`, `replaces the list without it`.
    pub says: String,
    /// Whether it gave the value.
    pub won: bool,
    /// The first condition that does not hold here; none where the layer counts.
    pub unmet: Option<Condition>,
}

impl Account<'_> {
    /// Explains every value of the resolution, and everything that the host refused.
    pub fn all(&self) -> Vec<Explanation> {
        let resolution = self.resolution;
        let mut subjects = Vec::new();
        if resolution.model().is_some() {
            subjects.push(Subject::Model(None));
        }
        subjects.push(Subject::Language);
        for list in List::ALL {
            subjects.extend(list.names(resolution).into_iter().map(|name| Subject::Item(list, name.to_owned())));
        }
        subjects.extend(resolution.wishes().iter().map(|wish| Subject::Wish(wish.authority.clone())));
        let mut leaves = Vec::new();
        collect_leaves(resolution.settings(), "", &mut leaves);
        subjects.extend(leaves.into_iter().map(Subject::Setting));
        subjects.iter().map(|subject| self.subject(subject)).collect()
    }

    /// Explains one thing, or says that the resolution has no such place.
    pub fn question(&self, question: &Question) -> Option<Explanation> {
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
        // Applied from the farthest ancestor to the profile.
        for profile in self.resolution.lineage().iter().rev() {
            let written =
                self.manifest.profiles.get(profile).map(|profile| profile.layers.as_slice()).unwrap_or_default();
            for (layer, index) in written.iter().zip(0u32..) {
                let Some(says) = says(layer, subject, self.resolution) else { continue };
                let unmet = layer.when.iter().find(|condition| !self.facts.holds(condition)).cloned();
                let won = origin.as_ref().is_some_and(|origin| origin.profile == *profile && origin.layer == index);
                layers.push(LayerSays { profile: profile.clone(), layer: index, says, won, unmet });
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

    fn find(&self, subject: &Subject) -> (Option<String>, Option<Value>) {
        let resolution = self.resolution;
        match subject {
            Subject::Model(asked) => {
                let chosen =
                    resolution.model().filter(|name| asked.as_deref().is_none_or(|asked| asked == name.as_str()));
                (chosen.map(|_| "/model".to_owned()), chosen.map(|name| Value::String(name.to_string())))
            }
            Subject::Language => (Some("/language".to_owned()), Some(Value::String(resolution.language().to_string()))),
            Subject::Item(list, name) => {
                let index = list.names(resolution).iter().position(|there| there == name);
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
                    "from the bundle, because no layer that counts says one".to_owned()
                }
                None => "put together from several layers".to_owned(),
            };
            return format!("{from}{refused}");
        }
        if let Some(reason) = self.undeclared(subject) {
            return reason;
        }
        if let Some(reason) = self.included(subject) {
            return reason;
        }
        let counting = |says: &&LayerSays| says.unmet.is_none();
        match (explanation.layers.last(), explanation.layers.iter().rev().find(counting)) {
            (None, _) => self.elsewhere(subject),
            (Some(waiting), None) => {
                let unmet = waiting.unmet.as_ref().map(Condition::to_string).unwrap_or_default();
                format!(
                    "not there: `{}`, layer {} {}, but only where `{unmet}` holds, which it does not here",
                    waiting.profile, waiting.layer, waiting.says
                )
            }
            (Some(_), Some(last)) => self.lost(subject, last, &explanation.layers),
        }
    }

    fn lost(&self, subject: &Subject, last: &LayerSays, layers: &[LayerSays]) -> String {
        if let Subject::Model(Some(name)) = subject
            && last.says == "names it"
        {
            let chosen =
                self.resolution.model().map(|model| format!(", and `{model}` comes first")).unwrap_or_default();
            let offered = self.facts.models.contains(name.as_str());
            return if offered {
                format!("not chosen: the host offers it{chosen}")
            } else {
                "not chosen: this host does not offer it".to_owned()
            };
        }
        // A deny wins wherever it stands.
        let telling =
            layers.iter().rev().find(|says| says.unmet.is_none() && says.says.contains("den")).unwrap_or(last);
        format!("not there: `{}`, layer {} {}", telling.profile, telling.layer, telling.says)
    }

    fn undeclared(&self, subject: &Subject) -> Option<String> {
        let manifest = self.manifest;
        let (what, name, declared) = match subject {
            Subject::Model(Some(name)) => ("model", name, manifest.models.contains_key(name.as_str())),
            Subject::Item(list, name) => {
                let declared = match list {
                    List::Instructions => manifest.prompts.contains_key(name.as_str()),
                    List::Tools => manifest.tools.contains_key(name.as_str()),
                    List::Plugins => manifest.plugins.contains_key(name.as_str()),
                    List::Workflows => manifest.workflows.contains_key(name.as_str()),
                };
                (list.what(), name, declared)
            }
            _ => return None,
        };
        (!declared).then(|| format!("not there: this bundle declares no {what} `{}`", bundles::shown(name)))
    }

    /// A wish that is no wish of its own, because one for more is there.
    fn included(&self, subject: &Subject) -> Option<String> {
        let Subject::Wish(asked) = subject else { return None };
        let wider = self.resolution.wishes().iter().find(|wish| wish.authority.covers(asked))?;
        let verdict = self.subject(&Subject::Wish(wider.authority.clone())).verdict;
        Some(format!("not by itself: it is part of `{}`, which is {verdict}", wider.authority))
    }

    /// No layer of the lineage speaks of it; perhaps another profile does.
    fn elsewhere(&self, subject: &Subject) -> String {
        let speaks = |layers: &[Layer]| layers.iter().any(|layer| says(layer, subject, self.resolution).is_some());
        let others: Vec<String> = self
            .manifest
            .profiles
            .iter()
            .filter(|(name, profile)| !self.resolution.lineage().contains(name) && speaks(&profile.layers))
            .map(|(name, _)| format!("`{name}`"))
            .take(3)
            .collect();
        match others.as_slice() {
            [] => "not there: no layer of any profile speaks of it".to_owned(),
            names => format!(
                "not there: no layer of this lineage speaks of it; {} does, which it does not extend",
                names.join(" and ")
            ),
        }
    }
}

fn refers_to(refusal: &Refusal, subject: &Subject) -> bool {
    match subject {
        Subject::Wish(authority) => refusal.subject == authority.to_string(),
        Subject::Item(List::Tools, name) => refusal.subject.strip_prefix("tool:") == Some(name),
        Subject::Item(List::Plugins, name) => refusal.subject.strip_prefix("plugin:") == Some(name),
        _ => false,
    }
}

/// What a layer says about a subject, if it says anything.
fn says(layer: &Layer, subject: &Subject, resolution: &Resolution) -> Option<String> {
    match subject {
        Subject::Model(asked) => {
            let name = asked.as_deref().or_else(|| resolution.model().map(|name| name.as_str()));
            let amend = layer.models.as_ref()?;
            Some(match name {
                Some(name) => of_list(amend, name, "names it", "names it instead of what came before")
                    .unwrap_or_else(|| format!("names {}", join(amend.names()))),
                None => format!("names {}", join(amend.names())),
            })
        }
        Subject::Language => layer.language.as_ref().map(|tag| format!("says `{tag}`")),
        Subject::Item(List::Tools, name) => {
            let allow = layer
                .tools_allow
                .as_ref()
                .and_then(|amend| of_list(amend, name, "allows it", "allows it in a new list"));
            let deny = layer.tools_deny.as_ref().and_then(|amend| match amend {
                Amend::Replace(names) if !names.iter().any(|denied| denied.as_str() == name) => {
                    Some("lifts every earlier deny".to_owned())
                }
                amend => of_list(amend, name, "denies it", "denies it in a new list"),
            });
            match (allow, deny) {
                (Some(allow), Some(deny)) => Some(format!("{allow} and {deny}")),
                (allow, deny) => allow.or(deny),
            }
        }
        Subject::Item(list, name) => match list {
            List::Instructions => layer
                .instructions
                .as_ref()
                .and_then(|amend| of_list(amend, name, "appends it", "puts it into a new list")),
            List::Plugins => {
                layer.plugins.as_ref().and_then(|amend| of_list(amend, name, "appends it", "puts it into a new list"))
            }
            List::Workflows => {
                layer.workflows.as_ref().and_then(|amend| of_list(amend, name, "appends it", "puts it into a new list"))
            }
            List::Tools => None,
        },
        Subject::Wish(authority) => wish(layer, authority),
        Subject::Setting(pointer) => setting(&layer.settings, pointer),
    }
}

fn of_list<T: AsRef<str>>(amend: &Amend<T>, name: &str, append: &str, replace: &str) -> Option<String> {
    let there = amend.names().iter().any(|written| written.as_ref() == name);
    match (amend, there) {
        (Amend::Append(_), true) => Some(append.to_owned()),
        (Amend::Replace(_), true) => Some(replace.to_owned()),
        (Amend::Replace(_), false) => Some("replaces the list without it".to_owned()),
        (Amend::Append(_), false) => None,
    }
}

fn wish(layer: &Layer, authority: &Authority) -> Option<String> {
    let asked = layer.wishes.iter().find(|wish| wish.authority == *authority).map(|wish| match wish.need {
        bundles::Need::Required => "requires it",
        bundles::Need::Optional => "wants it",
    });
    let dropped = layer.drops.iter().any(|drop| drop.same_thing(authority)).then_some("drops it");
    match (dropped, asked) {
        (Some(dropped), Some(asked)) => Some(format!("{dropped} and {asked} anew")),
        (dropped, asked) => dropped.or(asked).map(str::to_owned),
    }
}

fn setting(settings: &Map<String, Value>, pointer: &str) -> Option<String> {
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

fn short(value: &Value) -> String {
    let text: String = value.to_string().chars().take(60).collect();
    text
}

fn join<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn collect_leaves(map: &Map<String, Value>, at: &str, leaves: &mut Vec<String>) {
    for (key, value) in map {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(inner) if !inner.is_empty() => collect_leaves(inner, &pointer, leaves),
            _ => leaves.push(pointer),
        }
    }
}
