//! `yoi bundle diff`: compares two bundles and the resolutions of their profiles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::ProfileName;
use bundles::comparison::{Difference, ManifestChange, changes, differences};
use bundles::manifest::Manifest;
use component_host::{BundleView, Resolver};
use host_policy::{Facts, HostPolicy, Request, RuntimeConfig, enforce};
use serde::Serialize;
use serde_json::{Value, json};
use worker_runtime::report::ResolutionReport;
use worker_runtime::{Inputs, Resolutions};

use crate::bundle_source;
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;
use crate::resolve::{bare_facts, read_facts};
use crate::sandbox::{self, CacheArgs, LimitsArgs};
use crate::text::Rows;

/// Compares two bundles and the resolutions of their profiles on a host.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Old bundle: folder with a `bundle.toml`, built bundle, or `builtin`.
    before: PathBuf,
    /// New bundle.
    after: PathBuf,
    /// JSON file with the facts of the host.
    #[arg(long, value_name = "FILE", env = "YOI_FACTS")]
    facts: Option<PathBuf>,
    /// Config of the host (TOML).
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    same: bool,
    before: bundles::Digest,
    after: bundles::Digest,
    /// `true` if the policy of a host was enforced before the comparison.
    enforced: bool,
    changes: Vec<ManifestChange>,
    profiles: BTreeMap<String, ProfileChange>,
    /// Different values of each profile that resolves differently.
    values: BTreeMap<String, Vec<Difference>>,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum ProfileChange {
    /// Only the new bundle has the profile.
    Added,
    /// Only the old bundle has the profile.
    Removed,
    /// Both have the profile, with another resolution or error. Holds the names of the different fields.
    Differs(Vec<String>),
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let config = args.config.as_deref().map(config_file::read).transpose()?;
    let (old, new) =
        (bundle_source::open(&args.before, &limits.bundle)?, bundle_source::open(&args.after, &limits.bundle)?);
    for source in [&old, &new] {
        config.as_ref().map_or(Ok(()), |config| bundle_source::as_host(&source.bundle, config, &limits.bundle))?;
    }
    let (before, after) = (&old.bundle, &new.bundle);
    let facts = match &args.facts {
        Some(path) => Some(read_facts(path)?),
        None => None,
    };
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let sides =
        [&old, &new].map(|source| Side { view: BundleView::new(source.bundle.clone()), builtin: source.builtin });
    let ((profiles, values), enforced) = crate::block_on(async {
        let resolver = sandbox::resolver(&sandbox, None).await?;
        let host = Host { facts, config, bare: bare_facts()? };
        let profiles = compare(&resolver, &sides, &host).await;
        Ok::<_, CliError>((profiles, host.config.is_some()))
    })??;
    let document = Document {
        schema: "yoi.bundle-diff/1",
        same: before.digest() == after.digest(),
        before: before.digest(),
        after: after.digest(),
        enforced,
        changes: changes(before.manifest(), after.manifest()),
        profiles,
        values,
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
            (None, Some(config)) => config.facts(
                &manifest.workspace.id,
                self.bare.os.clone(),
                self.bare.arch.clone(),
                &component_host::WORLDS,
            ),
            (None, None) => self.bare.clone(),
        }
    }
}

struct Side {
    view: BundleView,
    builtin: bool,
}

