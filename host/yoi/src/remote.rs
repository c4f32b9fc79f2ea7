//! Requests to a Runtime: the arguments that name the Runtime and the token, and the conversion of its errors.

use std::path::PathBuf;

use bundles::{WorkspaceId, encoding, one_line};
use clap::builder::BoolishValueParser;
use runtime_api::Code;
use runtime_client::{Client, ClientError, ClientOptions, ConnectError, ProblemDocument};
use secrecy::SecretString;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::files;
use crate::{advice, refusals};

// Arguments that name a Runtime and the token. This is not a doc comment, because clap would print it as the help of every
// command with these arguments. The token is never an argument, because every user of the machine can see arguments.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Runtime")]
pub(crate) struct ServerArgs {
    /// URL of the Runtime.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070", env = "YOI_URL")]
    url: String,
    /// File with the token, readable only by its owner. Default: the variable YOI_TOKEN.
    #[arg(long, value_name = "FILE", env = "YOI_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Allows `http://` to another machine. Anyone on the network path can then read the token.
    #[arg(long, env = "YOI_ALLOW_HTTP", value_parser = BoolishValueParser::new())]
    allow_http: bool,
}

// Arguments that name a Runtime, the token and a workspace.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Runtime")]
pub(crate) struct RemoteArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Workspace. Optional if the token serves only one.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
}

/// Returns a token without the white space that files and shells add.
fn trimmed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.trim().to_owned())
}

/// Maximum size of a token file.
const MAX_TOKEN_FILE_BYTES: usize = 4096;

/// Maximum number of items of a list. No workspace has as many; the limit ends an endless list of a broken server.
pub(crate) const MAX_LIST_ITEMS: usize = 1_000_000;

impl RemoteArgs {
    /// Sends requests with the token and waits for their result.
    pub(crate) fn send<T, F>(&self, requests: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.server.send_for(self.workspace.as_ref(), requests)
    }

    /// Returns the arguments with `workspace` as the default workspace.
    pub(crate) fn with_default_workspace(&self, workspace: &WorkspaceId) -> Self {
        Self { workspace: Some(self.workspace.as_ref().unwrap_or(workspace).clone()), ..self.clone() }
    }
}

impl ServerArgs {
    /// Sends requests that concern no workspace, with the token.
    pub(crate) fn send<T, F>(&self, requests: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.send_for(None, requests)
    }

    fn send_for<T, F>(&self, workspace: Option<&WorkspaceId>, requests: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let token = self.token()?.ok_or_else(|| {
            let help =
                "name a token file with `--token-file`, or set YOI_TOKEN; `yoi runtime token new` issues a token";
            CliError::new(Code::NoToken, "no token is given", help)
        })?;
        self.send_with(Some(token), workspace, requests)
    }

    /// Sends requests with the token if there is one. `requests` receives `true` if there is.
    pub(crate) fn send_with_optional_token<T, F>(&self, requests: impl FnOnce(Client, bool) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let token = self.token()?;
        let has_token = token.is_some();
        self.send_with(token, None, |client| requests(client, has_token))
    }

    fn send_with<T, F>(
        &self,
        token: Option<SecretString>,
        workspace: Option<&WorkspaceId>,
        requests: impl FnOnce(Client) -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let client = Client::new(ClientOptions {
            token,
            workspace: workspace.cloned(),
            allow_http: self.allow_http,
            ..ClientOptions::without_token(&self.url)
        });
        let client = client.map_err(|error| self.cli_error(&error))?;
        crate::block_on(requests(client))?.map_err(|error| self.cli_error(&error))
    }

    fn token(&self) -> Result<Option<SecretString>, CliError> {
        let text = match &self.token_file {
            Some(path) => {
                let bytes = files::read_secret(path, MAX_TOKEN_FILE_BYTES, "token file")?;
                let text = std::str::from_utf8(encoding::without_mark(&bytes)).ok().map(trimmed);
                text.filter(|text| !text.is_empty() && bytes.len() <= MAX_TOKEN_FILE_BYTES).ok_or_else(|| {
                    let reason = if encoding::is_wide(&bytes) { ": it is UTF-16" } else { "" };
                    let message = format!("token file `{}` holds no token{reason}", files::shown(path));
                    CliError::new(
                        Code::InvalidToken,
                        message,
                        "write the token into the file, as `yoi runtime token new` printed it",
                    )
                })?
            }
            None => {
                let text = std::env::var("YOI_TOKEN").map(Zeroizing::new).unwrap_or_default();
                match trimmed(&text) {
                    text if text.is_empty() => return Ok(None),
                    text => text,
                }
            }
        };
        Ok(Some(SecretString::from(text.as_str())))
    }

