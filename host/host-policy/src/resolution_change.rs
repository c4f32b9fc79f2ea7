//! Differences between two resolutions of the same inputs, and what each difference means for the authority of a worker.
//!
//! A change is keyed by profile and field. A name that a list gained or lost has a field of its own (`/tools/fs.read`), so that
//! the same change in many resolutions is one change. Equal resolutions have no changes, and resolutions without a change are equal. Read [`outcome_changes`].

use std::collections::BTreeSet;

use bundles::{Authority, Digest, ProfileName, Wish};
use error_code::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::enforce::ResolvedWorkerSpec;
use crate::resolution::Resolution;

/// Maximum bytes of a field, and of a value, of a change. A setting can have a megabyte, and a comparison thousands of changes.
pub const MAX_TEXT_BYTES: usize = 512;

/// Meaning of a change for the authority of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeEffect {
    /// The worker can do more.
    Grew,
    /// The profile no longer resolves, or the host refuses the worker.
    NewlyFails,
    /// The value changed, and the worker can do neither more nor less.
    Changed,
    /// The worker can do less.
    Narrowed,
    /// The profile resolves now, or the host accepts the worker now.
    NewlySucceeds,
}

impl ChangeEffect {
    /// Returns the effect in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grew => "grew",
            Self::NewlyFails => "newly fails",
            Self::Changed => "changed",
            Self::Narrowed => "narrowed",
            Self::NewlySucceeds => "newly succeeds",
        }
    }
}

/// A difference between two resolutions of a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolutionChange {
    /// Meaning for the authority of a worker.
    pub effect: ChangeEffect,
    /// The profile.
    pub profile: ProfileName,
    /// JSON pointer, or its digest if it is longer than [`MAX_TEXT_BYTES`]. Fields below `/granted` belong to the worker that the host accepts. Other fields belong to the resolution.
    pub field: String,
    /// JSON text of the earlier value, or the code of the earlier failure. Absent if there was none. A text that is longer than
    /// [`MAX_TEXT_BYTES`] is replaced by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// JSON text of the later value, or the code of the later failure. Absent if there is none. A text that is longer than
    /// [`MAX_TEXT_BYTES`] is replaced by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Outcome of a resolution: the resolution and, if a policy was enforced, the decision of the host.
#[derive(Debug, Clone, Copy)]
pub enum ResolutionOutcome<'a> {
    /// The profile was resolved.
    Resolved {
        /// The resolution.
        resolution: &'a Resolution,
        /// The accepted worker, or the code of the refusal. `None` if no policy was enforced.
        enforced: Option<Result<&'a ResolvedWorkerSpec, Code>>,
    },
    /// The resolution failed.
    Failed(Code),
}

/// Returns all differences between two outcomes for the same inputs.
pub fn outcome_changes(
    profile: &ProfileName,
    before: ResolutionOutcome<'_>,
    after: ResolutionOutcome<'_>,
) -> BTreeSet<ResolutionChange> {
    use ResolutionOutcome::{Failed, Resolved};
    let mut changes = Changes { profile, found: BTreeSet::new() };
    match (before, after) {
        (Failed(one), Failed(two)) if one == two => {}
        (Failed(one), Failed(two)) => changes.add(ChangeEffect::Changed, "", Some(code(one)), Some(code(two))),
        (Failed(one), Resolved { resolution, enforced }) => {
            changes.add(ChangeEffect::NewlySucceeds, "", Some(code(one)), None);
            changes.new_authority(resolution);
            if let Some(Ok(spec)) = enforced {
                changes.newly_granted(spec);
            }
        }
        (Resolved { .. }, Failed(two)) => changes.add(ChangeEffect::NewlyFails, "", None, Some(code(two))),
        (
            Resolved { resolution: one, enforced: one_enforced },
            Resolved { resolution: two, enforced: two_enforced },
        ) => {
            changes.resolutions(one, two);
            if let (Some(one), Some(two)) = (one_enforced, two_enforced) {
                changes.decisions(one, two);
            }
        }
    }
    changes.found
}

fn code(code: Code) -> String {
    code.to_string()
}

