//! The second key: what this host makes of a resolution.
//!
//! [`enforce`] is a pure function of a resolution, its bundle's own ceiling and the host's config.
//! It yields a [`ResolvedWorkerSpec`], or every refusal at once, each with the rule that refused
//! and the line that would grant it. There is no other way to a spec. An optional wish that is
//! refused narrows the spec; a required one refuses the worker.

mod spec;

use bundles::manifest::{Ceiling, Manifest};
use bundles::{Authority, Need, ToolSource, Wish, WorkspaceId};
use serde::Serialize;

use crate::config::{RuntimeConfig, WorkspaceGrants};
use crate::resolution::Resolution;

pub use spec::{Git, ResolvedWorkerSpec, SpecModel, SpecMount, SpecTool};

/// Which rule refused something. The text form is the stable machine word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The bundle's own ceiling.
    BundlePolicyDenied,
    /// The host demands a bundle, and a profile that ships inside was asked for.
    BundleRequired,
    /// No grant for the secret.
    SecretNotGranted,
    /// No grant for the mount.
    MountNotGranted,
    /// The mount is granted for reading only.
    MountReadOnly,
    /// No grant covers the URL prefix.
    EgressNotGranted,
    /// No grant for running commands.
    ShellNotGranted,
    /// No grant for version control.
    GitNotGranted,
    /// Version control is granted for reading only.
    GitReadOnly,
    /// The model is not offered to the workspace.
    ModelNotGranted,
    /// No grant for the plugin.
    PluginNotGranted,
    /// The tool's plugin is not part of the worker.
    ToolWithoutPlugin,
    /// The worker lacks what the tool needs.
    ToolWithoutAuthority,
    /// This Runtime has no such host tool.
    UnsupportedDeclaration,
}

impl Rule {
    /// The stable machine word.
    pub fn code(self) -> &'static str {
        match self {
            Self::BundlePolicyDenied => "bundle_policy_denied",
            Self::BundleRequired => "bundle_required",
            Self::SecretNotGranted => "secret_not_granted",
            Self::MountNotGranted => "mount_not_granted",
            Self::MountReadOnly => "mount_read_only",
            Self::EgressNotGranted => "egress_not_granted",
            Self::ShellNotGranted => "shell_not_granted",
            Self::GitNotGranted => "git_not_granted",
            Self::GitReadOnly => "git_read_only",
            Self::ModelNotGranted => "model_not_granted",
            Self::PluginNotGranted => "plugin_not_granted",
            Self::ToolWithoutPlugin => "tool_without_plugin",
            Self::ToolWithoutAuthority => "tool_without_authority",
            Self::UnsupportedDeclaration => "unsupported_declaration",
        }
    }
}

/// Something that is not granted: what, by which rule, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What was wished for or selected: an authority, `tool:NAME`, `plugin:NAME`, or `bundle`.
    pub subject: String,
    /// Whether the worker cannot do without.
    pub need: Need,
    /// The rule.
    pub rule: Rule,
    /// What the rule says, in a sentence.
    pub reason: String,
    /// The line that would grant it, and in which file.
    pub remedy: String,
}

/// What a worker is refused for, in a sentence.
pub fn refused(refusals: &[Refusal]) -> String {
    let required = refusals.iter().filter(|refusal| refusal.need == Need::Required).count();
    format!("this host refuses the worker: {required} of what it requires is not granted")
}

/// What would be enforced against: the config, the workspace, and whether the bundle ships inside.
#[derive(Debug, Clone, Copy)]
pub struct HostPolicy<'a> {
    /// The host's config.
    pub config: &'a RuntimeConfig,
    /// Whose grants count: the bundle's own workspace, or the one that asks for a profile that ships
    /// inside.
    pub workspace: &'a WorkspaceId,
    /// Whether the bundle is the one that ships inside.
    pub builtin: bool,
}

