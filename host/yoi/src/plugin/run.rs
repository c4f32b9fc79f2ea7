//! `yoi plugin run`: runs one tool of a plugin, to test the plugin in isolation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bundles::plugin::{Package, PluginTool, PluginWorld};
use bundles::{ToolName, one_line};
use component_host::host_api::{Clocks, HostApi, LogLine, LogSink, NoEgress, Random};
use component_host::{Cost, Invocation, PluginError, PluginLimits, PluginRun, Sandbox, ToolAnswer};
use runtime_api::Code;
use serde_json::{Value, json};
use worker_runtime::RuntimeLimits;

use super::schema_check::SchemaCheck;
use super::source;
use crate::error::CliError;
use crate::json_input;
use crate::output::{Output, json_line};
use crate::sandbox::{self, CacheArgs, LimitsArgs};
use crate::text::{bytes, grouped};

/// Runs one tool of a plugin in the sandbox and prints its output as JSON.
///
/// Input and output are checked against the schemas of the tool. There is no network: requests and connections are refused
/// with `egress_unavailable`. Log lines of the plugin and the cost of the call go to stderr. A service is started, called
/// once and stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    package: PathBuf,
    /// Name of the tool.
    tool: ToolName,
    /// Input: JSON text, `@FILE` for a file with JSON, or `-` for standard input.
    #[arg(long, short, value_name = "JSON", default_value = "{}", env = "YOI_INPUT")]
    input: String,
    /// Config of a service, which a grant gives on a host: JSON text, `@FILE` or `-`.
    #[arg(long, value_name = "JSON", env = "YOI_PLUGIN_CONFIG")]
    config: Option<String>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let package = source::open(&args.package, &limits.bundle)?;
    let tool = package.manifest().tools().get(&args.tool).ok_or_else(|| unknown_tool(&args.tool, &package))?;
    let schema_check = SchemaCheck::new(&limits.bundle);
    let input = json_input::read(&args.input, "input")?;
    schema_check.check(tool.input(), &input).map_err(|reason| {
        let message = format!("the input does not match the schema of tool `{}`{reason}", args.tool);
        CliError::new(Code::InvalidInput, message, "pass an input that the schema of the tool in `plugin.toml` allows")
    })?;
    let config = config(args, &package, &schema_check)?;
    let sandbox = sandbox::start(&args.cache, limits, output)?;
    let invocation = Invocation {
        id: "1".to_owned(),
        tool: args.tool.clone(),
        input,
        remaining: Duration::from_millis(RuntimeLimits::default().call_ms),
    };
    let (answer, cost) = crate::block_on(call(&sandbox, &package, &invocation, &config))??;
    let result = answer_of(answer, &args.tool, tool, &schema_check);
    let cost_fields = json!({
        "fuel": cost.fuel,
        "memory_bytes": cost.memory_bytes,
        "time_ms": (cost.elapsed.as_secs_f64() * 1e6).round() / 1e3,
    });
    if output.is_text() {
        let (fuel, memory) = (grouped(cost.fuel), bytes(cost.memory_bytes));
        let ms = cost.elapsed.as_secs_f64() * 1e3;
        output.note(&format!("cost: {fuel} fuel, {memory} of memory, {ms:.3} ms"));
    }
    let value = result.map_err(|mut error| {
        if let Some(details) = error.details.as_object_mut() {
            details.insert("cost".to_owned(), cost_fields.clone());
        }
        error
    })?;
    let document = json!({
        "schema": "yoi.plugin-run/1",
        "package": package.digest(),
        "plugin": package.manifest().name(),
        "tool": args.tool,
        "output": value,
        "cost": cost_fields,
    });
    output.result(&document, || json_line(&value));
    Ok(ExitCode::SUCCESS)
}

fn unknown_tool(tool: &ToolName, package: &Package) -> CliError {
    let known: Vec<_> = package.manifest().tools().keys().map(|name| format!("`{name}`")).collect();
    let message = format!("tool `{tool}` not found in plugin `{}`", package.manifest().name());
    let help = if known.is_empty() {
        "the plugin has no tools".to_owned()
    } else {
        format!("name one of {}", known.join(", "))
    };
    CliError::new(Code::ToolNotFound, message, help)
}

/// Returns the config that the plugin is started with: that of the command line, or `{}` if the plugin has a config.
fn config(args: &Args, package: &Package, check: &SchemaCheck) -> Result<Value, CliError> {
    let refused = |message: String, help| CliError::new(Code::PluginConfigInvalid, message, help);
    let Some(schema) = package.manifest().config() else {
        return match &args.config {
            None => Ok(Value::Null),
            Some(_) => Err(refused("the plugin has no config".to_owned(), "leave `--config` out")),
        };
    };
    let config = args.config.as_ref().map_or_else(|| Ok(json!({})), |config| json_input::read(config, "config"))?;
    match check.check(schema, &config) {
        Ok(()) => Ok(config),
        Err(reason) => Err(refused(
            format!("the config does not match the schema of the plugin{reason}"),
            "pass a config that `[config]` in `plugin.toml` allows with `--config`",
        )),
    }
}

