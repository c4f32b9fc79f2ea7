//! `yoi resolve`: resolves a profile and enforces the policy of a host.

mod show;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use bundles::{Capability, ToolName, ToolSource, WorkspaceId};
use component_host::{BundleView, Limits};
use host_policy::explain::{Explainer, Explanation, InvalidQuestion, Question};
use host_policy::{Facts, HostPolicy, ProfileSelector, Refusal, Request, ResolvedWorkerSpec, RuntimeConfig, enforce};
use runtime_api::Code;
use serde::Serialize;
use worker_runtime::report::{ResolutionReport, with_policy};
use worker_runtime::{ComputedResolution, Inputs, Record, Resolutions};

use crate::bundle_source::{self, Source};
use crate::config_file;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::refusals::refused;
use crate::runtime::host_tool_names;
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};

/// Resolves a profile on this host.
///
/// Without `--config`, the command shows the proposal of the resolver and grants nothing. With `--config`, it enforces the
/// policy of the host. A required authority that is not granted is an error.
#[derive(Debug, clap::Args)]
#[command(override_usage = "yoi resolve BUNDLE --profile PROFILE [OPTIONS]")]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`, built bundle, or `builtin`.
    bundle: PathBuf,
    /// Profile: `NAME`, or `builtin:NAME` for a profile of the built-in bundle.
    #[arg(long, short, value_name = "PROFILE", env = "YOI_PROFILE")]
    profile: ProfileSelector,
    /// JSON file with the facts of a host. Default: the facts of `--config`, or else only the operating system and the
    /// architecture of this machine.
    #[arg(long, value_name = "FILE", env = "YOI_FACTS")]
    facts: Option<PathBuf>,
    /// Config of the host (TOML), with the grants of the workspace.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    /// With `builtin`: workspace whose grants apply. Default: the only workspace of the config.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
    /// Resolver component, as `PATH` or `PATH@sha256:…`. Default: the built-in resolver.
    #[arg(long, value_name = "COMPONENT", env = "YOI_RESOLVER")]
    resolver: Option<ComponentRef>,
    /// Capability that the worker requires. Can be repeated.
    #[arg(long, value_name = "CAPABILITY", env = "YOI_REQUIRE", value_delimiter = ',')]
    require: Vec<Capability>,
    /// Explains the origin of every value. With FIELD, explains one value, or why it is absent. FIELD is `tool:NAME`,
    /// `prompt:NAME`, `model`, `settings.KEY`, `mount:repo:write`, `/tools/0` …, or `all`.
    #[arg(long, value_name = "FIELD", num_args = 0..=1, default_missing_value = "all", env = "YOI_EXPLAIN")]
    explain: Option<Explain>,
    /// Writes the resolution record: the digests of all inputs and of the output. The record is written even if the
    /// resolution fails or the worker is denied.
    #[arg(long, value_name = "FILE", env = "YOI_RECORD")]
    record: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Argument of `--explain`.
#[derive(Debug, Clone)]
enum Explain {
    All,
    Field(Question),
}

/// Error of an invalid argument of `--explain`, which may be BUNDLE. The hint comes first, because JSON errors are cut off after
/// 300 characters.
#[derive(Debug, thiserror::Error)]
#[error("if this is BUNDLE, write it before `--explain`; {0}")]
struct InvalidExplain(InvalidQuestion);

impl FromStr for Explain {
    type Err = InvalidExplain;

    fn from_str(text: &str) -> Result<Self, InvalidExplain> {
        match text {
            "all" => Ok(Self::All),
            field => field.parse().map(Self::Field).map_err(InvalidExplain),
        }
    }
}