/// Turns a resolution into what the worker may be on this host, or into every reason why not.
pub fn enforce(
    manifest: &Manifest,
    resolution: &Resolution,
    policy: HostPolicy<'_>,
) -> Result<ResolvedWorkerSpec, Vec<Refusal>> {
    let workspace = policy.workspace;
    let grants = policy.config.grants(workspace);
    let judge = Judge { manifest, workspace, grants: &grants, policy };
    let (mut granted, mut refused) = (Vec::new(), Vec::new());
    refused.extend(judge.bundle());
    refused.extend(resolution.model().and_then(|name| judge.model(name)));
    for wish in resolution.wishes() {
        match judge.wish(wish) {
            Ok(()) => granted.push(wish.authority.clone()),
            Err(refusal) => refused.push(refusal),
        }
    }
    let mut plugins = Vec::new();
    for name in resolution.plugins() {
        match judge.plugin(name) {
            Ok(()) => plugins.push(name.clone()),
            Err(refusal) => refused.push(refusal),
        }
    }
    let mut tools = Vec::new();
    for name in resolution.tools() {
        match judge.tool(name, &plugins) {
            Ok(()) => tools.push(name.clone()),
            Err(refusal) => refused.push(refusal),
        }
    }
    if refused.iter().any(|refusal| refusal.need == Need::Required) {
        return Err(refused);
    }
    Ok(ResolvedWorkerSpec::new(
        manifest,
        resolution,
        &granted,
        tools,
        plugins,
        refused,
        policy.config.digest(workspace),
    ))
}

impl RuntimeConfig {
    /// Whether the config grants an authority to a workspace: what [`enforce`] asks when a worker is
    /// made, and what is asked again at every use.
    pub fn still_grants(&self, workspace: &WorkspaceId, authority: &Authority) -> bool {
        self.granted(workspace).is_some_and(|grants| lacking(grants, authority).is_none())
    }
}

/// Which rule refuses an authority, where one does.
fn lacking(grants: &WorkspaceGrants, authority: &Authority) -> Option<Rule> {
    let held = |held: bool, rule| (!held).then_some(rule);
    match authority {
        Authority::Secret(name) => held(grants.secrets.contains(name), Rule::SecretNotGranted),
        Authority::Mount(label, access) => match grants.mounts.get(label) {
            None => Some(Rule::MountNotGranted),
            Some(mount) => held(mount.access() >= *access, Rule::MountReadOnly),
        },
        Authority::Egress(prefix) => {
            held(grants.egress.iter().any(|grant| grant.covers_prefix(prefix)), Rule::EgressNotGranted)
        }
        Authority::Shell => held(grants.shell, Rule::ShellNotGranted),
        Authority::Git(access) => match grants.git {
            None => Some(Rule::GitNotGranted),
            Some(granted) => held(granted >= *access, Rule::GitReadOnly),
        },
    }
}

/// Returns the remedy for an item that a list of the config lacks. A list stands in a section once.
fn list(name: &str, is_empty: bool, item: &str) -> String {
    if is_empty { format!("write `{name} = [{item}]`") } else { format!("add `{item}` to `{name}`") }
}

/// What a rule says against an authority, and what to write into the workspace's section.
fn why(rule: Rule, authority: &Authority, grants: &WorkspaceGrants) -> (String, String) {
    match authority {
        Authority::Secret(name) => (
            format!("no grant for secret `{name}`"),
            list("secrets", grants.secrets.is_empty(), &format!("\"{name}\"")),
        ),
        Authority::Mount(label, _) if rule == Rule::MountReadOnly => (
            format!("mount `{label}` is granted for reading only"),
            format!("change the access of `mounts.{label}` to `access = \"write\"`"),
        ),
        Authority::Mount(label, access) => (
            format!("no mount `{label}` is granted"),
            format!("write `mounts.{label} = {{ path = \"…\", access = \"{}\" }}`", access.as_str()),
        ),
        Authority::Egress(prefix) => {
            (format!("no grant covers `{prefix}`"), list("egress", grants.egress.is_empty(), &egress_item(prefix)))
        }
        Authority::Shell => ("running commands is not granted".to_owned(), "write `shell = true`".to_owned()),
        Authority::Git(_) if rule == Rule::GitReadOnly => (
            "version control is granted for reading only".to_owned(),
            "change `git = \"read\"` to `git = \"write\"`".to_owned(),
        ),
        Authority::Git(access) => {
            ("version control is not granted".to_owned(), format!("write `git = \"{}\"`", access.as_str()))
        }
    }
}

