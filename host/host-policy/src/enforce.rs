//! Enforcement of the host's grants on a resolution.
//!
//! [`enforce`] is a pure function of a resolution, the bundle's own ceiling and the host's config. It
//! returns a [`ResolvedWorkerSpec`], or all refusals, each with the rule that refused and the config
//! line that would grant the request. There is no other way to obtain a spec. A refused optional wish
//! narrows the spec; a refused required wish refuses the worker.

mod plugins;
mod spec;

use bundles::manifest::{Ceiling, Manifest};
use bundles::{Authority, Need, ToolSource, Wish, WorkspaceId};
use error_code::Code;
use serde::Serialize;

use crate::config::{RuntimeConfig, WorkspaceGrants};
use crate::plugin::PackageFaults;
use crate::resolution::Resolution;

pub use spec::{ResolvedWorkerSpec, SpecGit, SpecModel, SpecMount, SpecTool};

/// The rule behind a refusal. It serializes as its stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The bundle's own ceiling denies the subject.
    BundlePolicyDenied,
    /// The host requires a bundle, and a built-in profile was requested.
    BundleRequired,
    /// No grant for the secret.
    SecretNotGranted,
    /// No grant for the mount.
    MountNotGranted,
    /// The mount is granted for reading only.
    MountReadOnly,
    /// No grant covers the URL prefix.
    EgressNotGranted,
    /// Running commands is not granted.
    ShellNotGranted,
    /// Version control is not granted.
    GitNotGranted,
    /// Version control is granted for reading only.
    GitReadOnly,
    /// The model is not offered to the workspace.
    ModelNotGranted,
    /// No grant for the plugin.
    PluginNotGranted,
    /// The grant of the plugin is for another package.
    PluginGrantOutdated,
    /// A surface of the plugin is not granted.
    SurfaceNotGranted,
    /// A tool of the plugin is not granted.
    ToolNotGranted,
    /// The effect of a plugin's tool is not granted.
    EffectNotGranted,
    /// The external effect of a plugin's tool is not granted.
    ExternalEffectNotGranted,
    /// Two sources offer a tool of the same name.
    DuplicateTool,
    /// The plugin's package is not stored.
    PackageMissing,
    /// The plugin's package is damaged.
    PackageDamaged,
    /// The plugin's package is invalid.
    PackageInvalid,
    /// The bundle describes the plugin differently than its package.
    DescriptorMismatch,
    /// This Runtime does not run components of the plugin's world.
    UnsupportedWorld,
    /// A schema in the manifest of the plugin's package is invalid.
    InvalidSchema,
    /// The plugin's component imports an interface that its world does not have.
    ImportNotAllowed,
    /// The plugin's component cannot be loaded.
    ComponentRefused,
    /// The plugin's component could not be loaded now, for example because the compiler had too little time.
    ComponentNotLoaded,
    /// The granted config of the plugin is invalid.
    PluginConfigInvalid,
    /// The tool's plugin is not part of the worker.
    ToolWithoutPlugin,
    /// The worker lacks an authority that the tool needs.
    ToolWithoutAuthority,
    /// This Runtime has no such host tool.
    UnsupportedDeclaration,
}

