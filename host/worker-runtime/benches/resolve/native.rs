//! Resolution without a sandbox, by the same resolver compiled into this program.
//!
//! Facts and request are converted to the resolver's types in advance, and for a prepared bundle the profiles too. A
//! lookup then only copies the profile, because the resolver takes profiles by value. The result stays in the
//! resolver's types and is not verified.

use std::collections::HashMap;

use bundles::manifest::{self, Manifest};
use bundles::{Authority, Condition, Wish};
use host_policy::{Facts, Request};
use resolver_guest as guest;
use resolver_guest::{Bundle, Kind, Profile};

use crate::Outcome;

/// Facts and a request in the resolver's types.
pub(crate) struct NativeCase {
    facts: guest::Facts,
    request: guest::Request,
}

impl NativeCase {
    /// Converts the inputs of a sandboxed resolution.
    pub(crate) fn new(facts: &Facts, request: &Request) -> Self {
        let facts = guest::Facts {
            os: facts.os.to_string(),
            arch: facts.arch.to_string(),
            capabilities: texts(&facts.capabilities),
            models: texts(&facts.models),
            mounts: texts(&facts.mounts),
            secrets: texts(&facts.secrets),
        };
        let required_capabilities = texts(request.required_capabilities());
        Self { facts, request: guest::Request { profile: request.profile().to_string(), required_capabilities } }
    }

    /// Resolves.
    pub(crate) fn resolve(&self, bundle: &impl Bundle) -> Outcome<guest::Resolution> {
        guest::resolve(&self.request, bundle, &self.facts).map_err(|failure| format!("{failure:?}").into())
    }
}

/// A bundle whose profiles are all converted in advance.
pub(crate) struct PreparedBundle<'a> {
    manifest: &'a Manifest,
    profiles: HashMap<&'a str, Profile>,
}

impl<'a> PreparedBundle<'a> {
    /// Converts all profiles.
    pub(crate) fn new(manifest: &'a Manifest) -> Outcome<Self> {
        let converted = manifest.profiles.iter().map(|(name, source)| Ok((name.as_str(), profile(source)?)));
        Ok(Self { manifest, profiles: converted.collect::<Outcome<_>>()? })
    }
}

impl Bundle for PreparedBundle<'_> {
    fn profiles(&self, names: &[String]) -> Vec<Option<Profile>> {
        names.iter().map(|name| self.profiles.get(name.as_str()).cloned()).collect()
    }

    fn declares(&self, kind: Kind, names: &[String]) -> Vec<bool> {
        declares(self.manifest, kind, names)
    }
}

/// A parsed bundle, which converts each profile at its lookup.
pub(crate) struct ParsedBundle<'a>(pub(crate) &'a Manifest);

impl Bundle for ParsedBundle<'_> {
    fn profiles(&self, names: &[String]) -> Vec<Option<Profile>> {
        names.iter().map(|name| profile(self.0.profiles.get(name.as_str())?).ok()).collect()
    }

    fn declares(&self, kind: Kind, names: &[String]) -> Vec<bool> {
        declares(self.0, kind, names)
    }
}

fn declares(manifest: &Manifest, kind: Kind, names: &[String]) -> Vec<bool> {
    let declared = |name: &String| match kind {
        Kind::Prompt => manifest.prompts.contains_key(name.as_str()),
        Kind::Tool => manifest.tools.contains_key(name.as_str()),
        Kind::Plugin => manifest.plugins.contains_key(name.as_str()),
        Kind::Workflow => manifest.workflows.contains_key(name.as_str()),
        Kind::Model => manifest.models.contains_key(name.as_str()),
    };
    names.iter().map(declared).collect()
}

fn texts<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect()
}

fn profile(profile: &manifest::Profile) -> Outcome<Profile> {
    Ok(Profile { extends: texts(&profile.extends), layers: profile.layers.iter().map(layer).collect::<Outcome<_>>()? })
}

fn layer(layer: &manifest::Layer) -> Outcome<guest::Layer> {
    Ok(guest::Layer {
        when: layer.when.iter().map(condition).collect(),
        models: layer.models.as_ref().map(amend),
        instructions: layer.instructions.as_ref().map(amend),
        tools_allow: layer.tools_allow.as_ref().map(amend),
        tools_deny: layer.tools_deny.as_ref().map(amend),
        plugins: layer.plugins.as_ref().map(amend),
        workflows: layer.workflows.as_ref().map(amend),
        language: layer.language.as_ref().map(ToString::to_string),
        wishes: layer.wishes.iter().map(wish).collect(),
        drops: layer.drops.iter().map(authority).collect(),
        settings: serde_json::to_string(&layer.settings)?,
    })
}

fn amend<T: AsRef<str>>(amend: &manifest::Amend<T>) -> guest::Amend {
    match amend {
        manifest::Amend::Append(names) => guest::Amend::Append(texts(names)),
        manifest::Amend::Replace(names) => guest::Amend::Replace(texts(names)),
    }
}

fn condition(condition: &Condition) -> guest::Condition {
    match condition {
        Condition::Has(name) => guest::Condition::Has(name.to_string()),
        Condition::Lacks(name) => guest::Condition::Lacks(name.to_string()),
        Condition::Os(name) => guest::Condition::Os(name.to_string()),
        Condition::Arch(name) => guest::Condition::Arch(name.to_string()),
    }
}

fn wish(wish: &Wish) -> guest::Wish {
    let need = match wish.need {
        bundles::Need::Required => guest::Need::Required,
        bundles::Need::Optional => guest::Need::Optional,
    };
    guest::Wish { authority: authority(&wish.authority), need }
}

fn authority(authority: &Authority) -> guest::Authority {
    let access = |access| match access {
        bundles::Access::Read => guest::Access::Read,
        bundles::Access::Write => guest::Access::Write,
    };
    match authority {
        Authority::Secret(name) => guest::Authority::Secret(name.to_string()),
        Authority::Mount(label, mode) => guest::Authority::Mount((label.to_string(), access(*mode))),
        Authority::Egress(prefix) => guest::Authority::Egress(prefix.to_string()),
        Authority::Shell => guest::Authority::Shell,
        Authority::Git(mode) => guest::Authority::Git(access(*mode)),
    }
}