struct Judge<'a> {
    manifest: &'a Manifest,
    workspace: &'a WorkspaceId,
    grants: &'a WorkspaceGrants,
    policy: HostPolicy<'a>,
}

impl Judge<'_> {
    fn bundle(&self) -> Option<Refusal> {
        (self.grants.require_bundle && self.policy.builtin).then(|| Refusal {
            subject: "bundle".to_owned(),
            need: Need::Required,
            rule: Rule::BundleRequired,
            reason: "this host takes profiles from bundles only".to_owned(),
            remedy: format!(
                "name a bundle, or write `require_bundle = false` under [workspaces.{}] in the host's config",
                self.workspace
            ),
        })
    }

    fn wish(&self, wish: &Wish) -> Result<(), Refusal> {
        let refuse = |rule, reason: String, remedy| {
            Err(Refusal { subject: wish.authority.to_string(), need: wish.need, rule, reason, remedy })
        };
        if let Some((reason, remedy)) = over_authority(&self.manifest.policy.authorities, &wish.authority) {
            return refuse(Rule::BundlePolicyDenied, reason, remedy);
        }
        let Some(rule) = lacking(self.grants, &wish.authority) else { return Ok(()) };
        let (reason, remedy) = why(rule, &wish.authority, self.grants);
        refuse(rule, reason, format!("{remedy} under [workspaces.{}] in the host's config", self.workspace))
    }

    /// A resolver chose among the models of the facts it was given. The config is what counts.
    fn model(&self, name: &bundles::ModelName) -> Option<Refusal> {
        let offered = self.policy.config.offers_model(self.workspace, name);
        (!offered).then(|| Refusal {
            subject: format!("model:{name}"),
            need: Need::Required,
            rule: Rule::ModelNotGranted,
            reason: format!("model `{name}` is not offered to this workspace"),
            remedy: self.model_remedy(name),
        })
    }

    fn model_remedy(&self, name: &bundles::ModelName) -> String {
        let (config, workspace, item) = (self.policy.config, self.workspace, format!("\"{name}\""));
        let own = self.grants.models.as_ref().filter(|own| !own.contains(name));
        let missing = [
            (!config.models().any(|offered| offered == name))
                .then(|| format!("{} under [host]", list("models", config.models().next().is_none(), &item))),
            own.map(|own| format!("{} under [workspaces.{workspace}]", list("models", own.is_empty(), &item))),
            self.unnamed(),
        ];
        format!("{} in the host's config", missing.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }

    /// Returns the remedy for a workspace that the config does not name, which is granted nothing.
    fn unnamed(&self) -> Option<String> {
        (!self.policy.config.names(self.workspace))
            .then(|| format!("write the section [workspaces.{}]", self.workspace))
    }

    /// What is selected without being granted narrows the worker: nothing asked for it by need.
    fn plugin(&self, name: &bundles::PluginName) -> Result<(), Refusal> {
        let subject = format!("plugin:{name}");
        let (rule, reason, remedy) = match over_name(&self.manifest.policy.plugins, name, "plugins") {
            Some((reason, remedy)) => (Rule::BundlePolicyDenied, reason, remedy),
            // Two keys, always: without a grant by digest a plugin is words in a bundle.
            None => (
                Rule::PluginNotGranted,
                format!("no grant names the package of plugin `{name}`"),
                "this Runtime has no plugin grants yet; the worker goes on without it".to_owned(),
            ),
        };
        Err(Refusal { subject, need: Need::Optional, rule, reason, remedy })
    }

    fn tool(&self, name: &bundles::ToolName, plugins: &[bundles::PluginName]) -> Result<(), Refusal> {
        let subject = format!("tool:{name}");
        let refuse = |need, rule, reason, remedy| Err(Refusal { subject: subject.clone(), need, rule, reason, remedy });
        if let Some((reason, remedy)) = over_name(&self.manifest.policy.tools, name, "tools") {
            return refuse(Need::Optional, Rule::BundlePolicyDenied, reason, remedy);
        }
        match self.manifest.tools.get(name).map(|tool| &tool.source) {
            Some(ToolSource::Plugin(plugin)) if !plugins.contains(plugin) => refuse(
                Need::Optional,
                Rule::ToolWithoutPlugin,
                format!("plugin `{plugin}`, which answers it, is not part of the worker"),
                format!("select plugin `{plugin}` in the profile, and grant it on this host"),
            ),
            Some(ToolSource::Host) if !self.policy.config.has_capability(self.workspace, &format!("tool:{name}")) => {
                let config = self.policy.config;
                let (reason, remedy) = match self.unnamed() {
                    Some(remedy) if config.capabilities().any(|has| has.as_str() == subject) => {
                        (format!("the host's config does not name workspace `{}`", self.workspace), remedy)
                    }
                    _ => (
                        format!("the host's config does not list `{subject}` among its capabilities"),
                        format!(
                            "{} under [host]",
                            list("capabilities", config.capabilities().next().is_none(), &format!("\"{subject}\""))
                        ),
                    ),
                };
                let remedy = format!(
                    "{remedy} in the host's config, if the Runtime has the tool, or select it only `when = [\"has:{subject}\"]`"
                );
                refuse(Need::Required, Rule::UnsupportedDeclaration, reason, remedy)
            }
            _ => Ok(()),
        }
    }
}

