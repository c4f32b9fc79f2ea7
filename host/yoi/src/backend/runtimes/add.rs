//! `yoi backend runtimes add`: adds a remote Runtime to the fleet.

use std::process::ExitCode;

use ::bundles::{LabelKey, LabelValue, RuntimeName, SecretRef, WorkspaceId};
use backend_api::fleet::RegisterRuntimeRequest;
use backend_api::policy::Names;
use clap::builder::BoolishValueParser;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;

/// Adds a remote Runtime to a running Backend, or replaces one that was added this way.
///
/// The token of the Runtime is a secret on the host of the Backend: `yoi secret set runtime-NAME`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Runtime.
    name: RuntimeName,
    /// URL of the Runtime.
    #[arg(long, value_name = "URL", env = "YOI_RUNTIME_URL")]
    runtime_url: String,
    /// Name of the secret with the token. It begins with `runtime-`. Default: `runtime-NAME`.
    #[arg(long, value_name = "NAME", env = "YOI_RUNTIME_TOKEN_SECRET")]
    token_secret: Option<SecretRef>,
    /// Lets the Backend use `http://` to another machine.
    #[arg(long, env = "YOI_RUNTIME_ALLOW_HTTP", value_parser = BoolishValueParser::new())]
    runtime_allow_http: bool,
    /// Label of the Runtime. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE", env = "YOI_LABEL", value_delimiter = ',', value_parser = label)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Workspace that may be on the Runtime. Can be repeated. Default: all.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE", value_delimiter = ',')]
    workspace: Vec<WorkspaceId>,
    /// Label that a workspace must have. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE", env = "YOI_REQUIRES", value_delimiter = ',', value_parser = label)]
    requires: Vec<(LabelKey, LabelValue)>,
    #[command(flatten)]
    backend: BackendServerArgs,
}

/// Parses `KEY=VALUE`.
fn label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("expected `KEY=VALUE`")?;
    let key = key.parse().map_err(|_| format!("invalid key of a label `{key}`"))?;
    let value = value.parse().map_err(|_| format!("invalid value of a label `{value}`"))?;
    Ok((key, value))
}

pub(super) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let token = match &args.token_secret {
        Some(token) => token.clone(),
        None => format!("runtime-{}", args.name).parse().map_err(|_| {
            let message = format!("`runtime-{}` is not a name of a secret", args.name);
            CliError::new(runtime_api::Code::Usage, message, "name the secret with `--token-secret`")
        })?,
    };
    let request = RegisterRuntimeRequest {
        url: args.runtime_url.clone(),
        token,
        allow_http: args.runtime_allow_http,
        labels: args.label.iter().cloned().collect(),
        workspaces: match args.workspace.as_slice() {
            [] => Names::All,
            workspaces => Names::Only(workspaces.iter().cloned().collect()),
        },
        requires: args.requires.iter().cloned().collect(),
    };
    let view = args.backend.send(|client| async move { client.register_runtime(&args.name, &request).await })?;
    output.result(&json!({ "schema": "yoi.backend-runtime/1", "runtime": view }), || format!("added {}\n", view.name));
    Ok(ExitCode::SUCCESS)
}
