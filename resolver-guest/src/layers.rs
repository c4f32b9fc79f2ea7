//! Selection of the active layers, and their combination.

use alloc::borrow::ToOwned;

use crate::ancestry::Ancestor;
use crate::names::Names;
use crate::origins::Place;
use crate::settings::{NotAnObject, Settings};
use crate::wishes::Wishes;
use crate::{Condition, Facts, Failure, Layer};

/// Returns the layers whose conditions all hold, from the farthest ancestor to the selected profile, and within a
/// profile in their written order.
pub(crate) fn active<'a>(lineage: &[Ancestor<'a>], facts: &Facts) -> impl Iterator<Item = (Place<'a>, &'a Layer)> {
    lineage
        .iter()
        .rev()
        .flat_map(|ancestor| {
            let name = ancestor.name;
            (0..).zip(&ancestor.profile.layers).map(move |(layer, written)| (Place { profile: name, layer }, written))
        })
        .filter(|(_, layer)| layer.when.iter().all(|condition| holds(condition, facts)))
}

fn holds(condition: &Condition, facts: &Facts) -> bool {
    match condition {
        Condition::Has(capability) => facts.capabilities.contains(capability),
        Condition::Lacks(capability) => !facts.capabilities.contains(capability),
        Condition::Os(os) => facts.os == *os,
        Condition::Arch(arch) => facts.arch == *arch,
    }
}

/// Combination of the layers that were applied so far.
#[derive(Default)]
pub(crate) struct Merged<'a> {
    pub(crate) models: Names<'a>,
    pub(crate) instructions: Names<'a>,
    pub(crate) tools_allow: Names<'a>,
    pub(crate) tools_deny: Names<'a>,
    pub(crate) plugins: Names<'a>,
    pub(crate) workflows: Names<'a>,
    pub(crate) language: Option<(&'a str, Place<'a>)>,
    pub(crate) wishes: Wishes<'a>,
    pub(crate) settings: Settings<'a>,
}