/// Resolution report, with explanations if `--explain` is given.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    report: ResolutionReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanations: Option<Vec<Explanation>>,
    /// Host tools of the worker that this program does not provide.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unanswered_tools: BTreeSet<ToolName>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let config = args.config.as_deref().map(config_file::read).transpose()?;
    let source = open(&args.profile, &args.bundle, &limits)?;
    let manifest = source.bundle.manifest();
    if let Some(config) = &config {
        bundle_source::as_host(&source.bundle, config, &limits.bundle)?;
    }
    let workspace = workspace(args.workspace.as_ref(), &source, config.as_ref())?;
    let facts = facts(args, config.as_ref(), &workspace)?;
    let inputs = Inputs::new(facts, Request::new(args.profile.profile().clone(), args.require.iter().cloned()));
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let view = BundleView::new(source.bundle.clone());
    let resolved = crate::block_on(async {
        let resolver = sandbox::resolver(&sandbox, args.resolver.as_ref()).await?;
        Ok::<_, CliError>(Resolutions::default().run(&resolver, &view, &inputs).await)
    })??;
    let resolved: Arc<ComputedResolution> = match resolved {
        Ok(resolved) => resolved,
        Err(failed) => {
            if failed.error.is_deterministic() {
                write_record(args, &Record::of_failure(&inputs, &failed))?;
            }
            return Err(failed.error.into());
        }
    };

    let enforced = config.as_ref().map(|config| {
        enforce(
            manifest,
            resolved.resolution(),
            HostPolicy { config, workspace: &workspace, builtin: source.builtin, package_faults: None },
        )
    });
    // Write the record before a denial returns an error: the record of a denied worker is useful.
    let policy = config.as_ref().map(|config| config.digest(&workspace));
    write_record(args, &Record::new(&inputs, &resolved, with_policy(*resolved.digests(), policy)))?;
    let refusals: Vec<Refusal> = match &enforced {
        Some(Ok(spec)) => spec.narrowed().to_vec(),
        Some(Err(refusals)) => refusals.clone(),
        None => Vec::new(),
    };
    let explainer =
        Explainer { manifest, facts: inputs.facts(), resolution: resolved.resolution(), refusals: &refusals };
    let explanations = explain(args, &explainer)?;
    let spec = match enforced {
        // A denial includes the explanations.
        Some(Err(refusals)) => return Err(with_explanations(refused(&refusals), explanations.as_deref(), output)),
        Some(Ok(spec)) => Some(spec),
        None => None,
    };
    let only_field = matches!(args.explain, Some(Explain::Field(_)));
    let report = ResolutionReport::new(manifest, &resolved, spec.as_ref());
    let unanswered_tools = tools_without_provider(spec.as_ref())?;
    let document = Document { report, explanations, unanswered_tools };
    output.result(&document, || {
        let mut text = String::new();
        if !only_field {
            text.push_str(&show::resolution(manifest, &resolved, spec.as_ref(), &document.unanswered_tools));
        }
        if let Some(explanations) = &document.explanations {
            text.push_str(&show::explanations(explanations, only_field));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

/// Returns the host tools of a worker without a provider. A service would refuse the worker.
fn tools_without_provider(spec: Option<&ResolvedWorkerSpec>) -> Result<BTreeSet<ToolName>, CliError> {
    let provided = host_tool_names()?;
    let tools = spec.into_iter().flat_map(ResolvedWorkerSpec::tools);
    let missing = tools.filter(|tool| tool.source == ToolSource::Host && !provided.contains(&tool.name));
    Ok(missing.map(|tool| tool.name.clone()).collect())
}

/// Opens the bundle of a profile.
pub(crate) fn open(profile: &ProfileSelector, bundle: &Path, limits: &Limits) -> Result<Source, CliError> {
    if matches!(profile, ProfileSelector::Builtin(_)) && !bundle_source::is_builtin(bundle) {
        let message = format!("`{profile}` is a profile of the built-in bundle, but BUNDLE is another one");
        return Err(CliError::new(Code::Usage, message, "write `builtin` for BUNDLE, or omit `builtin:`"));
    }
    bundle_source::open(bundle, &limits.bundle)
}

/// Returns the workspace whose grants apply: that of the bundle. The built-in bundle belongs to every workspace, so there the
/// result is the workspace of `--workspace`, or the only one of the config.
pub(crate) fn workspace(
    named: Option<&WorkspaceId>,
    source: &Source,
    config: Option<&RuntimeConfig>,
) -> Result<WorkspaceId, CliError> {
    let own = &source.bundle.manifest().workspace.id;
    let usage = |message: String, help: String| Err(CliError::new(Code::Usage, message, help));
    if !source.builtin {
        return match named {
            Some(other) if other != own => usage(
                format!("the bundle is for workspace `{own}`, and `--workspace` names `{other}`"),
                "omit `--workspace`; it is only for `builtin`".to_owned(),
            ),
            _ => Ok(own.clone()),
        };
    }
    let configured: Vec<&WorkspaceId> = config.into_iter().flat_map(RuntimeConfig::workspaces).collect();
    match (named, configured.as_slice()) {
        (Some(named), _) => Ok(named.clone()),
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Ok(own.clone()),
        (None, several) => {
            let names: Vec<String> = several.iter().take(8).map(|name| format!("`{name}`")).collect();
            usage(
                format!("the config has {} workspaces, and `builtin` can be used by all of them", several.len()),
                format!("name one with `--workspace`: {}", names.join(", ")),
            )
        }
    }
}

pub(crate) fn read_facts(path: &Path) -> Result<Facts, CliError> {
    let bytes = files::read_within(path, host_policy::FACTS_BOUNDS.bytes, "facts file")?;
    let bytes = files::authored(path, bytes, "facts file")?;
    Facts::from_json(&bytes).map_err(|error| {
        let help = "write an object with `os`, `arch` and the lists `capabilities`, `models`, `mounts` and `secrets`";
        CliError::new(error.code(), format!("invalid facts: {error}"), help)
    })
}

/// Returns the operating system and the architecture for which this program was compiled.
pub(crate) fn bare_facts() -> Result<Facts, CliError> {
    let name = |text: &str| {
        text.parse().map_err(|_| {
            CliError::new(
                Code::Failed,
                "the platform of this program has no valid name",
                "pass the facts with `--facts`",
            )
        })
    };
    Ok(Facts::bare(name(std::env::consts::OS)?, name(std::env::consts::ARCH)?))
}

fn facts(args: &Args, config: Option<&RuntimeConfig>, workspace: &WorkspaceId) -> Result<Facts, CliError> {
    if let Some(path) = &args.facts {
        return read_facts(path);
    }
    let bare = bare_facts()?;
    Ok(match config {
        Some(config) => config.facts(workspace, bare.os, bare.arch, &component_host::WORLDS),
        None => bare,
    })
}

fn explain(args: &Args, explainer: &Explainer<'_>) -> Result<Option<Vec<Explanation>>, CliError> {
    match &args.explain {
        None => Ok(None),
        Some(Explain::All) => Ok(Some(explainer.explain_all())),
        Some(Explain::Field(question)) => match explainer.explain(question) {
            Some(explanation) => Ok(Some(vec![explanation])),
            None => {
                let message = "the resolution has no such field";
                Err(CliError::new(
                    Code::UnknownFieldAsked,
                    message,
                    "name a field such as `tool:fs.write`, or list the fields with `--format json`",
                ))
            }
        },
    }
}

fn with_explanations(mut error: CliError, explanations: Option<&[Explanation]>, output: &Output) -> CliError {
    let Some(explanations) = explanations else { return error };
    if output.is_text() {
        return error.followed_by(&show::explanations(explanations, false));
    } else if let Some(details) = error.details.as_object_mut() {
        details.insert("explanations".to_owned(), serde_json::to_value(explanations).unwrap_or_default());
    }
    error
}

fn write_record(args: &Args, record: &Record) -> Result<(), CliError> {
    let Some(path) = &args.record else { return Ok(()) };
    files::write(path, &record.to_json(), "record")
}
