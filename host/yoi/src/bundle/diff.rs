//! `yoi bundle diff`: compares two bundles and the resolutions of their profiles.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::comparison::{Difference, ManifestChange, changes};
use bundles::{ProfileName, WorkspaceId};
use clap::builder::BoolishValueParser;
use component_host::BundleView;
use host_policy::{Facts, Request, RuntimeConfig};
use serde::Serialize;
use worker_runtime::ResolveError;
use worker_runtime::impact::{BundleSide, Impact, ImpactEffect};

use crate::bundle_source::{self, Source};
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;
use crate::resolve::{bare_facts, read_facts, workspace};
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};
use crate::text::{Rows, count};
use records::OpenRecord;

/// Compares two bundles and the resolutions of their profiles on a host.
///
/// The profiles are compared for one host: the facts of `--facts`, or else of `--config`, or else only the operating system
/// and the architecture of this machine. On a host with other facts, other layers can apply, and other profiles can differ.
/// Without `--config`, no policy is enforced, and changed grants are not seen.
///
/// `--impact` adds the profiles that do not differ, and the workers of `--records` that would differ if they were created
/// again. A worker is compared for the facts in its record, which can be older than the facts of its host. Records of other
/// bundles or resolvers are not compared. A resolution whose record shows that it used nothing that differs is not computed.
/// Records are trusted; `yoi resolver replay` checks them.
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
    /// With `builtin`: workspace whose grants apply. Default: the only workspace of the config.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
    /// Shows which profiles and workers the new bundle affects, and which it does not.
    #[arg(long, env = "YOI_IMPACT", value_parser = BoolishValueParser::new())]
    impact: bool,
    /// With `--impact`: folder with records of `yoi resolve --record`, or data folder of a Runtime that is not running.
    #[arg(long, value_name = "FOLDER", env = "YOI_RECORDS", requires = "impact")]
    records: Option<PathBuf>,
    /// Resolver component, as `PATH` or `PATH@sha256:…`. Default: the built-in resolver.
    #[arg(long, value_name = "COMPONENT", env = "YOI_RESOLVER")]
    resolver: Option<ComponentRef>,
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
    /// Error code of each profile that cannot be resolved with either bundle, for the same reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failing: BTreeMap<String, String>,
    /// Different values of each profile that resolves differently.
    values: BTreeMap<String, Vec<Difference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<ImpactReport>,
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

/// The part of the comparison that `--impact` adds.
#[derive(Debug, Default, Serialize)]
struct ImpactReport {
    /// Profiles with the same resolution in both bundles.
    unchanged: Vec<ProfileName>,
    workers: Vec<WorkerImpact>,
    /// Number of resolutions that were computed.
    computed: usize,
    /// Number of resolutions that a comparison without records and read sets computes.
    compared: usize,
}

/// Effect on a worker, or on a resolution with a record.
#[derive(Debug, Serialize)]
struct WorkerImpact {
    /// Id of the worker, or name of the file with the record.
    worker: String,
    profile: ProfileName,
    #[serde(flatten)]
    outcome: WorkerOutcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum WorkerOutcome {
    /// Created again, the worker would be the same.
    Unchanged,
    /// Created again, the worker would differ in these fields.
    Differs { fields: Vec<String> },
    /// The worker has another bundle than the old one.
    OtherBundle { bundle: bundles::Digest },
    /// The worker was resolved by another resolver.
    OtherResolver { resolver: bundles::Digest },
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
    let facts = args.facts.as_deref().map(read_facts).transpose()?;
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let host = Host { facts, config, bare: bare_facts()? };
    let side = |source: &Source| -> Result<BundleSide, CliError> {
        // A workspace that is named for a built-in bundle does not concern the other one.
        let named = args.workspace.as_ref().filter(|_| source.builtin || !(old.builtin || new.builtin));
        let workspace = workspace(named, source, host.config.as_ref())?;
        Ok(BundleSide { view: BundleView::new(source.bundle.clone()), builtin: source.builtin, workspace })
    };
    let sides = [side(&old)?, side(&new)?];
    let (compared, impact) = crate::block_on(async {
        let records = match args.records.as_deref().filter(|_| args.impact) {
            Some(folder) => records::read(folder, &sides[0].workspace).await?,
            None => Vec::new(),
        };
        let resolver = sandbox::resolver(&sandbox, args.resolver.as_ref()).await?;
        let [before, after] = &sides;
        let impact = Impact::new(&resolver, before, after, host.config.as_ref());
        let comparison = Comparison { host: &host, sides: &sides, impact, records: &records };
        let mut report = ImpactReport::default();
        let compared = comparison.profiles(&mut report).await?;
        comparison.workers(&mut report).await?;
        Ok::<_, CliError>((compared, report))
    })??;
    let ComparedProfiles { changed, failing, values } = compared;
    let document = Document {
        schema: "yoi.bundle-diff/1",
        same: before.digest() == after.digest(),
        before: before.digest(),
        after: after.digest(),
        enforced: host.config.is_some(),
        changes: changes(before.manifest(), after.manifest()),
        profiles: changed,
        failing,
        values,
        impact: args.impact.then_some(impact),
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
    fn facts(&self, workspace: &WorkspaceId) -> Facts {
        match (&self.facts, &self.config) {
            (Some(facts), _) => facts.clone(),
            (None, Some(config)) => {
                config.facts(workspace, self.bare.os.clone(), self.bare.arch.clone(), &component_host::WORLDS)
            }
            (None, None) => self.bare.clone(),
        }
    }
}

/// Results of the profiles of both bundles.
#[derive(Debug, Default)]
struct ComparedProfiles {
    changed: BTreeMap<String, ProfileChange>,
    /// Profiles that fail in the same way, with the error code.
    failing: BTreeMap<String, String>,
    /// Different values of the changed profiles.
    values: BTreeMap<String, Vec<Difference>>,
}

struct Comparison<'a> {
    host: &'a Host,
    sides: &'a [BundleSide; 2],
    impact: Impact<'a>,
    records: &'a [OpenRecord],
}

impl Comparison<'_> {
    async fn profiles(&self, report: &mut ImpactReport) -> Result<ComparedProfiles, ResolveError> {
        let manifests = self.sides.each_ref().map(|side| side.view.bundle().manifest());
        let [old, new] = manifests.map(|manifest| manifest.profiles.keys().collect::<BTreeSet<&ProfileName>>());
        let facts = self.sides.each_ref().map(|side| self.host.facts(&side.workspace));
        let mut compared = ComparedProfiles::default();
        for name in old.union(&new) {
            let change = match (old.contains(name), new.contains(name)) {
                (false, _) => ProfileChange::Added,
                (_, false) => ProfileChange::Removed,
                _ => {
                    let request = Request::new((*name).clone(), []);
                    let ImpactEffect { fields, values, failure, .. } = self.effect(&facts, &request, report).await?;
                    if let Some(code) = failure {
                        compared.failing.insert(name.to_string(), code);
                        continue;
                    }
                    if fields.is_empty() {
                        report.unchanged.push((*name).clone());
                        continue;
                    }
                    compared.values.insert(name.to_string(), values);
                    ProfileChange::Differs(fields)
                }
            };
            compared.changed.insert(name.to_string(), change);
        }
        Ok(compared)
    }