impl Side {
    /// Resolves a profile on a host. The result contains the declarations instead of only their names, so that a changed
    /// declaration is a difference.
    async fn result(&self, resolutions: &Resolutions, resolver: &Resolver, name: &ProfileName, host: &Host) -> Value {
        let manifest = self.view.bundle().manifest();
        let inputs = Inputs::new(host.facts(manifest), Request::new(name.clone(), []));
        let resolved = match resolutions.resolve(resolver, &self.view, &inputs).await {
            Ok(resolved) => resolved,
            Err(error) => return json!({ "error": error.to_string() }),
        };
        let enforced = host.config.as_ref().map(|config| {
            let policy =
                HostPolicy { config, workspace: &manifest.workspace.id, builtin: self.builtin, package_faults: None };
            enforce(manifest, resolved.resolution(), policy)
        });
        let (spec, refused) = match enforced {
            Some(Ok(spec)) => (Some(spec), None),
            Some(Err(refusals)) => (None, Some(refusals)),
            None => (None, None),
        };
        let report = serde_json::to_value(ResolutionReport::new(manifest, &resolved, spec.as_ref()));
        let Ok(Value::Object(mut fields)) = report else { return Value::Null };
        // Origins follow from the other fields and change with each inserted layer. The rest describes how the result was
        // computed.
        for field in ["schema", "enforced", "origins", "reads", "digests", "cost"] {
            fields.remove(field);
        }
        if let Some(refused) = refused {
            fields.insert("refused".to_owned(), json!(refused));
        }
        let resolution = resolved.resolution();
        let of = |declared: Option<Value>, name: &str| json!([name, declared]);
        for (field, content) in [
            (
                "tools",
                spec.as_ref()
                    .map_or_else(
                        || resolution.tools().to_vec(),
                        |spec| spec.tools().iter().map(|tool| tool.name.clone()).collect(),
                    )
                    .iter()
                    .map(|name| of(manifest.tools.get(name).map(|tool| json!(tool)), name.as_str()))
                    .collect(),
            ),
            (
                "plugins",
                spec.as_ref()
                    .map_or_else(|| resolution.plugins(), |spec| spec.plugins())
                    .iter()
                    .map(|name| of(manifest.plugins.get(name).map(|plugin| json!(plugin)), name.as_str()))
                    .collect(),
            ),
            (
                "workflows",
                resolution
                    .workflows()
                    .iter()
                    .map(|name| of(manifest.workflows.get(name).map(|workflow| json!(workflow)), name.as_str()))
                    .collect(),
            ),
        ] {
            fields.insert(field.to_owned(), Value::Array(content));
        }
        Value::Object(fields)
    }
}

async fn compare(
    resolver: &Resolver,
    sides: &[Side; 2],
    host: &Host,
) -> (BTreeMap<String, ProfileChange>, BTreeMap<String, Vec<Difference>>) {
    let resolutions = Resolutions::with_capacity(0);
    let [old, new] = sides
        .each_ref()
        .map(|side| side.view.bundle().manifest().profiles.keys().cloned().collect::<BTreeSet<ProfileName>>());
    let (mut changed, mut values) = (BTreeMap::new(), BTreeMap::new());
    for name in old.union(&new) {
        let change = match (old.contains(name), new.contains(name)) {
            (false, _) => Some(ProfileChange::Added),
            (_, false) => Some(ProfileChange::Removed),
            _ => {
                let mut results = Vec::new();
                for side in sides {
                    results.push(side.result(&resolutions, resolver, name, host).await);
                }
                let change = differing(&results);
                if let (Some(_), [one, two]) = (&change, results.as_slice()) {
                    values.insert(name.to_string(), differences(Some(one), Some(two)));
                }
                change
            }
        };
        changed.extend(change.map(|change| (name.to_string(), change)));
    }
    (changed, values)
}

fn differing(results: &[Value]) -> Option<ProfileChange> {
    let [Value::Object(one), Value::Object(two)] = results else { return None };
    let fields: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let different: Vec<String> =
        fields.into_iter().filter(|field| one.get(*field) != two.get(*field)).cloned().collect();
    (!different.is_empty()).then_some(ProfileChange::Differs(different))
}

/// Adds a row for each change, with the values that differ.
pub(crate) fn add_changes(rows: &mut Rows, changes: &[ManifestChange]) {
    let mut label = "changes";
    for change in changes {
        rows.row(std::mem::take(&mut label), format!("{} {} {}", change.change.as_str(), change.kind, change.name));
        rows.list("", change.values.iter().map(|value| format!("  {}", value.line())));
    }
}

fn text(document: &Document) -> String {
    if document.same {
        return format!("the same bundle: {}\n", document.before);
    }
    let mut rows = Rows::default();
    rows.row("before", document.before);
    rows.row("after", document.after);
    add_changes(&mut rows, &document.changes);
    if document.profiles.is_empty() {
        let unchanged = "all have the same resolution as before on this host";
        // A changed ceiling has an effect only if a policy is enforced.
        let hint = if document.enforced { "" } else { "; use --config to compare granted authorities" };
        rows.row("profiles", format!("{unchanged}{hint}"));
    }
    let mut label = "profiles";
    for (name, change) in &document.profiles {
        let line = match change {
            ProfileChange::Added => format!("{name} is new"),
            ProfileChange::Removed => format!("{name} was removed"),
            ProfileChange::Differs(fields) => format!("{name} resolves differently: {}", fields.join(", ")),
        };
        rows.row(std::mem::take(&mut label), line);
        let values = document.values.get(name).map(Vec::as_slice).unwrap_or_default();
        rows.list("", values.iter().map(|value| format!("  {}", value.line())));
    }
    rows.into_text()
}