fn json(value: &impl Serialize) -> String {
    // The values of a resolution are names, texts and JSON, so they can always be serialized.
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns the text, or its digest if the text is too long. Two texts stay different.
fn bounded(text: String) -> String {
    if text.len() <= MAX_TEXT_BYTES { text } else { Digest::of(text).to_string() }
}

struct Changes<'a> {
    profile: &'a ProfileName,
    found: BTreeSet<ResolutionChange>,
}

impl Changes<'_> {
    fn add(&mut self, effect: ChangeEffect, field: &str, before: Option<String>, after: Option<String>) {
        let (profile, field) = (self.profile.clone(), bounded(field.to_owned()));
        let (before, after) = (before.map(bounded), after.map(bounded));
        self.found.insert(ResolutionChange { effect, profile, field, before, after });
    }

    fn value(&mut self, field: &str, before: &(impl Serialize + ?Sized), after: &(impl Serialize + ?Sized)) {
        let (before, after) = (json(&before), json(&after));
        if before != after {
            self.add(ChangeEffect::Changed, field, Some(before), Some(after));
        }
    }

    /// Adds the names that a list gained or lost, or else a change of their order. Each name is an authority.
    fn names<T: AsRef<str> + Serialize>(&mut self, field: &str, before: &[T], after: &[T]) {
        let set = |names: &[T]| names.iter().map(|name| name.as_ref().to_owned()).collect::<BTreeSet<_>>();
        let (one, two) = (set(before), set(after));
        for name in two.difference(&one) {
            self.add(ChangeEffect::Grew, &format!("{field}/{}", escaped(name)), None, Some(json(name)));
        }
        for name in one.difference(&two) {
            self.add(ChangeEffect::Narrowed, &format!("{field}/{}", escaped(name)), Some(json(name)), None);
        }
        if one == two {
            self.value(field, before, after);
        }
    }

    fn resolutions(&mut self, before: &Resolution, after: &Resolution) {
        if before == after {
            return;
        }
        self.value("/lineage", before.lineage(), after.lineage());
        self.value("/model", &before.model(), &after.model());
        self.value("/instructions", before.instructions(), after.instructions());
        self.names("/tools", before.tools(), after.tools());
        self.names("/plugins", before.plugins(), after.plugins());
        self.value("/workflows", before.workflows(), after.workflows());
        self.value("/language", before.language(), after.language());
        self.wishes(before.wishes(), after.wishes());
        self.settings("/settings", before.settings(), after.settings());
        // Fields of origins are positions in the lists, which differ anyway if a value does.
        if self.found.is_empty() {
            self.value("/origins", before.origins(), after.origins());
        }
    }

    /// Adds the authority of a resolution where there was none.
    fn new_authority(&mut self, resolution: &Resolution) {
        self.names("/tools", &[], resolution.tools());
        self.names("/plugins", &[], resolution.plugins());
        self.wishes(&[], resolution.wishes());
    }

    /// Adds what the host grants to a worker where there was none.
    fn newly_granted(&mut self, spec: &ResolvedWorkerSpec) {
        let tools: Vec<_> = spec.tools().iter().map(|tool| tool.name.clone()).collect();
        self.names("/granted/tools", &[], &tools);
        self.names("/granted/plugins", &[], spec.plugins());
        for authority in spec.authorities() {
            self.granted(ChangeEffect::Grew, &authority);
        }
    }

    fn granted(&mut self, effect: ChangeEffect, authority: &Authority) {
        let field = format!("/granted/{}", escaped(&authority.to_string()));
        let (before, after) = match effect {
            ChangeEffect::Grew => (None, Some("true".to_owned())),
            _ => (Some("true".to_owned()), None),
        };
        self.add(effect, &field, before, after);
    }

    fn wishes(&mut self, before: &[Wish], after: &[Wish]) {
        let find = |wishes: &[Wish], authority: &Authority| {
            wishes.iter().find(|wish| wish.authority == *authority).map(|wish| wish.need)
        };
        let covers =
            |wishes: &[Wish], authority: &Authority| wishes.iter().any(|wish| wish.authority.covers(authority));
        for Wish { authority, need } in after {
            let field = format!("/wishes/{}", escaped(&authority.to_string()));
            match find(before, authority) {
                Some(earlier) => self.value(&field, &earlier, need),
                // A narrower wish beside a wider one adds nothing.
                None if covers(before, authority) => self.add(ChangeEffect::Changed, &field, None, Some(json(need))),
                None => self.add(ChangeEffect::Grew, &field, None, Some(json(need))),
            }
        }
        for Wish { authority, need } in before {
            let field = format!("/wishes/{}", escaped(&authority.to_string()));
            if find(after, authority).is_none() {
                let effect = if covers(after, authority) { ChangeEffect::Changed } else { ChangeEffect::Narrowed };
                self.add(effect, &field, Some(json(need)), None);
            }
        }
    }

    /// Adds the settings that differ, down to the values that are not objects on both sides.
    fn settings(&mut self, field: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let field = format!("{field}/{}", escaped(key));
            match (before.get(key), after.get(key)) {
                (Some(Value::Object(one)), Some(Value::Object(two))) => self.settings(&field, one, two),
                (one, two) if one == two => {}
                (one, two) => self.add(ChangeEffect::Changed, &field, one.map(json), two.map(json)),
            }
        }
    }

    fn decisions(&mut self, before: Result<&ResolvedWorkerSpec, Code>, after: Result<&ResolvedWorkerSpec, Code>) {
        let field = "/granted";
        match (before, after) {
            (Ok(one), Ok(two)) => {
                let tools = |spec: &ResolvedWorkerSpec| spec.tools().iter().map(|tool| tool.name.clone()).collect();
                let (one_tools, two_tools): (Vec<_>, Vec<_>) = (tools(one), tools(two));
                self.names("/granted/tools", &one_tools, &two_tools);
                self.names("/granted/plugins", one.plugins(), two.plugins());
                for authority in two.authorities().filter(|authority| !one.grants(authority)) {
                    self.granted(ChangeEffect::Grew, &authority);
                }
                for authority in one.authorities().filter(|authority| !two.grants(authority)) {
                    self.granted(ChangeEffect::Narrowed, &authority);
                }
            }
            (Err(one), Err(two)) if one == two => {}
            (Err(one), Err(two)) => self.add(ChangeEffect::Changed, field, Some(code(one)), Some(code(two))),
            (Err(one), Ok(two)) => {
                self.add(ChangeEffect::NewlySucceeds, field, Some(code(one)), None);
                self.newly_granted(two);
            }
            (Ok(_), Err(two)) => self.add(ChangeEffect::NewlyFails, field, None, Some(code(two))),
        }
    }
}

