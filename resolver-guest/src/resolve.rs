//! Resolution of a profile.
//!
//! Failures are detected in this order: unknown profile, cycle, conflict, unsupported declaration (in active layers only),
//! unmet capabilities, no model, dangling names. The host adds the values that a resolver cannot know: the secret of the
//! chosen model, the language of the bundle if no layer sets one, digests, and the canonical order of wishes and origins.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::ancestry::Ancestry;
use crate::layers::{self, Merged};
use crate::names::Names;
use crate::origins::{Place, element};
use crate::{Bundle, Facts, Failure, Kind, Origin, Request, Resolution};

/// Resolves a profile. The same request, bundle and facts always give the same result.
///
/// # Errors
///
/// The first [`Failure`] in the order in which the contract lists them.
pub fn resolve(request: &Request, bundle: &(impl Bundle + ?Sized), facts: &Facts) -> Result<Resolution, Failure> {
    let ancestry = Ancestry::load(&request.profile, bundle)?;
    let lineage = ancestry.lineage()?;
    let mut merged = Merged::default();
    for (place, layer) in layers::active(&lineage, facts) {
        merged.apply(layer, place)?;
    }
    let Merged { models, instructions, tools_allow, tools_deny, plugins, workflows, language, wishes, settings } =
        merged;

    let lacking = |capability: &&String| !facts.capabilities.contains(capability);
    let unmet: Vec<String> = request.required_capabilities.iter().filter(lacking).cloned().collect();
    if !unmet.is_empty() {
        return Err(Failure::UnmetCapability(unmet));
    }

    let denied = tools_deny.into_set();
    let mut tools = tools_allow.into_list();
    tools.retain(|(name, _)| !denied.contains(name));
    let (instructions, plugins, workflows) = (instructions.into_list(), plugins.into_list(), workflows.into_list());

    // Two more, for the model and the language. Origins of settings are not counted in advance.
    let listed = instructions.len() + tools.len() + plugins.len() + workflows.len() + wishes.len();
    let mut origins = Vec::with_capacity(listed + 2);
    let model = choose(models, facts)?.map(|(name, place)| {
        origins.push(place.origin_of("/model".to_owned()));
        name.to_owned()
    });
    let instructions = list("instructions", instructions, &mut origins);
    let tools = list("tools", tools, &mut origins);
    let plugins = list("plugins", plugins, &mut origins);
    let workflows = list("workflows", workflows, &mut origins);

    demand(bundle, Kind::Model, model.as_slice())?;
    demand(bundle, Kind::Prompt, &instructions)?;
    demand(bundle, Kind::Tool, &tools)?;
    demand(bundle, Kind::Plugin, &plugins)?;
    demand(bundle, Kind::Workflow, &workflows)?;

    let language = language.map(|(tag, place)| {
        origins.push(place.origin_of("/language".to_owned()));
        tag.to_owned()
    });
    let wishes = wishes.into_list().enumerate().map(|(index, (wish, place))| {
        origins.push(place.origin_of(element("wishes", index)));
        wish
    });
    let wishes = wishes.collect();
    let settings = settings.into_json(&mut origins);
    let lineage = lineage.iter().map(|ancestor| ancestor.name.to_owned()).collect();
    Ok(Resolution { lineage, model, instructions, tools, plugins, workflows, language, wishes, settings, origins })
}

/// Returns the first model that the host offers, or `None` if no layer names a model.
fn choose<'a>(models: Names<'a>, facts: &Facts) -> Result<Option<(&'a str, Place<'a>)>, Failure> {
    let models = models.into_list();
    let offered = |(name, _): &&(&str, Place<'_>)| facts.models.iter().any(|model| model == name);
    match models.iter().find(offered) {
        Some(&chosen) => Ok(Some(chosen)),
        None if models.is_empty() => Ok(None),
        None => Err(Failure::NoModel(models.into_iter().map(|(name, _)| name.to_owned()).collect())),
    }
}

/// Adds the origins of a list to `origins` and returns its names.
fn list(field: &str, names: Vec<(&str, Place<'_>)>, origins: &mut Vec<Origin>) -> Vec<String> {
    let names = names.into_iter().enumerate().map(|(index, (name, place))| {
        origins.push(place.origin_of(element(field, index)));
        name.to_owned()
    });
    names.collect()
}

/// Checks that the bundle declares all names. Only names of the result are looked up, with one call for each kind, so
/// that the read set contains exactly the names that affect the result.
fn demand(bundle: &(impl Bundle + ?Sized), kind: Kind, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let mut declared = bundle.declares(kind, names).into_iter();
    match names.iter().find(|_| declared.next() != Some(true)) {
        Some(name) => Err(Failure::DanglingReference((kind, name.clone()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    use super::resolve;
    use crate::{Amend, Bundle, Facts, Failure, Kind, Layer, Profile, Request};

    /// A bundle with at most one profile. It declares the first `declared` names of each request.
    struct Short {
        profile: Option<Profile>,
        declared: usize,
        asked: RefCell<Vec<Kind>>,
    }

    impl Bundle for Short {
        fn profiles(&self, _: &[String]) -> Vec<Option<Profile>> {
            self.profile.iter().cloned().map(Some).collect()
        }

        fn declares(&self, kind: Kind, _: &[String]) -> Vec<bool> {
            self.asked.borrow_mut().push(kind);
            vec![true; self.declared]
        }
    }

    fn naming(instructions: &[&str]) -> Profile {
        let names = |names: &[&str]| Some(Amend::Append(names.iter().map(|&name| name.to_owned()).collect()));
        let layer = Layer {
            when: vec![],
            models: None,
            instructions: names(instructions),
            tools_allow: None,
            tools_deny: None,
            plugins: names(&["search"]),
            workflows: None,
            language: None,
            wishes: vec![],
            drops: vec![],
            settings: "{}".into(),
        };
        Profile { extends: vec![], layers: vec![layer] }
    }

    fn answer(profile: Option<Profile>, declared: usize, required: &[&str]) -> (Result<(), Failure>, Vec<Kind>) {
        let bundle = Short { profile, declared, asked: RefCell::default() };
        let required_capabilities = required.iter().map(|&name| name.to_owned()).collect();
        let request = Request { profile: "coder".into(), required_capabilities };
        let facts = Facts {
            os: "linux".into(),
            arch: "x86_64".into(),
            capabilities: vec!["shell".into()],
            models: vec![],
            mounts: vec![],
            secrets: vec![],
        };
        (resolve(&request, &bundle, &facts).map(|_| ()), bundle.asked.into_inner())
    }

    #[test]
    fn missing_answer_counts_as_not_found() {
        assert_eq!(answer(None, 0, &[]).0, Err(Failure::UnknownProfile("coder".into())));
        let dangling = Failure::DanglingReference((Kind::Prompt, "style".into()));
        assert_eq!(answer(Some(naming(&["base", "style"])), 1, &[]).0, Err(dangling));
    }

    #[test]
    fn no_kind_is_requested_after_one_with_a_dangling_name() {
        assert_eq!(answer(Some(naming(&["base"])), 0, &[]).1, [Kind::Prompt]);
        assert_eq!(answer(Some(naming(&["base"])), 1, &[]), (Ok(()), vec![Kind::Prompt, Kind::Plugin]));
    }

    #[test]
    fn unmet_capabilities_are_reported_in_request_order_before_any_name_is_requested() {
        let (failed, asked) = answer(Some(naming(&["base"])), 0, &["b", "shell", "a", "b"]);
        assert_eq!(failed, Err(Failure::UnmetCapability(vec!["b".into(), "a".into(), "b".into()])));
        assert_eq!(asked, []);
    }
}