impl Rule {
    /// Returns the stable code.
    pub fn code(self) -> Code {
        match self {
            Self::BundlePolicyDenied => Code::BundlePolicyDenied,
            Self::BundleRequired => Code::BundleRequired,
            Self::SecretNotGranted => Code::SecretNotGranted,
            Self::MountNotGranted => Code::MountNotGranted,
            Self::MountReadOnly => Code::MountReadOnly,
            Self::EgressNotGranted => Code::EgressNotGranted,
            Self::ShellNotGranted => Code::ShellNotGranted,
            Self::GitNotGranted => Code::GitNotGranted,
            Self::GitReadOnly => Code::GitReadOnly,
            Self::ModelNotGranted => Code::ModelNotGranted,
            Self::PluginNotGranted => Code::PluginNotGranted,
            Self::PluginGrantOutdated => Code::PluginGrantOutdated,
            Self::SurfaceNotGranted => Code::SurfaceNotGranted,
            Self::ToolNotGranted => Code::ToolNotGranted,
            Self::EffectNotGranted => Code::EffectNotGranted,
            Self::ExternalEffectNotGranted => Code::ExternalEffectNotGranted,
            Self::DuplicateTool => Code::DuplicateTool,
            Self::PackageMissing => Code::PackageMissing,
            Self::PackageDamaged => Code::PackageDamaged,
            Self::PackageInvalid => Code::PackageInvalid,
            Self::DescriptorMismatch => Code::DescriptorMismatch,
            Self::UnsupportedWorld => Code::UnsupportedWorld,
            Self::InvalidSchema => Code::InvalidSchema,
            Self::ImportNotAllowed => Code::ImportNotAllowed,
            Self::ComponentRefused => Code::ComponentRefused,
            Self::ComponentNotLoaded => Code::ComponentNotLoaded,
            Self::PluginConfigInvalid => Code::PluginConfigInvalid,
            Self::ToolWithoutPlugin => Code::ToolWithoutPlugin,
            Self::ToolWithoutAuthority => Code::ToolWithoutAuthority,
            Self::UnsupportedDeclaration => Code::UnsupportedDeclaration,
        }
    }
}

/// A request that is not granted, with the rule and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The refused authority, `tool:NAME`, `plugin:NAME`, `model:NAME`, or `bundle`.
    pub subject: String,
    /// `required` if the worker cannot be created without the subject.
    pub need: Need,
    /// The rule that refused.
    pub rule: Rule,
    /// The reason, as a short message.
    pub reason: String,
    /// The line that would grant the request, and the file it belongs to.
    pub remedy: String,
}

/// Returns the message for a refused worker, with the number of its required refusals.
pub fn refusal_summary(refusals: &[Refusal]) -> String {
    match refusals.iter().filter(|refusal| refusal.need == Need::Required).count() {
        1 => "this host refuses the worker: 1 required permission is not granted".to_owned(),
        required => format!("this host refuses the worker: {required} required permissions are not granted"),
    }
}

/// The host's side of an enforcement: its config, the workspace, and the kind of bundle.
#[derive(Debug, Clone, Copy)]
pub struct HostPolicy<'a> {
    /// The host's config.
    pub config: &'a RuntimeConfig,
    /// The workspace whose grants apply: the bundle's own, or the one that requests a built-in profile.
    pub workspace: &'a WorkspaceId,
    /// `true` for the built-in bundle.
    pub builtin: bool,
    /// Faults of the packages of selected plugins. `None` if the packages were not read.
    pub package_faults: Option<&'a PackageFaults>,
}

