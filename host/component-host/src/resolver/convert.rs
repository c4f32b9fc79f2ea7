//! Conversions between the types of the world `resolver` and the types of the domain.

use bundles::manifest;
use bundles::{Authority, Need as DomainNeed};
use host_policy::{Facts, Proposal, ProposedFailure, ProposedOrigin, Request};

use crate::bindings::resolver::exports::yoi::resolver::resolve as out;
use crate::bindings::resolver::yoi::resolver::bundle::{Amend, Condition, Layer, Profile};
use crate::bindings::resolver::yoi::resolver::types::{self, Access, Need};

fn texts<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect()
}

/// Converts a profile to the contract's type.
pub(crate) fn profile(profile: &manifest::Profile) -> Profile {
    Profile { extends: texts(&profile.extends), layers: profile.layers.iter().map(layer).collect() }
}

/// Estimates the bytes that a profile takes in a guest: its texts, plus 16 bytes for each item.
pub(crate) fn profile_bytes(profile: &Profile) -> u64 {
    const ITEM: usize = 16;
    let list = |names: &[String]| names.iter().map(|name| name.len() + ITEM).sum::<usize>();
    let amend = |amend: &Option<Amend>| match amend {
        Some(Amend::Append(names) | Amend::Replace(names)) => list(names),
        None => 0,
    };
    let layer = |layer: &Layer| {
        let amends = [
            &layer.models,
            &layer.instructions,
            &layer.tools_allow,
            &layer.tools_deny,
            &layer.plugins,
            &layer.workflows,
        ];
        let authority = |authority: &types::Authority| match authority {
            types::Authority::Secret(text) | types::Authority::Egress(text) => text.len() + ITEM,
            types::Authority::Mount((label, _)) => label.len() + ITEM,
            types::Authority::Shell | types::Authority::Git(_) => ITEM,
        };
        let condition = |condition: &Condition| match condition {
            Condition::Has(name) | Condition::Lacks(name) | Condition::Os(name) | Condition::Arch(name) => {
                name.len() + ITEM
            }
        };
        amends.into_iter().map(amend).sum::<usize>()
            + layer.when.iter().map(condition).sum::<usize>()
            + layer.wishes.iter().map(|wish| authority(&wish.authority)).sum::<usize>()
            + layer.drops.iter().map(authority).sum::<usize>()
            + layer.settings.len()
            + 8 * ITEM
    };
    let total = list(&profile.extends) + profile.layers.iter().map(layer).sum::<usize>() + ITEM;
    u64::try_from(total).unwrap_or(u64::MAX)
}

fn layer(layer: &manifest::Layer) -> Layer {
    Layer {
        when: layer.when.iter().map(condition).collect(),
        models: amend(layer.models.as_ref()),
        instructions: amend(layer.instructions.as_ref()),
        tools_allow: amend(layer.tools_allow.as_ref()),
        tools_deny: amend(layer.tools_deny.as_ref()),
        plugins: amend(layer.plugins.as_ref()),
        workflows: amend(layer.workflows.as_ref()),
        language: layer.language.as_ref().map(|tag| tag.as_str().to_owned()),
        wishes: layer
            .wishes
            .iter()
            .map(|wish| types::Wish { authority: authority(&wish.authority), need: need(wish.need) })
            .collect(),
        drops: layer.drops.iter().map(authority).collect(),
        // Serialization cannot fail: the settings were parsed from canonical JSON.
        settings: serde_json::to_string(&layer.settings).unwrap_or_else(|_| "{}".to_owned()),
    }
}

fn condition(condition: &bundles::Condition) -> Condition {
    match condition {
        bundles::Condition::Has(name) => Condition::Has(name.to_string()),
        bundles::Condition::Lacks(name) => Condition::Lacks(name.to_string()),
        bundles::Condition::Os(name) => Condition::Os(name.to_string()),
        bundles::Condition::Arch(name) => Condition::Arch(name.to_string()),
    }
}

