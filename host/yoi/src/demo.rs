//! `yoi demo`: builds, resolves and enforces an example bundle, and prints each step. Each printed result is computed.

pub(crate) mod example;
mod fleet;
mod plugin;

use std::num::NonZeroU64;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bundles::{BuildOptions, Bundle, BundleLimits, Need, leak_report};
use component_host::structure::Structure;
use component_host::{BundleView, Limits, ResolutionLimits};
use host_policy::explain::{Explainer, Question};
use host_policy::{HostPolicy, Request, RuntimeConfig, enforce};
use leak_scan::Kind;
use runtime_api::Code;
use serde_json::json;
use worker_runtime::{Inputs, Resolutions, shipped};

use crate::bundle_source;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs};
use crate::text::{bytes, count, dim, grouped};

/// Shows all steps with an example, from bundle to worker, in a temporary folder.
///
/// With `--fleet` it shows a Backend with three Runtimes instead: it publishes a bundle, shows why a Runtime refuses another one,
/// repairs the Runtime and rolls back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shows a Backend with three Runtimes.
    #[arg(long, env = "YOI_FLEET", value_parser = clap::builder::BoolishValueParser::new())]
    fleet: bool,
    /// Lets the fleet run until Ctrl-C, so that its pages can be opened.
    #[arg(long, env = "YOI_STAY", value_parser = clap::builder::BoolishValueParser::new(), requires = "fleet")]
    stay: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

const PROFILE: &str = "backend-dev";

fn broken() -> CliError {
    CliError::new(Code::Failed, "the example of this program is invalid", "report this as a bug")
}

fn write_example(folder: &Path) -> Result<(), CliError> {
    for (name, bytes) in example::files("acme") {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| files::unreadable(parent, "folder", &error))?;
        }
        files::write(&path, &bytes, "file")?;
    }
    Ok(())
}

struct Story {
    lines: Vec<String>,
}

impl Story {
    fn step(&mut self, title: &str) {
        let style = anstyle::AnsiColor::Cyan.on_default().bold();
        self.lines.push(format!("{style}{title}{style:#}"));
    }

