//! Requests to a Runtime: the arguments that name the Runtime and the token, and the conversion of its errors.

use std::path::PathBuf;

use backend_client::BackendClient;
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
    #[arg(skip)]
    kind: ServerKind,
}

/// Kind of a server, for errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ServerKind {
    #[default]
    Runtime,
    Backend,
}

impl ServerKind {
    fn noun(self) -> &'static str {
        match self {
            Self::Runtime => "Runtime",
            Self::Backend => "Backend",
        }
    }

    /// Returns the command that serves.
    fn serve(self) -> &'static str {
        match self {
            Self::Runtime => "yoi runtime serve",
            Self::Backend => "yoi backend serve",
        }
    }

    /// Returns the command that issues tokens.
    fn new_token(self) -> &'static str {
        match self {
            Self::Runtime => "`yoi runtime token new`, or for a Backend `yoi backend token new`,",
            Self::Backend => "`yoi backend token new`",
        }
    }

    /// Returns the environment variable of the token.
    fn variable(self) -> &'static str {
        match self {
            Self::Runtime => "YOI_TOKEN",
            Self::Backend => "YOI_BACKEND_TOKEN",
        }
    }
}

// Arguments that name a Backend and the token.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct BackendServerArgs {
    /// URL of the Backend.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7080", env = "YOI_BACKEND_URL")]
    url: String,
    /// File with the token, readable only by its owner. Default: the variable YOI_BACKEND_TOKEN.
    #[arg(long, value_name = "FILE", env = "YOI_BACKEND_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Allows `http://` to another machine. Anyone on the network path can then read the token.
    #[arg(long, env = "YOI_ALLOW_HTTP", value_parser = BoolishValueParser::new())]
    allow_http: bool,
}

// Arguments that name a Backend, the token and a workspace.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct BackendArgs {
    #[command(flatten)]
    server: BackendServerArgs,
    /// Workspace. Optional if the token serves only one.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
}

impl BackendServerArgs {
    /// Returns the URL of the Backend.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the arguments for the requests that a Backend answers like a Runtime.
    pub(crate) fn server(&self) -> ServerArgs {
        let Self { url, token_file, allow_http } = self.clone();
        ServerArgs { url, token_file, allow_http, kind: ServerKind::Backend }
    }

    /// Sends requests that concern no workspace, with the token.
    pub(crate) fn send<T, F>(&self, requests: impl FnOnce(BackendClient) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.server().send(|client| requests(client.into()))
    }
}

impl BackendArgs {
    /// Returns the arguments for the requests that a Backend answers like a Runtime.
    pub(crate) fn remote(&self) -> RemoteArgs {
        RemoteArgs { server: self.server.server(), workspace: self.workspace.clone() }
    }

    /// Returns the named workspace.
    pub(crate) fn workspace(&self) -> Option<&WorkspaceId> {
        self.workspace.as_ref()
    }

    /// Sends requests with the token and waits for their result.
    pub(crate) fn send<T, F>(&self, requests: impl FnOnce(BackendClient) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.remote().send(|client| requests(client.into()))
    }

    /// Returns the arguments with `workspace` as the default workspace.
    pub(crate) fn with_default_workspace(&self, workspace: &WorkspaceId) -> Self {
        Self { workspace: Some(self.workspace.as_ref().unwrap_or(workspace).clone()), ..self.clone() }
    }
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
            let (variable, new_token) = (self.kind.variable(), self.kind.new_token());
            let help = format!("name a token file with `--token-file`, or set {variable}; {new_token} issues a token");
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
                        format!("write the token into the file, as {} printed it", self.kind.new_token()),
                    )
                })?
            }
            None => {
                let text = std::env::var(self.kind.variable()).map(Zeroizing::new).unwrap_or_default();
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
        let (noun, serve) = (self.kind.noun(), self.kind.serve());
        // The URL of a client holds no user and no password, so errors can contain it.
        let url = one_line(&self.url);
        match error {
            ClientError::Problem(problem) => problem_error(problem, self.kind),
            ClientError::InvalidUrl => plain(
                format!("`--url` is not a valid URL of a {noun}"),
                "write it as `http://127.0.0.1:7070` or `https://HOST[:PORT]`, without user, query or fragment",
            ),
            ClientError::InsecureUrl => plain(
                "`--url` is `http://` to another machine: anyone on the network path could read the token".to_owned(),
                "use `https://` or a tunnel to this machine, or pass `--allow-http` if you trust the network",
            ),
            ClientError::Unreachable(cause @ (ConnectError::Refused | ConnectError::Other)) => plain(
                format!("cannot connect to a {noun} at `{url}`: {cause}"),
                &format!("start a {noun} (`{serve}`), or name another one with `--url`"),
            ),
            ClientError::Unreachable(cause) => {
                plain(format!("cannot connect to a {noun} at `{url}`: {cause}"), error.help())
            }
            ClientError::Unexpected(reason) => {
                plain(format!("unexpected response from `{url}`: {reason}"), error.help())
            }
            ClientError::TimedOut { .. } | ClientError::Interrupted => plain(format!("`{url}`: {error}"), error.help()),
            _ => plain(error.to_string(), advice::with_command(error.help())),
        }
    }
}

/// Returns the help text for a problem of a Backend, if it differs from that of a Runtime.
fn backend_help(code: Option<Code>) -> Option<&'static str> {
    Some(match code? {
        Code::Unauthenticated | Code::TokenExpired => {
            "name the file of a valid token with `--token-file`, or set YOI_BACKEND_TOKEN; `yoi backend token new` issues a token"
        }
        Code::ScopeMissing => "use a token that has the scope (`yoi backend token new --scope SCOPE`)",
        Code::WorkspaceDenied => "use a token that serves the workspace (`yoi backend token new --workspace ID`)",
        Code::BundleNotFound => {
            "publish the bundle first (`yoi backend publish`), or find its digest with `yoi backend bundles`"
        }
        Code::RevisionOlder => "name the newest bundle (`yoi backend bundles`), or pass `--allow-older`",
        Code::RolloutHalted => {
            "see which Runtime refuses it and why (`yoi backend status`), then repair it, roll back, or pass `--despite-refusals`"
        }
        Code::NothingDesired => "make a bundle the desired one: `yoi backend use BUNDLE`",
        Code::NoRollout => "begin a rollout with `yoi backend use BUNDLE --stage STAGE`",
        _ => return None,
    })
}

fn problem_error(problem: &ProblemDocument, kind: ServerKind) -> CliError {
    let details = problem.details();
    if problem.known_code() == Some(Code::Denied)
        && let Some(error) = refusals::denied(problem.detail(), details.get("refusals").unwrap_or(&Value::Null))
    {
        return error;
    }
    let of_backend = (kind == ServerKind::Backend).then(|| backend_help(problem.known_code())).flatten();
    let help = match problem.known_code() {
        _ if of_backend.is_some() => of_backend.unwrap_or_default(),
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