fn amend<T: AsRef<str>>(amend: Option<&manifest::Amend<T>>) -> Option<Amend> {
    amend.map(|amend| match amend {
        manifest::Amend::Append(names) => Amend::Append(texts(names)),
        manifest::Amend::Replace(names) => Amend::Replace(texts(names)),
    })
}

fn access(access: bundles::Access) -> Access {
    match access {
        bundles::Access::Read => Access::Read,
        bundles::Access::Write => Access::Write,
    }
}

fn need(need: DomainNeed) -> Need {
    match need {
        DomainNeed::Required => Need::Required,
        DomainNeed::Optional => Need::Optional,
    }
}

fn authority(authority: &Authority) -> types::Authority {
    match authority {
        Authority::Secret(name) => types::Authority::Secret(name.to_string()),
        Authority::Mount(label, mode) => types::Authority::Mount((label.to_string(), access(*mode))),
        Authority::Egress(prefix) => types::Authority::Egress(prefix.to_string()),
        Authority::Shell => types::Authority::Shell,
        Authority::Git(mode) => types::Authority::Git(access(*mode)),
    }
}

/// Converts facts to the contract's type.
pub(crate) fn facts(facts: &Facts) -> types::Facts {
    types::Facts {
        os: facts.os.to_string(),
        arch: facts.arch.to_string(),
        capabilities: texts(&facts.capabilities),
        models: texts(&facts.models),
        mounts: texts(&facts.mounts),
        secrets: texts(&facts.secrets),
    }
}

/// Converts a request to the contract's type.
pub(crate) fn request(request: &Request) -> out::Request {
    out::Request {
        profile: request.profile().to_string(),
        required_capabilities: texts(request.required_capabilities()),
    }
}

/// Converts a resolver's answer to an unverified proposal or failure.
pub(crate) fn answer(answer: Result<out::Resolution, out::Failure>) -> Result<Proposal, ProposedFailure> {
    answer.map(proposal).map_err(failure)
}

fn proposal(resolution: out::Resolution) -> Proposal {
    Proposal {
        lineage: resolution.lineage,
        model: resolution.model,
        instructions: resolution.instructions,
        tools: resolution.tools,
        plugins: resolution.plugins,
        workflows: resolution.workflows,
        language: resolution.language,
        wishes: resolution.wishes.into_iter().map(wish).collect(),
        settings: resolution.settings,
        origins: resolution.origins.into_iter().map(origin).collect(),
    }
}

fn wish(wish: types::Wish) -> (String, DomainNeed) {
    let mode = |access| match access {
        Access::Read => "read",
        Access::Write => "write",
    };
    let authority = match wish.authority {
        types::Authority::Secret(name) => format!("secret:{name}"),
        types::Authority::Mount((label, access)) => format!("mount:{label}:{}", mode(access)),
        types::Authority::Egress(prefix) => format!("egress:{prefix}"),
        types::Authority::Shell => "shell".to_owned(),
        types::Authority::Git(access) => format!("git:{}", mode(access)),
    };
    let need = match wish.need {
        Need::Required => DomainNeed::Required,
        Need::Optional => DomainNeed::Optional,
    };
    (authority, need)
}

fn origin(origin: out::Origin) -> ProposedOrigin {
    ProposedOrigin { field: origin.field, profile: origin.profile, layer: origin.layer }
}

fn failure(failure: out::Failure) -> ProposedFailure {
    match failure {
        out::Failure::UnknownProfile(name) => ProposedFailure::UnknownProfile(name),
        out::Failure::InheritanceCycle(names) => ProposedFailure::InheritanceCycle(names),
        out::Failure::InheritanceConflict(name) => ProposedFailure::InheritanceConflict(name),
        out::Failure::UnsupportedDeclaration(word) => ProposedFailure::UnsupportedDeclaration(word),
        out::Failure::UnmetCapability(names) => ProposedFailure::UnmetCapability(names),
        out::Failure::NoModel(names) => ProposedFailure::NoModel(names),
        out::Failure::DanglingReference((_, name)) => ProposedFailure::DanglingReference(name),
    }
}
