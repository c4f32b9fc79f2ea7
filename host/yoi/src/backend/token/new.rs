//! `yoi backend token new`: issues a token.

use std::path::PathBuf;
use std::process::ExitCode;

use ::bundles::WorkspaceId;
use backend_api::body::IssueBackendTokenRequest;
use backend_api::token::BackendScope;
use runtime_api::Code;
use runtime_api::worker::DisplayName;
use secrecy::ExposeSecret;
use worker_runtime::token::SystemEntropy;

use super::TargetArgs;
use crate::error::CliError;
use crate::files::NewSecretFile;
use crate::new_token;
use crate::output::Output;

/// Issues a token and shows it once. The Backend stores only a hash of the token.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the token.
    #[arg(long, value_name = "NAME", env = "YOI_NAME")]
    name: DisplayName,
    /// Scopes, separated by commas: `read`, `publish`, `workers`, and `admin` for the operation of the Backend, including issuing tokens.
    #[arg(long, value_name = "SCOPE", env = "YOI_SCOPE", value_delimiter = ',', required = true)]
    scope: Vec<BackendScope>,
    /// Workspace that the token serves. Can be repeated.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE", value_delimiter = ',')]
    workspace: Vec<WorkspaceId>,
    /// Time at which the token expires, such as `2027-01-31T00:00:00Z`. Default: never.
    #[arg(long, value_name = "TIME", env = "YOI_EXPIRES")]
    expires: Option<jiff::Timestamp>,
    /// Writes the token to a new file that only its owner can read, instead of showing it.
    #[arg(long, short, value_name = "FILE", env = "YOI_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let request = IssueBackendTokenRequest {
        name: args.name.clone(),
        scopes: args.scope.iter().copied().collect(),
        workspaces: args.workspace.iter().cloned().collect(),
        expires_at: args.expires,
    };
    if request.workspaces.is_empty() && request.scopes.iter().any(|scope| *scope != BackendScope::Admin) {
        return Err(CliError::new(
            Code::Usage,
            "the token would serve no workspace",
            "pass `--workspace ID`; only the scope `admin` needs no workspace",
        ));
    }
    if request.expires_at.is_some_and(|until| until <= jiff::Timestamp::now()) {
        let help = "pass a future time with `--expires TIME`";
        return Err(CliError::new(Code::Usage, "the token would be expired", help));
    }
    // Create the file first: if this fails, no token is issued that is then lost.
    let file = args.out.as_deref().map(|path| NewSecretFile::create(path, "token file")).transpose()?;
    let grant = request.grant();
    let (id, token) = args.target.run(
        |management| async move {
            let (summary, token) = management.issue_token(grant, &SystemEntropy).await?;
            Ok((summary.id, token.expose_secret().to_owned()))
        },
        |client| async move {
            let issued = client.issue_token(&request).await?;
            Ok((issued.summary.id.clone(), issued.token))
        },
    )?;
    new_token::print_of_backend(&id, token, args.out.as_deref().zip(file), output)
}