    fn say(&mut self, line: impl Into<String>) {
        self.lines.push(format!("  {}", line.into()));
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    if args.fleet {
        return fleet::run(&args.cache, args.stay, output);
    }
    let temporary = tempfile::tempdir().map_err(|error| {
        CliError::new(Code::Unwritable, format!("cannot create a temporary folder: {}", error.kind()), "set TMPDIR")
    })?;
    let (first, second) = (temporary.path().join("first"), temporary.path().join("second"));
    let mut story = Story { lines: Vec::new() };
    let limits = BundleLimits::default();

    story.step("Build a bundle from the configuration of a team");
    write_example(&first)?;
    write_example(&second)?;
    let bundle = bundle_source::build(&first, &BuildOptions::default(), &limits)?.bundle;
    let again = bundle_source::build(&second, &BuildOptions::default(), &limits)?.bundle;
    let manifest = bundle.manifest();
    story.say(format!(
        "{}, {}, {}",
        count(manifest.profiles.len(), "profile"),
        count(manifest.prompts.len(), "prompt"),
        count(manifest.tools.len(), "tool")
    ));
    story.say(format!(
        "{}  {}",
        bundle.digest(),
        dim(if again.digest() == bundle.digest() {
            "the same digest from another folder"
        } else {
            "ANOTHER digest from another folder"
        })
    ));
    story.say(refuse_secret(&second)?);
    story.say(refuse_flipped(&bundle));

    story.step("Load a resolver: WebAssembly that needs no trust");
    let structure = Structure::read(shipped::RESOLVER).map_err(|_| broken())?;
    let imports: Vec<&str> =
        structure.imports().iter().filter(|item| !item.is_types_only()).map(|item| item.name()).collect();
    story.say(format!("{}, imports only {}", bytes(shipped::RESOLVER.len() as u64), imports.join(", ")));
    let sandbox = sandbox::start(&args.cache, Limits::default(), output)?;
    let loading = Instant::now();
    let resolver = crate::block_on(sandbox.load(shipped::RESOLVER))??;
    story.say(format!(
        "compiled in a separate process, or loaded from the cache: {:.0} ms",
        loading.elapsed().as_secs_f64() * 1e3
    ));

    story.step(&format!("Resolve the profile `{PROFILE}` for this host"));
    let config = RuntimeConfig::from_toml(example::file("acme.runtime.toml").ok_or_else(broken)?)?;
    let platform = |text: &str| text.parse().map_err(|_| broken());
    let facts = config.facts(&manifest.workspace.id, platform("linux")?, platform("x86_64")?, &component_host::WORLDS);
    let inputs = Inputs::new(facts, Request::new(PROFILE.parse().map_err(|_| broken())?, []));
    let view = BundleView::new(bundle.clone());
    let resolutions = Resolutions::default();
    let resolved = crate::block_on(resolutions.resolve(&resolver, &view, &inputs))??;
    let resolution = resolved.resolution();
    let lineage: Vec<&str> = resolution.lineage().iter().map(|name| name.as_str()).collect();
    story.say(format!("{}  {}", lineage.join(" > "), dim("inheritance in C3 order")));
    story.say(format!(
        "model {}, {}, {}, {}",
        resolution.model().map_or("none", |name| name.as_str()),
        count(resolution.instructions().len(), "prompt"),
        count(resolution.tools().len(), "tool"),
        count(resolution.wishes().len(), "wish").replace("wishs", "wishes"),
    ));
    let time = resolved.cost().elapsed.as_secs_f64() * 1e3;
    story.say(format!(
        "{} fuel, {} read of {} profiles, {time:.2} ms; every name verified against the bundle",
        grouped(resolved.cost().fuel),
        count(resolved.reads().count(), "name"),
        manifest.profiles.len()
    ));

    story.step("Enforce the policy of the host and the ceiling of the bundle");
    let spec = enforce(
        manifest,
        resolution,
        HostPolicy { config: &config, workspace: &manifest.workspace.id, builtin: false, package_faults: None },
    )
    .map_err(|refusals| crate::refusals::refused(&refusals))?;
    let mounts: Vec<String> =
        spec.mounts().iter().map(|mount| format!("mount {} ({})", mount.label, mount.access.as_str())).collect();
    let secrets = spec.secrets().iter().map(|name| format!("secret {name}"));
    let shell = spec.shell().then(|| "shell".to_owned());
    let git = spec.git().map(|git| format!("git ({})", git.access.as_str()));
    let granted: Vec<String> = mounts
        .into_iter()
        .chain(secrets)
        .chain(shell)
        .chain(git)
        .chain(spec.egress().iter().map(ToString::to_string))
        .collect();
    story.say(format!("granted   {}", granted.join(", ")));
    for refusal in spec.narrowed().iter().take(4) {
        story.say(format!(
            "narrowed  {}: {} {}",
            refusal.subject,
            refusal.reason,
            dim(format!("[{}]", refusal.rule.code()))
        ));
    }

    story.step("Explain values");
    let explainer = Explainer { manifest, facts: inputs.facts(), resolution, refusals: spec.narrowed() };
    for question in ["model", "git:write", "tool:git.commit", "plugin:issue-tracker"] {
        let field: Question = question.parse().map_err(|_| broken())?;
        if let Some(explanation) = explainer.explain(&field) {
            story.say(format!("{question}: {}", explanation.verdict));
        }
    }

    story.step("Limit a resolver");
    let small_limits =
        ResolutionLimits { fuel: NonZeroU64::new(10_000).unwrap_or(NonZeroU64::MIN), ..ResolutionLimits::default() };
    let stopped = crate::block_on(resolver.resolve_within(&view, inputs.facts(), inputs.request(), &small_limits))?;
    let message = stopped.answer.err().map(|error| error.to_string()).unwrap_or_default();
    story.say(format!("with 10,000 fuel: {message}"));
    let fresh = crate::block_on(Resolutions::with_capacity(0).resolve(&resolver, &view, &inputs))??;
    let same = fresh.digests().resolution == resolved.digests().resolution;
    story.say(format!(
        "next resolution, in a new instance: {}",
        if same { "the same resolution, byte for byte" } else { "ANOTHER resolution" }
    ));
    story.say(resolved.resolution().digest().to_string());

    story.step("Review a plugin, grant it, and call its tool");
    crate::block_on(plugin::tell(&mut story, &sandbox))??;
    let required = spec.narrowed().iter().filter(|refusal| refusal.need == Need::Required).count();
    let document = json!({
        "schema": "yoi.demo/1", "bundle": bundle.digest(), "resolver": resolver.digest(), "resolution": resolved.digests().resolution,
        "reproducible": again.digest() == bundle.digest() && same, "narrowed": spec.narrowed(), "required_and_refused": required,
    });
    output.result(&document, || {
        let next = dim("next: yoi resolve builtin --profile coder --explain    yoi bundle new my-team");
        format!("{}\n\n{next}\n", story.lines.join("\n"))
    });
    Ok(ExitCode::SUCCESS)
}

/// Adds text that looks like a token to a prompt and returns a description of the error.
fn refuse_secret(folder: &Path) -> Result<String, CliError> {
    let prompt = folder.join("prompts").join("demo.md");
    // Concatenated here, so that scanners of repositories do not report this source file.
    let token = format!("{}{}", "ghp_", "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R");
    files::write(&prompt, format!("Call the service with\n{token}\n").as_bytes(), "file")?;
    let refused = bundle_source::build(folder, &BuildOptions::default(), &BundleLimits::default());
    std::fs::remove_file(&prompt).map_err(|error| files::unreadable(&prompt, "file", &error))?;
    match refused {
        Err(error) if error.code == leak_report::error_code(Kind::Secret) => {
            let at = error
                .details
                .pointer("/diagnostics/0")
                .map(|found| format!("{}:{}", found["file"].as_str().unwrap_or_default(), found["line"]))
                .unwrap_or_default();
            Ok(format!("with a token in a prompt: refused at {at} [{}]", error.code))
        }
        _ => Err(broken()),
    }
}

/// Flips one bit of the built bundle and returns a description of the error.
fn refuse_flipped(bundle: &Bundle) -> String {
    let mut file = bundles::archive::pack(bundle);
    let middle = file.len() / 2;
    if let Some(byte) = file.get_mut(middle) {
        *byte ^= 1;
    }
    match bundles::archive::unpack(&file, &BundleLimits::default(), bundles::Acceptances::Honour) {
        Ok(_) => "with one flipped bit: ACCEPTED".to_owned(),
        Err(error) => format!("with one flipped bit: refused [{}]", error.code()),
    }
}
