//! Grants of plugins in the config of a host: reading them, and changing them in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bundles::plugin::{Package, PluginManifest};
use bundles::{Digest, WorkspaceId};
use host_policy::{PluginGrant, PluginReview, RuntimeConfig};
use runtime_api::Code;
use serde_json::{Map, Value, json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

use crate::config_file;
use crate::digest_prefix::DigestLookup;
use crate::error::CliError;
use crate::files;
use crate::text::Rows;

/// Arguments of the commands that compare a package with a config.
#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    /// Config of the host (TOML), with the grants of the workspace.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    /// Workspace whose grants apply. Default: the only workspace of the config.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
}

/// Arguments of the commands that change a config.
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// Config of the host (TOML), which is changed in place.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    pub(super) config: PathBuf,
    /// Workspace whose grants change. Default: the only workspace of the config.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
}

/// The grants of one workspace, if the command has a config, as seen from one package.
pub(super) struct Host(Option<WorkspaceGrants>);

struct WorkspaceGrants {
    workspace: WorkspaceId,
    plugins: BTreeMap<Digest, PluginGrant>,
    /// Grant of exactly the package.
    own: Option<PluginGrant>,
    /// Other packages that are granted under the name of the plugin.
    others: Vec<Digest>,
}

impl HostArgs {
    /// Reads the grants that concern a package.
    pub(super) fn read(&self, package: &Package) -> Result<Host, CliError> {
        let Some(path) = &self.config else { return Ok(Host(None)) };
        let config = config_file::read(path)?;
        let workspace = config_file::workspace(&config, self.workspace.as_ref())?;
        let plugins = config.grants(&workspace).plugins;
        let name = package.manifest().name();
        let own = plugins.get(&package.digest()).filter(|grant| grant.name == *name).cloned();
        let others = named(&plugins, name.as_str(), &package.digest());
        Ok(Host(Some(WorkspaceGrants { workspace, plugins, own, others })))
    }
}

/// Returns the digests that are granted under a name, other than `digest`.
fn named(plugins: &BTreeMap<Digest, PluginGrant>, name: &str, digest: &Digest) -> Vec<Digest> {
    let has_name = |(other, grant): &(&Digest, &PluginGrant)| *other != digest && grant.name.as_str() == name;
    plugins.iter().filter(has_name).map(|(digest, _)| *digest).collect()
}

impl Host {
    /// Returns the review, and `true` if it was compared with a config.
    pub(super) fn review(&self, manifest: &PluginManifest) -> (PluginReview, bool) {
        let own = self.0.as_ref().and_then(|grants| grants.own.as_ref());
        (PluginReview::new(manifest, own), self.0.is_some())
    }

    /// Returns the grant of the package.
    pub(super) fn grant(&self) -> Option<&PluginGrant> {
        self.0.as_ref()?.own.as_ref()
    }

    /// Returns the reason why no grant covers a request, if the package has no grant.
    pub(super) fn no_grant(&self) -> &'static str {
        match &self.0 {
            None => "no config is given, pass it with `--config`",
            Some(grants) if grants.own.is_some() => "the package has no grant of this kind",
            Some(grants) if grants.others.is_empty() => "the package is not granted",
            Some(_) => "another package of this plugin is granted",
        }
    }

    /// Returns the error code if something that the package requests is not granted.
    pub(super) fn refusal(&self, review: &PluginReview) -> Option<Code> {
        let grants = self.0.as_ref().filter(|_| !review.missing().is_empty())?;
        Some(match (&grants.own, grants.others.is_empty()) {
            (Some(_), _) => Code::Denied,
            (None, true) => Code::PluginNotGranted,
            (None, false) => Code::PluginGrantOutdated,
        })
    }

    /// Returns the grant of the only package whose digest begins with `text`.
    pub(super) fn find(&self, text: &str) -> Result<(Digest, &PluginGrant), CliError> {
        let Some(grants) = &self.0 else {
            let message = "a digest is looked up among the grants of a config, and there is no `--config`";
            return Err(CliError::new(Code::Usage, message, "add `--config`, or name a package by its path"));
        };
        let digest = GRANTS.find(text, grants.plugins.keys().copied())?;
        grants.plugins.get_key_value(&digest).map(|(digest, grant)| (*digest, grant)).ok_or_else(unexpected)
    }

    /// Adds the rows that name the workspace and the earlier grants.
    pub(super) fn rows(&self, rows: &mut Rows) {
        let Some(grants) = &self.0 else { return };
        rows.row("workspace", &grants.workspace);
        let note = "is granted under the same name; `yoi plugin review --against` shows the difference";
        rows.noted_list("other package", grants.others.iter().map(|digest| (digest, note)));
    }

    /// Adds the lists of a review to a JSON document. Without a config, those that depend on a grant are `null`.
    pub(super) fn add_to(&self, document: &mut Map<String, Value>, review: &PluginReview) {
        let workspace = self.0.as_ref().map(|grants| &grants.workspace);
        document.insert("workspace".to_owned(), json!(workspace));
        let Value::Object(lists) = json!(review) else { return };
        for (name, list) in lists {
            let is_of_grant =
                matches!(name.as_str(), "granted" | "missing" | "grant_only") || name.starts_with("configured_");
            // The lists of `yoi plugin show` have descriptions and schemas too.
            let entry = document.entry(name);
            entry.or_insert(if is_of_grant && workspace.is_none() { Value::Null } else { list });
        }
    }
}

