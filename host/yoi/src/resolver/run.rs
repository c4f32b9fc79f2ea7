//! `yoi resolver run`: runs one resolution with one component, to test the component in isolation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use component_host::{BundleView, Cost, LoadError};
use host_policy::{ProfileSelector, Request, verify_answer};
use runtime_api::Code;
use serde::Serialize;
use worker_runtime::{Outcome, ResolveError};

use crate::advice;
use crate::error::CliError;
use crate::output::Output;
use crate::resolve::{bare_facts, open, read_facts};
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};
use crate::text::{Rows, bytes, grouped};

/// Runs one resolution with a component and shows its outcome.
///
/// The limits file is TOML with the sections `structure`, `compile`, `resolution` and `bundle`. `docs/limits.toml` of the
/// project lists every limit. `yoi resolver inspect` shows the numbers of a component that `structure` limits.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Component, as `PATH` or `PATH@sha256:…`. `builtin` is the built-in resolver.
    component: ComponentRef,
    /// Folder with a `bundle.toml`, built bundle, or `builtin`.
    #[arg(long, short, value_name = "BUNDLE", env = "YOI_BUNDLE")]
    bundle: PathBuf,
    /// Profile: `NAME`, or `builtin:NAME` for a profile of the built-in bundle.
    #[arg(long, short, value_name = "PROFILE", env = "YOI_PROFILE")]
    profile: ProfileSelector,
    /// JSON file with the facts of a host. Default: only the operating system and the architecture of this machine.
    #[arg(long, value_name = "FILE", env = "YOI_FACTS")]
    facts: Option<PathBuf>,
    /// Capability that the worker requires. Can be repeated.
    #[arg(long, value_name = "CAPABILITY", env = "YOI_REQUIRE", value_delimiter = ',')]
    require: Vec<bundles::Capability>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    component: bundles::Digest,
    outcome: Outcome,
    code: Option<Code>,
    message: Option<String>,
    help: Option<String>,
    limit: Option<&'static str>,
    fuel: u64,
    memory_bytes: u64,
    time_ms: f64,
    resolution: Option<host_policy::Resolution>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let bundle_limits = limits.bundle.clone();
    let bundle = open(&args.profile, &args.bundle, &limits)?.bundle;
    let facts = match &args.facts {
        Some(path) => read_facts(path)?,
        None => bare_facts()?,
    };
    let bytes = args.component.read_or_shipped(&limits)?;
    let request = Request::new(args.profile.profile().clone(), args.require.iter().cloned());
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let view = BundleView::new(bundle);
    let document = crate::block_on(async {
        let resolver = match sandbox.load(&bytes).await {
            Ok(resolver) => resolver,
            Err(error) => return load_failure(&bytes, &error),
        };
        let run = resolver.resolve(&view, &facts, &request).await;
        let verified = run
            .answer
            .map_err(ResolveError::from)
            .and_then(|answer| Ok(verify_answer(view.bundle().manifest(), &facts, &request, &bundle_limits, answer)??));
        outcome(resolver.digest(), run.cost, verified)
    })?;
    let exit = document.code.map_or(0, Code::exit_code);
    output.result(&document, || text(&document));
    Ok(ExitCode::from(exit))
}

fn load_failure(component: &[u8], error: &LoadError) -> Document {
    Document {
        schema: "yoi.resolver-run/1",
        component: bundles::Digest::of(component),
        outcome: match error {
            LoadError::Link { .. } => Outcome::RefusedLink,
            LoadError::Exceeds { .. } => Outcome::Limit,
            LoadError::OutOfMemory => Outcome::Unavailable,
            _ => Outcome::RefusedLoad,
        },
        code: Some(error.code()),
        message: Some(error.to_string()),
        help: Some(advice::with_command(error.help()).to_owned()),
        limit: match error {
            LoadError::CompileLimit { limit, .. } | LoadError::Exceeds { limit, .. } => Some(limit),
            LoadError::Structure(component_host::structure::StructureRefusal::OverBudget { limit, .. }) => Some(limit),
            _ => None,
        },
        fuel: 0,
        memory_bytes: 0,
        time_ms: 0.0,
        resolution: None,
    }
}

fn outcome(
    component: bundles::Digest,
    cost: Cost,
    verified: Result<host_policy::Resolution, ResolveError>,
) -> Document {
    let (resolution, error) = match verified {
        Ok(resolution) => (Some(resolution), None),
        Err(error) => (None, Some(error)),
    };
    Document {
        schema: "yoi.resolver-run/1",
        component,
        outcome: error.as_ref().map_or(Outcome::Resolved, ResolveError::outcome),
        code: error.as_ref().map(ResolveError::code),
        message: error.as_ref().map(ToString::to_string),
        help: error.as_ref().map(|error| advice::with_command(&error.help()).to_owned()),
        limit: match &error {
            Some(ResolveError::Call(component_host::RunError::Limit { limit, .. })) => Some(limit),
            _ => None,
        },
        fuel: cost.fuel,
        memory_bytes: cost.memory_bytes,
        time_ms: millis(cost.elapsed),
        resolution,
    }
}

fn millis(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

fn text(document: &Document) -> String {
    let mut rows = Rows::default();
    rows.row("component", document.component);
    let outcome = serde_json::to_value(document.outcome)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default();
    rows.row("outcome", outcome);
    rows.list("code", document.code);
    rows.list("message", &document.message);
    rows.list("help", &document.help);
    rows.list("limit", document.limit);
    rows.row(
        "cost",
        format!(
            "{} fuel, {} of memory, {:.3} ms",
            grouped(document.fuel),
            bytes(document.memory_bytes),
            document.time_ms
        ),
    );
    if let Some(resolution) = &document.resolution {
        rows.row("resolution", resolution.digest());
        rows.list("", serde_json::to_string_pretty(resolution).unwrap_or_default().lines());
    }
    rows.into_text()
}