/// Escapes a token of a JSON pointer.
fn escaped(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use bundles::Need;
    use serde_json::json;

    use super::*;

    fn resolution(change: impl FnOnce(&mut Resolution)) -> Resolution {
        let mut resolution = Resolution {
            lineage: vec!["coder".parse().expect("a name")],
            model: None,
            instructions: Vec::new(),
            tools: vec!["fs.read".parse().expect("a name")],
            plugins: Vec::new(),
            workflows: Vec::new(),
            language: "en".parse().expect("a tag"),
            wishes: vec![wish("mount:repo:read", Need::Optional)],
            settings: json!({ "a": { "b/c": 1 } }).as_object().cloned().expect("an object"),
            origins: Vec::new(),
        };
        change(&mut resolution);
        resolution
    }

    fn wish(authority: &str, need: Need) -> Wish {
        Wish { authority: authority.parse().expect("an authority"), need }
    }

    fn found(change: impl FnOnce(&mut Resolution)) -> Vec<String> {
        let (before, after) = (resolution(|_| {}), resolution(change));
        let outcome = |resolution| ResolutionOutcome::Resolved { resolution, enforced: None };
        let profile: ProfileName = "coder".parse().expect("a name");
        let changes = outcome_changes(&profile, outcome(&before), outcome(&after));
        // The way back has the opposite effects.
        let opposite = |effect| match effect {
            ChangeEffect::Grew => ChangeEffect::Narrowed,
            ChangeEffect::Narrowed => ChangeEffect::Grew,
            effect => effect,
        };
        let mirrored = |change: &ResolutionChange| ResolutionChange {
            effect: opposite(change.effect),
            before: change.after.clone(),
            after: change.before.clone(),
            ..change.clone()
        };
        let back = outcome_changes(&profile, outcome(&after), outcome(&before));
        assert_eq!(changes.iter().map(mirrored).collect::<BTreeSet<_>>(), back);
        let text = |one: &ResolutionChange| format!("{} {}", one.effect.as_str(), one.field);
        changes.iter().map(text).collect()
    }

    #[test]
    fn each_difference_is_one_change_with_its_effect() {
        assert_eq!(found(|_| {}), Vec::<String>::new());
        assert_eq!(found(|one| one.tools.push("shell".parse().expect("a name"))), ["grew /tools/shell"]);
        assert_eq!(found(|one| one.tools.clear()), ["narrowed /tools/fs.read"]);
        assert_eq!(found(|one| one.language = "de".parse().expect("a tag")), ["changed /language"]);
        assert_eq!(found(|one| one.model = Some("m".parse().expect("a name"))), ["changed /model"]);
        assert_eq!(found(|one| one.wishes.push(wish("secret:key", Need::Optional))), ["grew /wishes/secret:key"]);
        assert_eq!(
            found(|one| one.wishes = vec![wish("mount:repo:read", Need::Required)]),
            ["changed /wishes/mount:repo:read"]
        );
        // Write access includes read access.
        assert_eq!(
            found(|one| one.wishes = vec![wish("mount:repo:write", Need::Optional)]),
            ["grew /wishes/mount:repo:write", "changed /wishes/mount:repo:read"]
        );
        let set = |value: Value| {
            move |one: &mut Resolution| {
                one.settings = value.as_object().cloned().expect("an object");
            }
        };
        assert_eq!(found(set(json!({ "a": { "b/c": 2 } }))), ["changed /settings/a/b~1c"]);
        assert_eq!(found(set(json!({ "a": 1, "n": {} }))), ["changed /settings/a", "changed /settings/n"]);
    }

    #[test]
    fn long_values_are_replaced_by_their_digests() {
        let set = |text: String| {
            move |one: &mut Resolution| {
                one.settings.insert("long".to_owned(), json!(text));
            }
        };
        let profile: ProfileName = "coder".parse().expect("a name");
        let [one, two] = ["x", "y"].map(|letter| resolution(set(letter.repeat(MAX_TEXT_BYTES))));
        let outcome = |resolution| ResolutionOutcome::Resolved { resolution, enforced: None };
        let changes = outcome_changes(&profile, outcome(&one), outcome(&two));
        let change = changes.first().expect("a change");
        assert_eq!((changes.len(), change.field.as_str()), (1, "/settings/long"));
        assert!(change.before != change.after, "{change:?}");
        for value in [&change.before, &change.after] {
            assert!(value.as_deref().is_some_and(|value| value.parse::<Digest>().is_ok()), "{change:?}");
        }
    }

    #[test]
    fn failures_are_changes_too() {
        let one = resolution(|_| {});
        let resolved = ResolutionOutcome::Resolved { resolution: &one, enforced: None };
        let profile: ProfileName = "coder".parse().expect("a name");
        let effects = |before, after| -> Vec<ChangeEffect> {
            outcome_changes(&profile, before, after).iter().map(|change| change.effect).collect()
        };
        let failed = |code| ResolutionOutcome::Failed(code);
        assert_eq!(effects(resolved, failed(Code::NoModel)), [ChangeEffect::NewlyFails]);
        // Everything that the worker can do is new.
        let new = outcome_changes(&profile, failed(Code::NoModel), resolved);
        let fields: Vec<_> = new.iter().map(|change| (change.effect, change.field.as_str())).collect();
        let expected = [
            (ChangeEffect::Grew, "/tools/fs.read"),
            (ChangeEffect::Grew, "/wishes/mount:repo:read"),
            (ChangeEffect::NewlySucceeds, ""),
        ];
        assert_eq!(fields, expected);
        assert_eq!(effects(failed(Code::NoModel), failed(Code::NoModel)), []);
        assert_eq!(effects(failed(Code::NoModel), failed(Code::UnknownProfile)), [ChangeEffect::Changed]);
        let refused = ResolutionOutcome::Resolved { resolution: &one, enforced: Some(Err(Code::Denied)) };
        assert_eq!(effects(refused, refused), []);
    }
}
