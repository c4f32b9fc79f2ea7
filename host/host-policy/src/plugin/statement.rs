//! Sentences about the requests of a plugin.
//!
//! A sentence continues "The plugin …". It contains only values that were parsed, and names a few paths of a target; the
//! lists of the review have all of them.

use bundles::manifest::Effect;
use bundles::plugin::PluginManifest;
use bundles::{AddressReach, HostPattern, SecretPlacement, UrlPermission};
use serde::Serialize;

use super::grant::SecretGrant;
use super::lists::{PermissionLists, common_with};
use crate::egress::{AddressKind, AddressPolicy};

/// A request of a plugin in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The sentence after "The plugin".
    pub text: String,
    /// The danger of the request, if it has one.
    pub danger: Option<Danger>,
    /// State of the request on the host.
    pub standing: Standing,
    /// Reason or description by the author of the plugin. Nothing proves it.
    pub reason: Option<String>,
}

/// A danger of a permission. The first one is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// The target is a metadata service, which can return credentials of the machine.
    MetadataService,
    /// The target is any host.
    AnyHost,
    /// The target can be this machine or its network.
    LocalAddress,
    /// The tool can change remote systems.
    ExternalEffect,
    /// The target is every name directly below a name.
    EverySubdomain,
}

impl Danger {
    /// Returns the greatest danger of a target.
    pub(super) fn of_target(target: &UrlPermission) -> Option<Self> {
        if target.metadata() {
            return Some(Self::MetadataService);
        }
        match target.host() {
            HostPattern::Any => Some(Self::AnyHost),
            HostPattern::Address(address) => match AddressPolicy::default().special_kind(*address)? {
                AddressKind::Metadata => Some(Self::MetadataService),
                _ => Some(Self::LocalAddress),
            },
            _ if target.reach() > AddressReach::Public => Some(Self::LocalAddress),
            HostPattern::Subdomains(_) => Some(Self::EverySubdomain),
            HostPattern::Name(_) => None,
        }
    }
}

/// State of a request on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Everything is granted.
    Granted,
    /// A part is granted.
    Partial,
    /// Nothing is granted.
    Missing,
}

impl Standing {
    fn of(is_granted: bool) -> Self {
        if is_granted { Self::Granted } else { Self::Missing }
    }

    fn of_target(target: &UrlPermission, grants: &[UrlPermission]) -> Self {
        match common_with(target, grants).as_slice() {
            [] => Self::Missing,
            [whole] if whole == target => Self::Granted,
            _ => Self::Partial,
        }
    }
}

/// Returns the sentences about all requests of a package, the most dangerous one first.
pub(super) fn statements(manifest: &PluginManifest, configured: &PermissionLists) -> Vec<Statement> {
    let asked = manifest.permissions();
    let mut all = Vec::new();
    for (verb, list, grants) in
        [("send", &asked.requests, &configured.requests), ("keep", &asked.websockets, &configured.websockets)]
    {
        all.extend(list.iter().map(|target| Statement {
            text: target_text(verb, &target.what),
            danger: Danger::of_target(&target.what),
            standing: Standing::of_target(&target.what, grants),
            reason: Some(target.reason.clone()),
        }));
    }
    for (name, tool) in manifest.tools() {
        let (does, danger) = match tool.effect() {
            Effect::None => ("only computes", None),
            Effect::Read => ("reads remote systems", None),
            Effect::Write => ("can change files", Some(Danger::ExternalEffect)),
            Effect::External => ("can change remote systems", Some(Danger::ExternalEffect)),
        };
        let has_effect = tool.effect() == Effect::None || configured.effects.contains(&tool.effect());
        all.push(Statement {
            text: format!("offers tool `{name}`, which {does}"),
            danger,
            standing: Standing::of(has_effect && configured.tools.contains(name)),
            reason: Some(tool.description().to_owned()),
        });
    }
    for secret in &asked.secrets {
        let placement = secret.placement.as_ref();
        let place = placement.map(SecretPlacement::to_string).unwrap_or_default();
        let is_granted =
            |grant: &SecretGrant| grant.name == secret.what && Some(&grant.placement()) == secret.placement.as_ref();
        all.push(Statement {
            text: format!(
                "may use secret `{}`, which it never sees: the host sends it as `{place}` to any granted target",
                secret.what
            ),
            danger: None,
            standing: Standing::of(configured.secrets.iter().any(is_granted)),
            reason: Some(secret.reason.clone()),
        });
    }
    if let Some(surface) = manifest.surfaces().iter().find(|surface| surface.as_str() == "service") {
        let standing = Standing::of(configured.surfaces.contains(surface));
        let text = "runs for the whole life of a worker".to_owned();
        all.push(Statement { text, danger: None, standing, reason: None });
    }
    for (name, description) in manifest.ingress() {
        all.push(Statement {
            text: format!("receives events `{name}` from outside"),
            danger: None,
            standing: Standing::of(configured.surfaces.contains("ingress")),
            reason: Some(description.clone()),
        });
    }
    // `None` is less than every danger. The sort is stable.
    all.sort_by_key(|statement| statement.danger.map_or((true, None), |danger| (false, Some(danger))));
    all
}