/// The permission that would cover a prefix, as the config spells it.
fn egress_item(prefix: &bundles::UrlPrefix) -> String {
    let (scheme, rest) = prefix.origin().split_once("://").unwrap_or_default();
    // An address of version 6 has colons of its own, and brackets that the config does without.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.map(|port| format!(", port = {port}")).unwrap_or_default();
    let methods = if scheme.starts_with("http") { ", methods = [\"GET\"]" } else { "" };
    format!("{{ scheme = \"{scheme}\", host = \"{host}\"{port}{methods}, path_prefixes = [\"{}\"] }}", prefix.path())
}

/// What the bundle's ceiling says against an authority: the reason and the remedy.
///
/// Denying something denies whatever includes it, and whatever lies below it: who may not write may
/// still read, who may not reach a host may not reach a path of it either.
fn over_authority(ceiling: &Ceiling<Authority>, authority: &Authority) -> Option<(String, String)> {
    let denies = |denied: &&Authority| {
        authority.covers(denied) || matches!(authority, Authority::Egress(_)) && denied.covers(authority)
    };
    if let Some(denied) = ceiling.deny.iter().find(denies) {
        return Some((
            format!("the bundle's own policy denies `{denied}`"),
            format!("take `{denied}` out of `deny` under [policy.authorities] in bundle.toml"),
        ));
    }
    let allowed = ceiling.allow.as_ref().is_none_or(|allow| allow.iter().any(|allowed| allowed.covers(authority)));
    (!allowed).then(|| {
        (
            "the bundle's own policy does not allow it".to_owned(),
            format!("add `{authority}` to `allow` under [policy.authorities] in bundle.toml"),
        )
    })
}

fn over_name<T: PartialEq + std::fmt::Display>(
    ceiling: &Ceiling<T>,
    name: &T,
    section: &str,
) -> Option<(String, String)> {
    if ceiling.deny.contains(name) {
        return Some((
            format!("the bundle's own policy denies `{name}`"),
            format!("take `{name}` out of `deny` under [policy.{section}] in bundle.toml"),
        ));
    }
    let allowed = ceiling.allow.as_ref().is_none_or(|allow| allow.contains(name));
    (!allowed).then(|| {
        (
            "the bundle's own policy does not allow it".to_owned(),
            format!("add `{name}` to `allow` under [policy.{section}] in bundle.toml"),
        )
    })
}