/// Loads the component for its world and calls the tool. A service is started before and stopped afterwards.
async fn call(
    sandbox: &Sandbox,
    package: &Package,
    invocation: &Invocation,
    config: &Value,
) -> Result<(Result<ToolAnswer, PluginError>, Cost), CliError> {
    let limits = &sandbox.limits().plugin;
    match package.manifest().world() {
        PluginWorld::Tool => {
            let tool = sandbox.load_tool(package.component()).await?;
            let run = tool.call(invocation, host_api(), limits).await;
            Ok((run.result, run.cost))
        }
        PluginWorld::Service => {
            let service = sandbox.load_service(package.component()).await?;
            Ok(call_service(&service, invocation, config, limits).await)
        }
    }
}

async fn call_service(
    service: &component_host::ServicePlugin,
    invocation: &Invocation,
    config: &Value,
    limits: &PluginLimits,
) -> (Result<ToolAnswer, PluginError>, Cost) {
    let mut total = Cost::default();
    let PluginRun { result: started, cost, .. } = service.start(config, host_api(), limits).await;
    add(&mut total, cost);
    let mut service = match started {
        Ok((service, _)) => service,
        Err(error) => return (Err(error), total),
    };
    let PluginRun { result: answer, cost, .. } = service.call(invocation).await;
    add(&mut total, cost);
    if answer.is_err() {
        return (answer, total);
    }
    let PluginRun { result: stopped, cost, .. } = service.stop().await;
    add(&mut total, cost);
    (stopped.and(answer), total)
}

/// Adds the cost of a turn. The memory of an instance does not shrink.
fn add(total: &mut Cost, turn: Cost) {
    total.fuel = total.fuel.saturating_add(turn.fuel);
    total.memory_bytes = total.memory_bytes.max(turn.memory_bytes);
    total.elapsed += turn.elapsed;
}

/// Returns the output, which matches the schema of the tool, or the error that ended the call.
fn answer_of(
    answer: Result<ToolAnswer, PluginError>,
    name: &ToolName,
    tool: &PluginTool,
    check: &SchemaCheck,
) -> Result<Value, CliError> {
    match answer {
        Ok(Ok(value)) => match check.check(tool.output(), &value) {
            Ok(()) => Ok(value),
            Err(reason) => {
                let message = format!("the output of tool `{name}` does not match its schema{reason}");
                let help = "correct the plugin, or the schema of the output in `plugin.toml`";
                Err(CliError::new(Code::PluginMalformed, message, help).with_details(json!({ "output": value })))
            }
        },
        Ok(Err(failure)) => {
            let (code, text) = (failure.code.as_str(), one_line(&failure.message));
            let message = format!("tool `{name}` failed: {text} [{code}]");
            let help = "read the message of the plugin; the code in brackets is its own";
            Err(CliError::new(Code::ToolRefused, message, help).with_details(json!({ "tool_code": code })))
        }
        Err(error) => {
            let details = match &error {
                PluginError::Limit { limit, allowed } => json!({ "limit": limit, "allowed": allowed }),
                PluginError::Trap { reason } => json!({ "reason": reason }),
                _ => json!({}),
            };
            let message = match &error {
                PluginError::Reported { message } => format!("{error}: {}", one_line(message)),
                error => error.to_string(),
            };
            let help = match &error {
                PluginError::Limit { limit, .. } if *limit != "input_bytes" => {
                    "make the plugin use less, or raise the named limit in the file of `--limits`"
                }
                PluginError::Trap { .. } => {
                    "read the log of the plugin; a plugin that catches its own errors can report a failure instead"
                }
                error => error.help(),
            };
            Err(CliError::of_library(error.code(), message, help).with_details(details))
        }
    }
}

fn host_api() -> HostApi {
    HostApi {
        requests: Arc::new(NoEgress),
        websockets: Arc::new(NoEgress),
        log: Arc::new(Stderr),
        clocks: Arc::new(SystemClocks(Instant::now())),
        random: Arc::new(SystemRandom),
    }
}

/// Prints log lines at once, so that those before an endless loop are seen.
#[derive(Debug)]
struct Stderr;

impl LogSink for Stderr {
    fn write(&self, line: LogLine) {
        let level = format!("{:?}", line.level).to_lowercase();
        let end = if line.is_truncated { " [truncated]" } else { "" };
        Output::new(crate::output::Format::Text).note(&format!("log[{level}]: {}{end}", one_line(&line.text)));
    }
}

#[derive(Debug)]
struct SystemClocks(Instant);

impl Clocks for SystemClocks {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    /// A Runtime gives plugins whole seconds too.
    fn wall(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(now.as_secs())
    }
}

#[derive(Debug)]
struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(|_| std::io::ErrorKind::Other.into())
    }
}