    async fn workers(&self, report: &mut ImpactReport) -> Result<(), ResolveError> {
        for OpenRecord { name, record } in self.records {
            let digests = record.digests();
            let outcome = if digests.bundle != self.sides[0].view.bundle().digest() {
                WorkerOutcome::OtherBundle { bundle: digests.bundle }
            } else if !self.impact.is_comparable(record) {
                WorkerOutcome::OtherResolver { resolver: digests.resolver }
            } else {
                let facts = [record.facts(), record.facts()];
                let effect = self.impact.of_request(facts, record.request(), Some(record)).await?;
                report.add(&effect);
                match effect.fields.is_empty() {
                    true => WorkerOutcome::Unchanged,
                    false => WorkerOutcome::Differs { fields: effect.fields },
                }
            };
            let profile = record.request().profile().clone();
            report.workers.push(WorkerImpact { worker: name.clone(), profile, outcome });
        }
        Ok(())
    }

    async fn effect(
        &self,
        facts: &[Facts; 2],
        request: &Request,
        report: &mut ImpactReport,
    ) -> Result<ImpactEffect, ResolveError> {
        let [before, after] = facts;
        let mut records = self.records.iter().map(|one| &one.record);
        let known = records.find(|record| self.impact.is_record_of(record, before, request));
        let effect = self.impact.of_request([before, after], request, known).await?;
        report.add(&effect);
        Ok(effect)
    }
}

impl ImpactReport {
    fn add(&mut self, effect: &ImpactEffect) {
        self.computed += effect.computed;
        self.compared += 2;
    }
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
        let unchanged = match document.failing.is_empty() {
            true => "all have the same resolution as before on this host",
            false => "none resolves differently on this host",
        };
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
    rows.list("failing", document.failing.iter().map(|(name, code)| format!("{name}: {code}, with both bundles")));
    if let Some(impact) = &document.impact {
        add_impact(&mut rows, impact);
    }
    rows.into_text()
}

fn add_impact(rows: &mut Rows, impact: &ImpactReport) {
    rows.list("unchanged", &impact.unchanged);
    rows.noted_list(
        "workers",
        impact.workers.iter().map(|WorkerImpact { worker, profile, outcome }| {
            let outcome = match outcome {
                WorkerOutcome::Unchanged => "would be the same".to_owned(),
                WorkerOutcome::Differs { fields } => format!("would differ: {}", fields.join(", ")),
                WorkerOutcome::OtherBundle { bundle } => format!("not compared: has bundle {}", bundle.short()),
                WorkerOutcome::OtherResolver { resolver } => {
                    format!("not compared: has resolver {}; name it with --resolver", resolver.short())
                }
            };
            (format!("{worker} {outcome}"), format!("({profile})"))
        }),
    );
    let resolutions = count(impact.compared, "resolution");
    rows.row("computed", format!("{} of {resolutions}; records and read sets give the others", impact.computed));
}