/// Checks a resolution against the bundle's ceiling and the host's grants.
///
/// If a required part is refused, the error holds all refusals, the optional ones too. Otherwise the
/// spec keeps the optional refusals as [`ResolvedWorkerSpec::narrowed`].
pub fn enforce(
    manifest: &Manifest,
    resolution: &Resolution,
    policy: HostPolicy<'_>,
) -> Result<ResolvedWorkerSpec, Vec<Refusal>> {
    let workspace = policy.workspace;
    let grants = policy.config.grants(workspace);
    let checker = GrantChecker { manifest, workspace, grants: &grants, policy };
    let (mut granted, mut refused) = (Vec::new(), Vec::new());
    refused.extend(checker.bundle());
    refused.extend(resolution.model().and_then(|name| checker.model(name)));
    for wish in resolution.wishes() {
        match checker.wish(wish) {
            Ok(()) => granted.push(wish.authority.clone()),
            Err(refusal) => refused.push(refusal),
        }
    }
    let mut plugins = Vec::new();
    for name in resolution.plugins() {
        match checker.plugin(name, resolution) {
            Ok(()) => plugins.push(name.clone()),
            Err(refusal) => refused.push(refusal),
        }
    }
    let mut tools = Vec::new();
    for name in resolution.tools() {
        match checker.tool(name, &plugins, &refused) {
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
    /// `true` if the config grants an authority to a workspace.
    ///
    /// [`enforce`] applies the same check when a worker is created. Callers repeat it at every use.
    pub fn has_grant(&self, workspace: &WorkspaceId, authority: &Authority) -> bool {
        self.workspace_grants(workspace).is_some_and(|grants| refusing_rule(grants, authority).is_none())
    }
}

/// Returns the rule that refuses an authority, or `None` if the authority is granted.
fn refusing_rule(grants: &WorkspaceGrants, authority: &Authority) -> Option<Rule> {
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

/// Returns the remedy for an item that a list of the config lacks. TOML allows a key only once in a table, so an existing
/// list is extended.
fn list(name: &str, is_empty: bool, item: &str) -> String {
    if is_empty { format!("write `{name} = [{item}]`") } else { format!("add `{item}` to `{name}`") }
}

/// Returns the reason of a refusal, and the change of the workspace's section that would grant the authority.
fn reason_and_remedy(rule: Rule, authority: &Authority, grants: &WorkspaceGrants) -> (String, String) {
    match authority {
        Authority::Secret(name) => (
            format!("secret `{name}` is not granted"),
            list("secrets", grants.secrets.is_empty(), &format!("\"{name}\"")),
        ),
        Authority::Mount(label, _) if rule == Rule::MountReadOnly => (
            format!("mount `{label}` is granted for reading only"),
            format!("change the access of `mounts.{label}` to `access = \"write\"`"),
        ),
        Authority::Mount(label, access) => (
            format!("mount `{label}` is not granted"),
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

/// Checks the parts of a resolution one by one.
struct GrantChecker<'a> {
    manifest: &'a Manifest,
    workspace: &'a WorkspaceId,
    grants: &'a WorkspaceGrants,
    policy: HostPolicy<'a>,
}

impl GrantChecker<'_> {
    fn bundle(&self) -> Option<Refusal> {
        (self.grants.require_bundle && self.policy.builtin).then(|| Refusal {
            subject: "bundle".to_owned(),
            need: Need::Required,
            rule: Rule::BundleRequired,
            reason: "this workspace does not allow built-in profiles".to_owned(),
            remedy: format!(
                "select a profile of a bundle, or write `require_bundle = false` under [workspaces.{}] in the host's config",
                self.workspace
            ),
        })
    }

    fn wish(&self, wish: &Wish) -> Result<(), Refusal> {
        let refuse = |rule, reason: String, remedy| {
            Err(Refusal { subject: wish.authority.to_string(), need: wish.need, rule, reason, remedy })
        };
        if let Some((reason, remedy)) = denied_authority(&self.manifest.policy.authorities, &wish.authority) {
            return refuse(Rule::BundlePolicyDenied, reason, remedy);
        }
        let Some(rule) = refusing_rule(self.grants, &wish.authority) else { return Ok(()) };
        let (reason, remedy) = reason_and_remedy(rule, &wish.authority, self.grants);
        refuse(rule, reason, format!("{remedy} under [workspaces.{}] in the host's config", self.workspace))
    }

    /// Checks the chosen model against the config, because the resolver chose it from facts that may differ.
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
            self.missing_workspace(),
        ];
        format!("{} in the host's config", missing.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }

    /// Returns the remedy for a workspace that has no section in the config, and therefore no grants.
    fn missing_workspace(&self) -> Option<String> {
        (!self.policy.config.has_workspace(self.workspace))
            .then(|| format!("write the section [workspaces.{}]", self.workspace))
    }

    /// Checks a tool. The refusal of a tool whose plugin is refused repeats the reason and the remedy of the plugin, so that
    /// one explanation is enough.
    fn tool(
        &self,
        name: &bundles::ToolName,
        plugins: &[bundles::PluginName],
        refused: &[Refusal],
    ) -> Result<(), Refusal> {
        let subject = format!("tool:{name}");
        let refuse = |need, rule, reason, remedy| Err(Refusal { subject: subject.clone(), need, rule, reason, remedy });
        if let Some((reason, remedy)) = denied_name(&self.manifest.policy.tools, name, "tools") {
            return refuse(Need::Optional, Rule::BundlePolicyDenied, reason, remedy);
        }
        match self.manifest.tools.get(name).map(|tool| &tool.source) {
            Some(ToolSource::Plugin(plugin)) if !plugins.contains(plugin) => {
                let subject = format!("plugin:{plugin}");
                let (reason, remedy) = match refused.iter().find(|refusal| refusal.subject == subject) {
                    Some(Refusal { rule, reason, remedy, .. }) => {
                        (format!("its plugin `{plugin}` is refused: {reason} [{}]", rule.code()), remedy.clone())
                    }
                    None => (
                        format!("its plugin `{plugin}` is not part of the worker"),
                        format!("select plugin `{plugin}` in the profile, and grant it on this host"),
                    ),
                };
                refuse(Need::Optional, Rule::ToolWithoutPlugin, reason, remedy)
            }
            Some(ToolSource::Host) if !self.policy.config.has_capability(self.workspace, &format!("tool:{name}")) => {
                let config = self.policy.config;
                let (reason, remedy) = match self.missing_workspace() {
                    Some(remedy) if config.capabilities().any(|has| has.as_str() == subject) => {
                        (format!("the host's config has no section for workspace `{}`", self.workspace), remedy)
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

/// Returns the permission that would cover a prefix, as a TOML inline table for the config.
fn egress_item(prefix: &bundles::UrlPrefix) -> String {
    let (scheme, rest) = prefix.origin().split_once("://").unwrap_or_default();
    // An IPv6 address contains colons, and the config writes it without brackets.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.map(|port| format!(", port = {port}")).unwrap_or_default();
    let methods = if scheme.starts_with("http") { ", methods = [\"GET\"]" } else { "" };
    format!("{{ scheme = \"{scheme}\", host = \"{host}\"{port}{methods}, path_prefixes = [\"{}\"] }}", prefix.path())
}

/// Returns the reason and the remedy if the bundle's ceiling denies an authority.
///
/// A denied authority also denies every wider authority, and a denied URL prefix also denies every
/// prefix below it. For example, denying writes to a mount still allows reads, and denying a host denies all its paths.
fn denied_authority(ceiling: &Ceiling<Authority>, authority: &Authority) -> Option<(String, String)> {
    let denies = |denied: &&Authority| {
        authority.covers(denied) || matches!(authority, Authority::Egress(_)) && denied.covers(authority)
    };
    if let Some(denied) = ceiling.deny.iter().find(denies) {
        return Some((
            format!("the bundle's own policy denies `{denied}`"),
            format!("remove `{denied}` from `deny` under [policy.authorities] in bundle.toml"),
        ));
    }
    let allowed = ceiling.allow.as_ref().is_none_or(|allow| allow.iter().any(|allowed| allowed.covers(authority)));
    (!allowed).then(|| {
        (
            format!("the bundle's own policy does not allow `{authority}`"),
            format!("add `{authority}` to `allow` under [policy.authorities] in bundle.toml"),
        )
    })
}

/// Returns the reason and the remedy if the bundle's ceiling denies the name of a tool or plugin.
fn denied_name<T: PartialEq + std::fmt::Display>(
    ceiling: &Ceiling<T>,
    name: &T,
    section: &str,
) -> Option<(String, String)> {
    if ceiling.deny.contains(name) {
        return Some((
            format!("the bundle's own policy denies `{name}`"),
            format!("remove `{name}` from `deny` under [policy.{section}] in bundle.toml"),
        ));
    }
    let allowed = ceiling.allow.as_ref().is_none_or(|allow| allow.contains(name));
    (!allowed).then(|| {
        (
            format!("the bundle's own policy does not allow `{name}`"),
            format!("add `{name}` to `allow` under [policy.{section}] in bundle.toml"),
        )
    })
}