/// Plugins that are named by digest.
const GRANTS: DigestLookup = DigestLookup { kind: "plugin", list: "yoi plugin list" };

/// A config that is about to be changed.
pub(super) struct Change<'a> {
    path: &'a Path,
    text: String,
    document: DocumentMut,
    pub(super) workspace: WorkspaceId,
    /// Grants of the workspace as they are in the file.
    pub(super) plugins: BTreeMap<Digest, PluginGrant>,
}

impl ChangeArgs {
    pub(super) fn open(&self) -> Result<Change<'_>, CliError> {
        let path = &self.config;
        let text = config_file::text(path)?;
        let (config, _) = config_file::parse(&text, path)?;
        let workspace = config_file::workspace(&config, self.workspace.as_ref())?;
        let plugins = config.grants(&workspace).plugins;
        let document = text.parse().map_err(|_| unexpected())?;
        Ok(Change { path, text, document, workspace, plugins })
    }
}

impl Change<'_> {
    /// Returns the other packages that are granted under a name.
    pub(super) fn others(&self, name: &str, digest: &Digest) -> Vec<Digest> {
        named(&self.plugins, name, digest)
    }

    /// Returns the packages that are granted under a name, or the only one whose digest begins with `text`.
    pub(super) fn find(&self, text: &str) -> Result<Vec<Digest>, CliError> {
        let has_name = |grant: &PluginGrant| grant.name.as_str() == text;
        let found: Vec<Digest> =
            self.plugins.iter().filter(|(_, grant)| has_name(grant)).map(|(digest, _)| *digest).collect();
        match found.is_empty() {
            true if DigestLookup::is_prefix(text) => Ok(vec![GRANTS.find(text, self.plugins.keys().copied())?]),
            true => Err(CliError::new(
                Code::NotFound,
                format!("no plugin `{}` is granted to workspace `{}`", bundles::shown(text), self.workspace),
                "list the grants with `yoi plugin list`",
            )),
            false => Ok(found),
        }
    }

    /// Removes the grant of a package.
    pub(super) fn remove(&mut self, digest: &Digest) {
        self.plugins.remove(digest);
        if let Some(plugins) = self.table() {
            plugins.remove(&digest.to_string());
        }
    }

    /// Writes the grant of a package. The first of `replaced` becomes this grant, with its place and its comments; the
    /// others are removed. Fields that stay the same keep their text.
    pub(super) fn put(&mut self, digest: Digest, grant: PluginGrant, replaced: &[Digest]) -> Result<(), CliError> {
        let first = if self.plugins.contains_key(&digest) { Some(&digest) } else { replaced.first() };
        let old = first.and_then(|first| self.plugins.get(first)).map(|old| json!(old)).unwrap_or_default();
        let new = json!(grant);
        let plugins = self.item_or_new().ok_or_else(unexpected)?;
        let empty = new_item(plugins);
        let plugins = plugins.as_table_like_mut().ok_or_else(unexpected)?;
        let taken = first.map(ToString::to_string);
        let decor = taken.as_deref().and_then(|key| Some(plugins.key(key)?.leaf_decor().clone()));
        let item = taken.as_deref().and_then(|key| plugins.remove(key));
        let mut item = item.unwrap_or(empty);
        let fields = item.as_table_like_mut().ok_or_else(unexpected)?;
        for name in old.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| new.get(name).is_none()) {
            fields.remove(name);
        }
        for (name, value) in in_order(new.as_object().into_iter().flatten()) {
            let is_empty = value.as_array().is_some_and(Vec::is_empty);
            match old.get(name) {
                Some(same) if same == value => {}
                _ if is_empty => drop(fields.remove(name)),
                _ => drop(fields.insert(name, Item::Value(to_toml(value)))),
            }
        }
        let key = digest.to_string();
        plugins.insert(&key, item);
        if let (Some(decor), Some(mut key)) = (decor, plugins.key_mut(&key)) {
            *key.leaf_decor_mut() = decor;
        }
        for other in replaced {
            if *other != digest {
                self.remove(other);
            }
        }
        self.plugins.insert(digest, grant);
        Ok(())
    }

    /// Writes the config, after checking that it says what was meant.
    pub(super) fn write(self) -> Result<(), CliError> {
        let text = self.document.to_string();
        let changed = RuntimeConfig::grants(&config_file::parse(&text, self.path)?.0, &self.workspace);
        if changed.plugins != self.plugins {
            return Err(unexpected());
        }
        files::edit(self.path, &self.text, &text, "config")
    }

    fn workspace_item(&mut self) -> Option<&mut Item> {
        self.document.get_mut("workspaces")?.as_table_like_mut()?.get_mut(self.workspace.as_str())
    }

    fn table(&mut self) -> Option<&mut dyn TableLike> {
        self.workspace_item()?.as_table_like_mut()?.get_mut("plugins")?.as_table_like_mut()
    }

    fn item_or_new(&mut self) -> Option<&mut Item> {
        let workspace = self.workspace_item()?;
        let mut empty = new_item(workspace);
        if let Some(table) = empty.as_table_mut() {
            table.set_implicit(true);
        }
        Some(workspace.as_table_like_mut()?.entry("plugins").or_insert(empty))
    }
}

