//! `yoi resolver compare`: shows what another resolver changes, and what the changes mean for the authority of workers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bundles::{Bundle, Digest, WorkspaceId};
use clap::builder::BoolishValueParser;
use component_host::BundleView;
use host_policy::{ChangeEffect, Facts, HostPolicy, Request, ResolutionChange, RuntimeConfig, enforce};
use runtime_api::Code;
use runtime_api::comparison::{Comparison, ComparisonState, Objection};
use serde_json::json;
use tokio::time::sleep;
use worker_runtime::comparison::{CaseRun, Comparer};
use worker_runtime::{Inputs, Record, RuntimeLimits, shipped};

use super::sources::{DigestOrPath, SourceArgs, Sources};
use super::{comparison_page, registry};
use crate::config_file;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::progress::Progress;
use crate::remote::ServerArgs;
use crate::resolve::{bare_facts, read_facts};
use crate::sandbox::{self, CacheArgs, LimitsArgs};
use crate::text::{Rows, bytes, grouped};

/// Characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 120;

/// Time between two requests for the progress of a comparison.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Shows what another resolver changes, and what the changes mean for the authority of workers.
///
/// The cases are recorded resolutions (`--records`, `--data`), all profiles of bundles (`--bundle` with `--all-profiles`), or the
/// recorded resolutions of a running service. In the last case BEFORE is `active`, and the service keeps the result for
/// `yoi resolver activate`. Fuel and memory are the same on every host; no time is measured. Exits with 4 if workers could do
/// more, if profiles newly fail, or if the cost grows too much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The earlier resolver: `active`, `builtin`, a digest, or a file.
    before: DigestOrPath,
    /// The later resolver: `active`, `builtin`, a digest, or a file.
    after: DigestOrPath,
    /// Record, or folder of records. Can be repeated.
    #[arg(long, value_name = "PATH", env = "YOI_RECORDS")]
    records: Vec<DigestOrPath>,
    #[command(flatten)]
    sources: SourceArgs,
    /// Resolves all profiles of each `--bundle`.
    #[arg(long, requires = "bundle", env = "YOI_ALL_PROFILES", value_parser = BoolishValueParser::new())]
    all_profiles: bool,
    /// With `--all-profiles`: JSON file with the facts of a host. Can be repeated. Default: only the operating system and the
    /// architecture of this machine.
    #[arg(long, value_name = "FILE", env = "YOI_FACTS")]
    facts: Vec<PathBuf>,
    /// Config of a host (TOML). The changes then include what the host grants.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    /// Writes the comparison as an HTML page that needs no other file.
    #[arg(long, value_name = "FILE", env = "YOI_HTML")]
    html: Option<PathBuf>,
    /// Cancels the comparison with AFTER that a service runs.
    #[arg(long, conflicts_with_all = ["records", "all_profiles", "html"], env = "YOI_CANCEL", value_parser = BoolishValueParser::new())]
    cancel: bool,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    if args.cancel {
        let after = resolver_there(&args.after, &args.server)?;
        let status = args.server.send(|client| async move { client.cancel_comparison(after).await })?;
        let document = json!({ "schema": "yoi.resolver-compare-cancel/1", "status": status });
        output.result(&document, || "the comparison does not run\n".to_owned());
        return Ok(ExitCode::SUCCESS);
    }
    let is_local = !args.records.is_empty() || args.sources.data.is_some() || args.all_profiles;
    if !is_local && (args.config.is_some() || !args.facts.is_empty()) {
        let help = "a service has its own config and facts; name cases with `--records`, `--data` or `--all-profiles`";
        return Err(CliError::new(Code::Usage, "`--config` and `--facts` need cases", help));
    }
    let (comparison, objections) =
        if is_local { compare_here(args, output)? } else { compare_there(&args.before, &args.after, &args.server)? };
    if let Some(path) = &args.html {
        files::write(path, comparison_page::render(&comparison, &objections).as_bytes(), "page")?;
    }
    print(&comparison, &objections, is_local, output);
    Ok(if objections.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

/// Prints a comparison. A comparison that was made here is no reason for a service to activate the resolver.
pub(super) fn print(comparison: &Comparison, objections: &BTreeSet<Objection>, is_local: bool, output: &Output) {
    let document = json!({
        "schema": "yoi.resolver-compare/1", "comparison": comparison, "objections": objections,
    });
    output.result(&document, || text(comparison, objections, is_local));
}

fn is_active(named: &DigestOrPath) -> bool {
    matches!(named, DigestOrPath::Path(path) if path.as_os_str() == "active")
}

/// Compares in a running service, which has the records.
pub(super) fn compare_there(
    before: &DigestOrPath,
    after: &DigestOrPath,
    server: &ServerArgs,
) -> Result<(Comparison, BTreeSet<Objection>), CliError> {
    if !is_active(before) {
        return Err(CliError::new(
            Code::Usage,
            "the first resolver must be `active` in a comparison by a service",
            "write `active` as the first resolver, or name cases with `--records`, `--data` or `--bundle` and `--all-profiles`",
        ));
    }
    let after = resolver_there(after, server)?;
    let progress = Progress::new("records");
    let finished = server.send(|client| async move {
        let mut status = client.compare_resolver(after).await?;
        loop {
            match status.state {
                ComparisonState::Running { done, total } => {
                    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
                    progress.set(count(done), count(total));
                    sleep(POLL_INTERVAL).await;
                    status = client.comparison(after).await?;
                }
                state => return Ok(state),
            }
        }
    })?;
    match finished {
        ComparisonState::Finished { comparison, objections } => Ok((*comparison, objections)),
        ComparisonState::Failed { code } => {
            Err(CliError::new(code, "the comparison failed", "see the log of the service"))
        }
        ComparisonState::Cancelled | ComparisonState::Running { .. } => {
            Err(CliError::new(Code::Failed, "the comparison was cancelled", "begin it again"))
        }
    }
}

/// Returns the digest of a resolver of a service.
fn resolver_there(named: &DigestOrPath, server: &ServerArgs) -> Result<Digest, CliError> {
    match named {
        DigestOrPath::Digest(digest) => Ok(*digest),
        named if is_active(named) => {
            let resolvers = server.send(|client| async move { client.resolvers().await })?;
            let active = resolvers.iter().find(|resolver| resolver.active).map(|resolver| resolver.digest);
            active.ok_or_else(|| CliError::new(Code::ResolverNotFound, "no resolver is active", "update the service"))
        }
        DigestOrPath::Path(path) if crate::bundle_source::is_builtin(path) => Ok(Digest::of(shipped::RESOLVER)),
        DigestOrPath::Path(path) if path.exists() => Err(CliError::new(
            Code::Usage,
            format!("`{}` is a file, and a service compares resolvers that were added", files::shown(path)),
            "add it with `yoi resolver add`, and write its digest",
        )),
        DigestOrPath::Path(path) => registry::find(&path.to_string_lossy(), server),
    }
}

/// A case: a bundle, the inputs, and the recorded outcome if there is one.
struct Case {
    name: Digest,
    bundle: Digest,
    inputs: Inputs,
    record: Option<Record>,
}

/// Compares in a sandbox of this program.
fn compare_here(args: &Args, output: &Output) -> Result<(Comparison, BTreeSet<Objection>), CliError> {
    let limits = args.limits.read()?;
    let config = args.config.as_deref().map(config_file::read).transpose()?;
    let sandbox = sandbox::start(&args.cache, limits.clone(), output)?;
    let comparison = crate::block_on(async {
        let mut sources = Sources::gather(&args.sources, &limits).await?;
        let mut add = |named: &DigestOrPath| match named {
            named if is_active(named) => Err(CliError::new(
                Code::Usage,
                "`active` is the resolver of a running service",
                "write `builtin`, a digest or a file",
            )),
            named => sources.add_resolver(named),
        };
        let (before, after) = (add(&args.before)?, add(&args.after)?);
        let resolvers = (sources.resolver(before, &sandbox).await?, sources.resolver(after, &sandbox).await?);
        let cases = cases(args, &sources).await?;
        let progress = Progress::new("cases");
        let mut comparer = Comparer::new(before, after);
        let mut open: Option<BundleView> = None;
        for (index, case) in cases.iter().enumerate() {
            // Cases of one bundle follow each other.
            let view = match open.take().filter(|view| view.bundle().digest() == case.bundle) {
                Some(view) => view,
                None => BundleView::new(sources.bundle(case.bundle).await?),
            };
            let manifest = view.bundle().manifest();
            // Anyone can write such a record, so only a replay uses its outcome.
            let known = case.record.as_ref().filter(|_| before == after);
            let earlier = match known.and_then(|record| CaseRun::restore(record, manifest, &limits.bundle)) {
                Some(known) => known,
                None => CaseRun::compute(&resolvers.0, &view, &case.inputs).await.map_err(interrupted)?,
            };
            let later = CaseRun::compute(&resolvers.1, &view, &case.inputs).await.map_err(interrupted)?;
            let decide = |run: CaseRun| match &config {
                Some(config) => decide(run, config, view.bundle()),
                None => run,
            };
            let (earlier, later) = match earlier.has_outcome_of(&later) {
                true => (earlier, later),
                false => (decide(earlier), decide(later)),
            };
            comparer
                .add(case.name, case.inputs.request().profile(), &earlier, &later)
                .map_err(|error| CliError::new(Code::TooLarge, error.to_string(), "compare fewer cases at once"))?;
            progress.set(index + 1, cases.len());
            open = Some(view);
        }
        Ok::<_, CliError>(comparer.finish())
    })??;
    let objections = comparison.objections(RuntimeLimits::default().comparison_cost_percent);
    Ok((comparison, objections))
}

/// Returns the error for a case that ended for a reason of this machine.
fn interrupted(code: Code) -> CliError {
    CliError::new(
        code,
        "a resolution did not end, for a reason that is not the resolver's",
        "compare again on an idle machine",
    )
}

/// Adds the decision of a host. Plugins are granted as their descriptors say, because no package is read.
fn decide(run: CaseRun, config: &RuntimeConfig, bundle: &Bundle) -> CaseRun {
    let Some(resolution) = run.resolution() else { return run };
    let workspace: &WorkspaceId = &bundle.manifest().workspace.id;
    let builtin = shipped::bundle().is_ok_and(|shipped| shipped.digest() == bundle.digest());
    let policy = HostPolicy { config, workspace, builtin, package_faults: None };
    let decision = enforce(bundle.manifest(), resolution, policy).map(Arc::new).map_err(|_| Code::Denied);
    run.with_decision(decision)
}

async fn cases(args: &Args, sources: &Sources<'_>) -> Result<Vec<Case>, CliError> {
    let mut cases = Vec::new();
    if !args.records.is_empty() || args.sources.data.is_some() {
        for (name, record) in sources.records(&args.records).await? {
            let inputs = Inputs::new(record.facts().clone(), record.request().clone());
            cases.push(Case { name, bundle: record.digests().bundle, inputs, record: Some(record) });
        }
    }
    if args.all_profiles {
        let mut facts: Vec<Facts> = args.facts.iter().map(|path| read_facts(path)).collect::<Result<_, _>>()?;
        if facts.is_empty() {
            facts.push(bare_facts()?);
        }
        for bundle in sources.named_bundles() {
            for profile in bundle.manifest().profiles.keys() {
                for facts in &facts {
                    let inputs = Inputs::new(facts.clone(), Request::new(profile.clone(), []));
                    let digest = bundle.digest();
                    let name = Digest::of(json!([digest, facts.digest(), profile]).to_string());
                    cases.push(Case { name, bundle: digest, inputs, record: None });
                }
            }
        }
    }
    if cases.is_empty() {
        let help = "name records, a data folder with recorded resolutions, or a bundle with `--all-profiles`";
        return Err(CliError::new(Code::NothingToCompare, "there are no cases to compare", help));
    }
    cases.sort_by_key(|case| (case.bundle, case.name));
    Ok(cases)
}

/// Returns the change of a number, in percent.
fn growth(before: u64, after: u64) -> String {
    let (before, after) = (u128::from(before.max(1)), u128::from(after));
    let percent = after * 100 / before;
    match percent {
        100 => "unchanged".to_owned(),
        more if more > 100 => format!("+{} %", more - 100),
        less => format!("-{} %", 100 - less),
    }
}

fn text(comparison: &Comparison, objections: &BTreeSet<Objection>, is_local: bool) -> String {
    let Comparison { before, after, snapshot, cases, cost, change_set, changes, .. } = comparison;
    let mut rows = Rows::default();
    rows.row("before", before);
    rows.row("after", after);
    rows.row("snapshot", snapshot);
    let counts = [
        (cases.same, "the same"),
        (cases.different, "different"),
        (cases.newly_failing, "newly failing"),
        (cases.newly_succeeding, "newly succeeding"),
        (cases.skipped, "not repeatable"),
    ];
    rows.list(
        "cases",
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")),
    );
    let fuel = format!("{} → {} fuel", grouped(cost.fuel_before), grouped(cost.fuel_after));
    rows.noted("cost", fuel, growth(cost.fuel_before, cost.fuel_after));
    let memory = format!("{} → {}", bytes(cost.memory_bytes_before), bytes(cost.memory_bytes_after));
    rows.noted("memory", memory, growth(cost.memory_bytes_before, cost.memory_bytes_after));
    let mut text = rows.into_text();
    if changes.is_empty() {
        text.push_str("\nThe resolvers give the same resolutions.\n");
    } else {
        text.push('\n');
        text.push_str(&table(changes));
    }
    if !objections.is_empty() {
        let words: Vec<_> = objections.iter().map(|one| one.as_str()).collect();
        let next = match (is_local, changes.is_empty()) {
            (true, _) => "A service needs a comparison of its own: yoi resolver compare active DIGEST".to_owned(),
            (false, true) => format!("To accept exactly this cost: --accept {change_set}"),
            (false, false) => format!("To accept exactly these changes: --accept {change_set}"),
        };
        text.push_str(&format!("\n{}. {next}\n", sentence(&words.join(", "))));
    }
    text
}

/// Returns a text with a capital letter at its beginning.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// Returns one line for each change, those that let a worker do more first.
fn table(changes: &BTreeSet<ResolutionChange>) -> String {
    let mut rows = Rows::default();
    let mut effect: Option<ChangeEffect> = None;
    for change in changes {
        let label = if effect.replace(change.effect) == Some(change.effect) { "" } else { change.effect.as_str() };
        rows.noted(label, format!("{} {}", change.profile, change.field), values(change));
    }
    rows.into_text()
}

/// Returns the values of a change in one line.
pub(super) fn values(change: &ResolutionChange) -> String {
    // A change of the whole outcome has the code of the failure on one side.
    let absent = if change.field.is_empty() { "resolved" } else { "nothing" };
    let shown = |value: &Option<String>| value.as_deref().map_or(absent.to_owned(), shortened);
    format!("{} → {}", shown(&change.before), shown(&change.after))
}

/// Returns a value in one line, cut to [`MAX_VALUE_CHARS`]. The JSON output has more of it.
fn shortened(value: &str) -> String {
    let line = bundles::one_line(value);
    match line.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
