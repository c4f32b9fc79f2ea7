//! `yoi bundle diff`: what differs, and which profiles resolve differently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::manifest::Manifest;
use component_host::{BundleView, Limits, Resolver};
use host_policy::{Facts, Request, RuntimeConfig};
use serde::Serialize;
use serde_json::{Map, Value};
use worker_runtime::{Inputs, Resolutions};

use crate::bundle_source;
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;
use crate::resolve::{bare_facts, read_facts};
use crate::sandbox::{self, CacheArgs};
use crate::text::Rows;

/// Says what differs between two bundles, and which profiles resolve differently on a host.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with a `bundle.toml`, a built bundle, or `builtin`.
    before: PathBuf,
    /// Another one.
    after: PathBuf,
    /// JSON file with the facts of the host for which profiles are resolved.
    #[arg(long, value_name = "FILE", env = "YOI_FACTS")]
    facts: Option<PathBuf>,
    /// The config of the host for which profiles are resolved.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    same: bool,
    before: bundles::Digest,
    after: bundles::Digest,
    changes: Vec<Change>,
    profiles: BTreeMap<String, ProfileChange>,
}

#[derive(Serialize)]
struct Change {
    /// What: `profile`, `prompt` and so on, or a field of the bundle as a whole.
    kind: String,
    name: String,
    change: &'static str,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum ProfileChange {
    /// There is none in the bundle before.
    Added,
    /// There is none in the bundle after.
    Removed,
    /// Another resolution, or another failure: the fields that differ.
    Differs(Vec<String>),
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = Limits::default();
    let before = bundle_source::open(&args.before, &limits.bundle)?.bundle;
    let after = bundle_source::open(&args.after, &limits.bundle)?.bundle;
    let config = args.config.as_deref().map(config_file::read).transpose()?;
    let facts = match &args.facts {
        Some(path) => Some(read_facts(path)?),
        None => None,
    };
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let (one, two) = (BundleView::new(before.clone()), BundleView::new(after.clone()));
    let profiles = crate::block_on(async {
        let resolver = sandbox::resolver(&sandbox, None).await?;
        let host = Host { facts, config, bare: bare_facts()? };
        Ok::<_, CliError>(compare(&resolver, &one, &two, &host).await)
    })??;
    let document = Document {
        schema: "yoi.bundle-diff/1",
        same: before.digest() == after.digest(),
        before: before.digest(),
        after: after.digest(),
        changes: changes(before.manifest(), after.manifest()),
        profiles,
    };
    output.result(&document, || text(&document));
    Ok(ExitCode::SUCCESS)
}

struct Host {
    facts: Option<Facts>,
    config: Option<RuntimeConfig>,
    bare: Facts,
}

impl Host {
    fn facts(&self, manifest: &Manifest) -> Facts {
        match (&self.facts, &self.config) {
            (Some(facts), _) => facts.clone(),
            (None, Some(config)) => config.facts(&manifest.workspace.id, self.bare.os.clone(), self.bare.arch.clone()),
            (None, None) => self.bare.clone(),
        }
    }
}

async fn compare(
    resolver: &Resolver,
    before: &BundleView,
    after: &BundleView,
    host: &Host,
) -> BTreeMap<String, ProfileChange> {
    let resolutions = Resolutions::remembering(0);
    let names = |view: &BundleView| view.bundle().manifest().profiles.keys().cloned().collect::<BTreeSet<_>>();
    let (old, new) = (names(before), names(after));
    let mut changed = BTreeMap::new();
    for name in old.union(&new) {
        let change = match (old.contains(name), new.contains(name)) {
            (false, _) => Some(ProfileChange::Added),
            (_, false) => Some(ProfileChange::Removed),
            _ => {
                let mut answers = Vec::new();
                for view in [before, after] {
                    let inputs = Inputs::new(host.facts(view.bundle().manifest()), Request::new(name.clone(), []));
                    answers.push(match resolutions.resolve(resolver, view, &inputs).await {
                        Ok(resolved) => serde_json::to_value(resolved.resolution()).unwrap_or_default(),
                        Err(error) => serde_json::json!({ "error": error.to_string() }),
                    });
                }
                differing(&answers)
            }
        };
        changed.extend(change.map(|change| (name.to_string(), change)));
    }
    changed
}

fn differing(answers: &[Value]) -> Option<ProfileChange> {
    let [Value::Object(one), Value::Object(two)] = answers else { return None };
    // Origins follow from the rest, and move with every layer that is put in between.
    let fields: BTreeSet<&String> = one.keys().chain(two.keys()).filter(|field| *field != "origins").collect();
    let different: Vec<String> =
        fields.into_iter().filter(|field| one.get(*field) != two.get(*field)).cloned().collect();
    (!different.is_empty()).then_some(ProfileChange::Differs(different))
}

/// Every declaration and every other field that differs, in the order of the manifest.
fn changes(before: &Manifest, after: &Manifest) -> Vec<Change> {
    let object = |manifest: &Manifest| match serde_json::to_value(manifest) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (one, two) = (object(before), object(after));
    let mut changes = Vec::new();
    for field in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        let kind = match field.as_str() {
            "profiles" | "prompts" | "workflows" | "tools" | "plugins" | "models" => field.trim_end_matches('s'),
            other => {
                changes.extend(change_of(other, "", one.get(field), two.get(field)));
                continue;
            }
        };
        let entries = |map: &Map<String, Value>| map.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let (one, two) = (entries(&one), entries(&two));
        for name in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
            changes.extend(change_of(kind, name, one.get(name), two.get(name)));
        }
    }
    changes
}

fn change_of(kind: &str, name: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Change> {
    let change = match (before, after) {
        (None, Some(_)) => "added",
        (Some(_), None) => "removed",
        (one, two) if one != two => "changed",
        _ => return None,
    };
    Some(Change { kind: kind.to_owned(), name: name.to_owned(), change })
}

fn text(document: &Document) -> String {
    if document.same {
        return format!("the same bundle: {}\n", document.before);
    }
    let mut rows = Rows::default();
    rows.row("before", document.before);
    rows.row("after", document.after);
    rows.list(
        "changes",
        document.changes.iter().map(|change| format!("{} {} {}", change.change, change.kind, change.name)),
    );
    if document.profiles.is_empty() {
        rows.row("profiles", "every profile resolves as before on this host");
    }
    rows.list(
        "profiles",
        document.profiles.iter().map(|(name, change)| match change {
            ProfileChange::Added => format!("{name} is new"),
            ProfileChange::Removed => format!("{name} is gone"),
            ProfileChange::Differs(fields) => format!("{name} resolves differently: {}", fields.join(", ")),
        }),
    );
    rows.into_text()
}