    /// Converts an error of the client. Names command-line arguments instead of options of the library.
    fn cli_error(&self, error: &ClientError) -> CliError {
        let plain = |message: String, help: &str| CliError::of_response(error.code(), message, help);
        // The URL of a client holds no user and no password, so errors can contain it.
        let url = one_line(&self.url);
        match error {
            ClientError::Problem(problem) => problem_error(problem),
            ClientError::InvalidUrl => plain(
                "`--url` is not a valid URL of a Runtime".to_owned(),
                "write it as `http://127.0.0.1:7070` or `https://HOST[:PORT]`, without user, query or fragment",
            ),
            ClientError::InsecureUrl => plain(
                "`--url` is `http://` to another machine: anyone on the network path could read the token".to_owned(),
                "use `https://` or a tunnel to this machine, or pass `--allow-http` if you trust the network",
            ),
            ClientError::Unreachable(cause @ (ConnectError::Refused | ConnectError::Other)) => plain(
                format!("cannot connect to a Runtime at `{url}`: {cause}"),
                "start a Runtime (`yoi runtime serve`), or name another one with `--url`",
            ),
            ClientError::Unreachable(cause) => {
                plain(format!("cannot connect to a Runtime at `{url}`: {cause}"), error.help())
            }
            ClientError::Unexpected(reason) => {
                plain(format!("unexpected response from `{url}`: {reason}"), error.help())
            }
            ClientError::TimedOut { .. } | ClientError::Interrupted => plain(format!("`{url}`: {error}"), error.help()),
            _ => plain(error.to_string(), advice::with_command(error.help())),
        }
    }
}

fn problem_error(problem: &ProblemDocument) -> CliError {
    let details = problem.details();
    if problem.known_code() == Some(Code::Denied)
        && let Some(error) = refusals::denied(problem.detail(), details.get("refusals").unwrap_or(&Value::Null))
    {
        return error;
    }
    let help = match problem.known_code() {
        Some(Code::Unauthenticated | Code::TokenExpired) => {
            "name the file of a valid token with `--token-file`, or set YOI_TOKEN; `yoi runtime token new` issues a token"
        }
        Some(Code::WorkspaceUnnamed) => "name the workspace with `--workspace ID`",
        Some(Code::RevisionOlder) => "name the newest bundle (`yoi runtime bundles`), or pass `--allow-older`",
        Some(Code::BundleUnnamed) => {
            "name a bundle with `--bundle DIGEST` (`yoi runtime bundles` lists them), or write `--profile builtin:NAME`"
        }
        Some(Code::ConfirmationRequired) => "if a person has agreed to the call, pass `--confirmed`",
        _ => advice::with_command(problem.help()),
    };
    let mut message = problem.detail().to_owned();
    if let Some(word) = details.get("tool_code").and_then(Value::as_str) {
        message.push_str(&format!(" [{}]", one_line(word)));
    }
    if let Some(seconds) = problem.retry_after().map(|after| after.as_secs()) {
        message.push_str(&format!(" (retry after {seconds} s)"));
    }
    let error = CliError::of_response(problem.code(), message.clone(), help);
    let error = match details {
        Value::Object(_) => error.with_details(details.clone()),
        _ => error.with_details(json!({})),
    };
    match details.get("users").and_then(Value::as_array) {
        // The message already names the first one.
        Some(users) if users.len() > 1 => {
            let users = users.iter().filter_map(Value::as_str).map(|user| format!("\n  {}", one_line(user)));
            error.with_text(format!("{message}{}\n  help: {help}", users.collect::<String>()))
        }
        _ => error,
    }
}
