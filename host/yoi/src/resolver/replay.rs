//! `yoi resolver replay`: repeats recorded resolutions.

use std::process::ExitCode;

use bundles::Digest;
use bundles::comparison::{Difference, differences};
use component_host::{BundleView, Sandbox};
use runtime_api::Code;
use serde::Serialize;
use serde_json::Value;
use worker_runtime::Record;

use super::compare;
use super::sources::{DigestOrPath, SourceArgs, Sources};
use crate::error::CliError;
use crate::output::Output;
use crate::progress::Progress;
use crate::remote::ServerArgs;
use crate::sandbox::{self, CacheArgs, LimitsArgs};
use crate::text::Rows;

/// Repeats recorded resolutions and compares the results byte for byte.
///
/// A record names its bundle and its resolver by digest. The command looks for them in the program itself, in the bundles and
/// components of the options, and in the data folder of a Runtime. `--resolver` uses another resolver and shows the
/// differences. A running service repeats its recorded resolutions itself, and the command shows the comparison.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Record, as `yoi resolve --record` writes it, or a folder of records. With `--data` also the digest of a record of a
    /// worker. Default: the recorded resolutions of the data folder, or else of the running service.
    #[arg(value_name = "RECORD")]
    records: Vec<DigestOrPath>,
    /// Resolver, as a digest or `PATH`. Default: the resolver of the record.
    #[arg(long, value_name = "RESOLVER", env = "YOI_RESOLVER")]
    resolver: Option<DigestOrPath>,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    same: bool,
    records: Vec<ReplayResult>,
}

/// Result of the replay of one record.
#[derive(Serialize)]
struct ReplayResult {
    record: Digest,
    bundle: Digest,
    resolver: Digest,
    outcome: Outcome,
    /// JSON pointers of the differences.
    differs: Vec<String>,
    /// Differences with the recorded and the new values.
    differences: Vec<Difference>,
    /// Error of the replay, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The new record has the same bytes.
    Identical,
    /// The resolution is the same. The resolver, the engine or the cost differs.
    SameResolution,
    /// The resolution fails as recorded. The resolver, the engine or the cost differs.
    SameFailure,
    /// The resolution differs, or a recorded failure does not happen any more.
    Differs,
    /// The resolution fails, unlike the recorded one.
    Fails,
    /// The record contradicts itself.
    Altered,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    if args.records.is_empty() && args.sources.data.is_none() {
        return replay_there(args, output);
    }
    let limits = args.limits.read()?;
    let sandbox = sandbox::start(&args.cache, limits.clone(), output)?;
    let records = crate::block_on(async {
        let mut sources = Sources::gather(&args.sources, &limits).await?;
        let other = args.resolver.as_ref().map(|named| sources.add_resolver(named)).transpose()?;
        let named = sources.records(&args.records).await?;
        let progress = Progress::new("records");
        let mut records = Vec::with_capacity(named.len());
        for (digest, record) in &named {
            records.push(replay(*digest, record, other, &sources, &sandbox).await?);
            progress.set(records.len(), named.len());
        }
        Ok::<_, CliError>(records)
    })??;
    let is_same =
        |one: &ReplayResult| matches!(one.outcome, Outcome::Identical | Outcome::SameResolution | Outcome::SameFailure);
    let same = records.iter().all(is_same);
    let document = Document { schema: "yoi.resolver-replay/1", same, records };
    output.result(&document, || text(&document));
    Ok(ExitCode::from(if same { 0 } else { Code::DigestMismatch.exit_code() }))
}

/// Lets a running service repeat its recorded resolutions.
fn replay_there(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let active = DigestOrPath::Path("active".into());
    let used = args.resolver.as_ref().unwrap_or(&active);
    let (comparison, objections) = compare::compare_there(&active, used, &args.server)?;
    compare::print(&comparison, &objections, false, output);
    let same = comparison.changes.is_empty() && comparison.cases.skipped == 0;
    Ok(ExitCode::from(if same { 0 } else { Code::DigestMismatch.exit_code() }))
}

async fn replay(
    name: Digest,
    record: &Record,
    other: Option<Digest>,
    sources: &Sources<'_>,
    sandbox: &Sandbox,
) -> Result<ReplayResult, CliError> {
    let bytes = record.to_json();
    let digests = *record.digests();
    let used = other.unwrap_or(digests.resolver);
    let view = BundleView::new(sources.bundle(digests.bundle).await?);
    let is_genuine =
        record.failure().is_some() || record.restore(view.bundle().manifest(), &sources.limits().bundle).is_ok();
    if !is_genuine {
        return Ok(ReplayResult {
            record: name,
            bundle: digests.bundle,
            resolver: used,
            outcome: Outcome::Altered,
            differs: Vec::new(),
            differences: Vec::new(),
            error: Some("the recorded answer does not give the recorded resolution".to_owned()),
        });
    }
    let resolver = sources.resolver(used, sandbox).await?;
    let replayed = |outcome, differences: Vec<Difference>, error| ReplayResult {
        record: name,
        bundle: digests.bundle,
        resolver: used,
        outcome,
        differs: differences.iter().map(|one| one.pointer.clone()).collect(),
        differences,
        error,
    };
    let again = match record.replay(&resolver, &view).await {
        Ok(again) => again,
        Err(error) => return Ok(replayed(Outcome::Fails, Vec::new(), Some(error.to_string()))),
    };
    let again_bytes = again.to_json();
    if again_bytes == bytes {
        return Ok(replayed(Outcome::Identical, Vec::new(), None));
    }
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let mut differs = differences(Some(&read(&bytes)), Some(&read(&again_bytes)));
    let same = again.digests().resolution == digests.resolution && again.digests().facts == digests.facts;
    // The same resolver looks up the same names. What a new bundle affects is computed from them.
    let has_reads = used != digests.resolver || again.reads() == record.reads();
    let outcome = match (record.failure(), again.failure()) {
        (Some(recorded), Some(failure)) if recorded == failure && has_reads => Outcome::SameFailure,
        (Some(recorded), Some(failure)) if recorded == failure => Outcome::Differs,
        (_, Some(failure)) => return Ok(replayed(Outcome::Fails, differs, Some(failure.message.clone()))),
        (None, None) if same && has_reads => {
            // Two resolvers may write the same resolution in different ways.
            differs.retain(|one| !one.pointer.starts_with("/proposal"));
            Outcome::SameResolution
        }
        _ => Outcome::Differs,
    };
    Ok(replayed(outcome, differs, None))
}

fn text(document: &Document) -> String {
    let mut text = String::new();
    for replayed in &document.records {
        let mut rows = Rows::default();
        rows.row("record", replayed.record);
        rows.row("bundle", replayed.bundle);
        rows.row("resolver", replayed.resolver);
        rows.row(
            "outcome",
            match replayed.outcome {
                Outcome::Identical => "identical, byte for byte",
                Outcome::SameResolution => "the same resolution",
                Outcome::SameFailure => "the same failure",
                Outcome::Differs => "a different resolution",
                Outcome::Fails => "the resolver failed",
                Outcome::Altered => "the record is altered",
            },
        );
        rows.list("error", &replayed.error);
        rows.list("differs", replayed.differences.iter().map(Difference::line));
        text.push_str(&rows.into_text());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