/// Number of paths that a sentence names.
const MAX_NAMED_PATHS: usize = 4;

fn target_text(verb: &str, target: &UrlPermission) -> String {
    let methods: Vec<&str> = target.methods().iter().map(|method| method.as_str()).collect();
    let plain = if target.scheme().is_encrypted() { "" } else { "unencrypted " };
    let what = match methods.as_slice() {
        [] => "WebSocket connections".to_owned(),
        methods => format!("{} requests", and(methods, "and")),
    };
    let port = match target.port() {
        port if port == target.scheme().default_port() => String::new(),
        port => format!(":{port}"),
    };
    let host = match target.host() {
        HostPattern::Any if port.is_empty() => format!("any host over {}", target.scheme()),
        HostPattern::Any => format!("any host over {} on port {}", target.scheme(), target.port()),
        HostPattern::Subdomains(parent) => format!("every host that matches {}://*.{parent}{port}", target.scheme()),
        host => format!("{}://{host}{port}", target.scheme()),
    };
    let paths: Vec<&str> = target.path_prefixes().collect();
    let below = match paths.get(..MAX_NAMED_PATHS).filter(|_| paths.len() > MAX_NAMED_PATHS) {
        _ if paths.contains(&"/") => String::new(),
        Some(first) => format!(" below {} or {} other paths", first.join(", "), paths.len() - first.len()),
        None => format!(" below {}", and(&paths, "or")),
    };
    let kind = match target.host() {
        HostPattern::Address(address) => AddressPolicy::default().special_kind(*address),
        _ => None,
    };
    let place = match (kind, target.host(), target.reach()) {
        (Some(AddressKind::Metadata), ..) => {
            ", a metadata service, which can return credentials of the machine".to_owned()
        }
        (Some(kind), ..) => format!(", {kind}"),
        (None, HostPattern::Address(_), _) | (None, _, AddressReach::Public) => String::new(),
        (None, _, AddressReach::Loopback) => ", this machine itself".to_owned(),
        (None, _, AddressReach::Special) => ", also at local addresses".to_owned(),
    };
    let metadata = match (target.metadata(), kind) {
        (true, None) => ", also if it is a metadata service, which can return credentials of the machine",
        _ => "",
    };
    let subprotocols: Vec<&str> = target.subprotocols().collect();
    let spoken = match subprotocols.is_empty() {
        true => String::new(),
        false => format!(" with subprotocol {}", and(&subprotocols, "or")),
    };
    format!("may {verb} {plain}{what} to {host}{below}{spoken}{place}{metadata}")
}

fn and(words: &[&str], joint: &str) -> String {
    match words.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} {joint} {last}", first.join(", ")),
        _ => words.concat(),
    }
}