impl<'a> Merged<'a> {
    /// Applies one more layer.
    ///
    /// # Errors
    ///
    /// [`Failure::UnsupportedDeclaration`] if the settings of the layer are not an object.
    pub(crate) fn apply(&mut self, layer: &'a Layer, place: Place<'a>) -> Result<(), Failure> {
        let lists = [
            (&mut self.models, &layer.models),
            (&mut self.instructions, &layer.instructions),
            (&mut self.tools_allow, &layer.tools_allow),
            (&mut self.tools_deny, &layer.tools_deny),
            (&mut self.plugins, &layer.plugins),
            (&mut self.workflows, &layer.workflows),
        ];
        for (names, amend) in lists {
            if let Some(amend) = amend {
                names.amend(amend, place);
            }
        }
        if let Some(language) = &layer.language {
            self.language = Some((language, place));
        }
        for authority in &layer.drops {
            self.wishes.drop(authority);
        }
        for wish in &layer.wishes {
            self.wishes.ask(wish, place);
        }
        self.settings
            .patch(&layer.settings, place)
            .map_err(|NotAnObject| Failure::UnsupportedDeclaration("settings".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{Merged, active};
    use crate::ancestry::Ancestor;
    use crate::origins::Place;
    use crate::{Amend, Authority, Condition, Facts, Failure, Layer, Need, Profile, Wish};

    fn layer() -> Layer {
        Layer {
            when: vec![],
            models: None,
            instructions: None,
            tools_allow: None,
            tools_deny: None,
            plugins: None,
            workflows: None,
            language: None,
            wishes: vec![],
            drops: vec![],
            settings: "{}".into(),
        }
    }

    fn facts() -> Facts {
        Facts {
            os: "linux".into(),
            arch: "x86_64".into(),
            capabilities: vec!["shell".into(), "tool:fs.read".into()],
            models: vec![],
            mounts: vec![],
            secrets: vec![],
        }
    }

    fn counts(when: Vec<Condition>) -> bool {
        let profile = Profile { extends: vec![], layers: vec![Layer { when, ..layer() }] };
        active(&[Ancestor { name: "p", profile: &profile }], &facts()).count() == 1
    }

    #[test]
    fn every_condition_must_hold() {
        let has = |name: &str| Condition::Has(name.into());
        let lacks = |name: &str| Condition::Lacks(name.into());
        assert!(counts(vec![]));
        assert!(counts(vec![has("shell"), has("tool:fs.read"), lacks("git")]));
        assert!(!counts(vec![has("shell"), has("git")]));
        assert!(!counts(vec![lacks("shell")]));
        assert!(counts(vec![Condition::Os("linux".into()), Condition::Arch("x86_64".into())]));
        assert!(!counts(vec![Condition::Os("macos".into())]));
        assert!(!counts(vec![Condition::Arch("aarch64".into())]));
    }

    #[test]
    fn ancestors_come_first_and_indices_count_the_layers_that_do_not_hold() {
        let skipped = Layer { when: vec![Condition::Has("git".into())], ..layer() };
        let child = Profile { extends: vec![], layers: vec![skipped, layer()] };
        let base = Profile { extends: vec![], layers: vec![layer(), layer()] };
        let lineage = [Ancestor { name: "child", profile: &child }, Ancestor { name: "base", profile: &base }];
        let places: Vec<_> = active(&lineage, &facts()).map(|(place, _)| (place.profile, place.layer)).collect();
        assert_eq!(places, [("base", 0), ("base", 1), ("child", 1)]);
    }

    #[test]
    fn drops_of_a_layer_apply_before_its_wishes() {
        let wish = |need| Wish { authority: Authority::Shell, need };
        let earlier = Layer { wishes: vec![wish(Need::Required)], ..layer() };
        let later = Layer { drops: vec![Authority::Shell], wishes: vec![wish(Need::Optional)], ..layer() };
        let mut merged = Merged::default();
        merged.apply(&earlier, Place { profile: "p", layer: 0 }).unwrap();
        merged.apply(&later, Place { profile: "p", layer: 1 }).unwrap();
        let wishes: Vec<_> = merged.wishes.into_list().map(|(wish, place)| (wish, place.layer)).collect();
        assert_eq!(wishes, [(wish(Need::Optional), 1)]);
    }

    #[test]
    fn last_language_is_used() {
        let english = Layer { language: Some("en".into()), ..layer() };
        let german = Layer { language: Some("de".into()), ..layer() };
        let silent = layer();
        let mut merged = Merged::default();
        for (index, layer) in (0..).zip([&english, &german, &silent]) {
            merged.apply(layer, Place { profile: "p", layer: index }).unwrap();
        }
        assert_eq!(merged.language.map(|(tag, place)| (tag, place.layer)), Some(("de", 1)));
    }

    #[test]
    fn each_list_is_amended_by_its_own_amendment() {
        let only = |name: &str| Some(Amend::Append(vec![name.into()]));
        let full = Layer {
            models: only("model"),
            instructions: only("prompt"),
            tools_allow: only("allowed"),
            tools_deny: only("denied"),
            plugins: only("plugin"),
            workflows: only("workflow"),
            ..layer()
        };
        let mut merged = Merged::default();
        merged.apply(&full, Place { profile: "p", layer: 0 }).unwrap();
        let lists = [
            merged.models,
            merged.instructions,
            merged.tools_allow,
            merged.tools_deny,
            merged.plugins,
            merged.workflows,
        ];
        let names: Vec<_> = lists.into_iter().flat_map(|list| list.into_list()).map(|(name, _)| name).collect();
        assert_eq!(names, ["model", "prompt", "allowed", "denied", "plugin", "workflow"]);
    }

    #[test]
    fn settings_that_are_not_an_object_are_unsupported() {
        let broken = Layer { settings: "[]".into(), ..layer() };
        let applied = Merged::default().apply(&broken, Place { profile: "p", layer: 0 });
        assert_eq!(applied, Err(Failure::UnsupportedDeclaration("settings".into())));
    }
}