/// Creates an empty table that can stand in `parent`: only tables with a header have tables with a header.
fn new_item(parent: &Item) -> Item {
    match parent.as_table() {
        Some(table) if !table.is_dotted() => Item::Table(Table::new()),
        _ => Item::Value(InlineTable::new().into()),
    }
}

/// Order in which a person reads the fields of a grant. JSON has them by the alphabet.
const FIELD_ORDER: [&str; 13] = [
    "name",
    "scheme",
    "host",
    "port",
    "methods",
    "path_prefixes",
    "subprotocols",
    "header",
    "surfaces",
    "tools",
    "effects",
    "requests",
    "websockets",
];

fn in_order<'a>(fields: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Vec<(&'a String, &'a Value)> {
    let mut fields: Vec<_> = fields.into_iter().collect();
    let place = |name: &str| FIELD_ORDER.iter().position(|known| *known == name).unwrap_or(FIELD_ORDER.len());
    fields.sort_by_key(|(name, _)| place(name));
    fields
}

/// Converts JSON to TOML. Lists of tables have a line for each table.
pub(super) fn to_toml(value: &Value) -> toml_edit::Value {
    match value {
        Value::Null => "".into(),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => {
            let mut array: Array = items.iter().map(to_toml).collect();
            if items.iter().any(Value::is_object) {
                for item in array.iter_mut() {
                    item.decor_mut().set_prefix("\n  ");
                }
                array.set_trailing_comma(true);
                array.set_trailing("\n");
            }
            array.into()
        }
        Value::Object(map) => {
            in_order(map).into_iter().map(|(key, value)| (key.as_str(), to_toml(value))).collect::<InlineTable>().into()
        }
    }
}

/// Returns the error of a config whose form this program cannot change.
fn unexpected() -> CliError {
    let message = "the form of the config does not allow this change";
    CliError::new(Code::InvalidConfig, message, "change the grant by hand, under [workspaces.ID.plugins.\"DIGEST\"]")
}
