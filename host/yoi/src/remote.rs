//! A Runtime as commands reach it: where it is, who asks, and what it says when it says no.

use std::path::PathBuf;

use bundles::{WorkspaceId, encoding, one_line};
use clap::builder::BoolishValueParser;
use runtime_client::{Client, ClientError, ClientOptions, NoConnection, Problem};
use secrecy::SecretString;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::files;
use crate::{advice, refusals};

// The Runtime that is asked, and who asks. Not a comment for documentation: it would be the help of every
// command that has these. The token is never an argument: those can be seen by every user of the machine.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Runtime")]
pub(crate) struct ServerArgs {
    /// Where the Runtime is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070", env = "YOI_URL")]
    url: String,
    /// File with the token, which only its owner can read. Without it the token is that of YOI_TOKEN.
    #[arg(long, value_name = "FILE", env = "YOI_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Sends the token also over `http://` to another machine, where anybody on the way can read it.
    #[arg(long, env = "YOI_ALLOW_HTTP", value_parser = BoolishValueParser::new())]
    allow_http: bool,
}

// The same for a workspace.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Runtime")]
pub(crate) struct RemoteArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The workspace that is meant; not needed where the token serves one alone.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
}

/// A token without the spaces and line ends that files and shells put around it.
fn trimmed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.trim().to_owned())
}

/// Most bytes of a token and the newline after it.
const TOKEN_BYTES: usize = 4096;

/// Most items of a list that is shown: more than any workspace has, and not what a server without an end
/// would send.
pub(crate) const MOST_LISTED: usize = 1_000_000;

impl RemoteArgs {
    /// Asks as the holder of the token, and waits for what comes of it.
    pub(crate) fn ask<T, F>(&self, what: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.server.ask_for(self.workspace.as_ref(), what)
    }

    /// The workspace that is named, or this one.
    pub(crate) fn or_workspace(&self, workspace: &WorkspaceId) -> Self {
        Self { workspace: Some(self.workspace.as_ref().unwrap_or(workspace).clone()), ..self.clone() }
    }
}

impl ServerArgs {
    /// Asks as the holder of the token for what belongs to no workspace.
    pub(crate) fn ask<T, F>(&self, what: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.ask_for(None, what)
    }

    fn ask_for<T, F>(&self, workspace: Option<&WorkspaceId>, what: impl FnOnce(Client) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let token = self.token()?.ok_or_else(|| {
            let help = "name its file with `--token-file`, or set YOI_TOKEN; `yoi runtime token new` makes one";
            CliError::new("no_token", "there is no token to ask with", help)
        })?;
        self.with(Some(token), workspace, what)
    }

    /// Asks as the holder of the token, or without one.
    pub(crate) fn ask_as_anybody<T, F>(&self, what: impl FnOnce(Client, bool) -> F) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let token = self.token()?;
        let has_token = token.is_some();
        self.with(token, None, |client| what(client, has_token))
    }

    fn with<T, F>(
        &self,
        token: Option<SecretString>,
        workspace: Option<&WorkspaceId>,
        what: impl FnOnce(Client) -> F,
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
        let client = client.map_err(|error| self.told(&error))?;
        crate::block_on(what(client))?.map_err(|error| self.told(&error))
    }

    fn token(&self) -> Result<Option<SecretString>, CliError> {
        let text = match &self.token_file {
            Some(path) => {
                let bytes = files::read_secret(path, TOKEN_BYTES, "token file")?;
                let text = std::str::from_utf8(encoding::without_mark(&bytes)).ok().map(trimmed);
                text.filter(|text| !text.is_empty() && bytes.len() <= TOKEN_BYTES).ok_or_else(|| {
                    let why = if encoding::is_wide(&bytes) { ": it is UTF-16" } else { "" };
                    let message = format!("`{}` holds no token{why}", files::shown(path));
                    CliError::new(
                        "invalid_token",
                        message,
                        "write the token into it, as `yoi runtime token new` printed it",
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

    /// What went wrong, in the words of who sits before a command line.
    fn told(&self, error: &ClientError) -> CliError {
        let plain = |message: String, help: &str| CliError::new(error.code().to_owned(), message, help);
        // There is an address where there is a client, and then it holds nothing that is secret.
        let url = one_line(&self.url);
        match error {
            ClientError::Problem(problem) => told_by_runtime(problem),
            ClientError::InvalidUrl => plain(
                "`--url` is not the URL of a Runtime".to_owned(),
                "write it as `http://127.0.0.1:7070` or `https://HOST[:PORT]`, without user, query or fragment",
            ),
            ClientError::InsecureUrl => plain(
                "`--url` is `http://` to another machine: who is on the way could read the token".to_owned(),
                "use `https://` or a tunnel to this machine, or say `--allow-http` if nobody is on the way",
            ),
            ClientError::Unreachable(why @ (NoConnection::Refused | NoConnection::Other)) => plain(
                format!("no Runtime answers at `{url}`: {why}"),
                "start one (`yoi runtime serve`), or name another with `--url`",
            ),
            ClientError::Unreachable(why) => plain(format!("no Runtime can be asked at `{url}`: {why}"), error.help()),
            ClientError::Unexpected(what) => {
                plain(format!("what answers at `{url}` is no Runtime of this version: {what}"), error.help())
            }
            ClientError::TimedOut { .. } | ClientError::Interrupted => plain(format!("`{url}`: {error}"), error.help()),
            _ => plain(error.to_string(), advice::with_command(error.help())),
        }
    }
}

fn told_by_runtime(problem: &Problem) -> CliError {
    let details = problem.details();
    if problem.code() == "denied"
        && let Some(error) = refusals::told(problem.detail(), details.get("refusals").unwrap_or(&Value::Null))
    {
        return error;
    }
    let help = match problem.code() {
        "unauthenticated" | "token_expired" => {
            "name a good token's file with `--token-file`, or set YOI_TOKEN; `yoi runtime token new` makes one"
        }
        "workspace_unnamed" => "say which is meant: `--workspace ID`",
        "revision_older" => "name the newest bundle (`yoi runtime bundles`), or say `--allow-older`",
        "bundle_unnamed" => {
            "name it with `--bundle DIGEST` (`yoi runtime bundles` lists what is there), or write `--profile builtin:NAME`"
        }
        "confirmation_required" => "if you are a person and mean it, say so: `--confirmed`",
        _ => advice::with_command(problem.help()),
    };
    let mut message = problem.detail().to_owned();
    if let Some(word) = details.get("tool_code").and_then(Value::as_str) {
        message.push_str(&format!(" [{}]", one_line(word)));
    }
    if let Some(seconds) = problem.retry_after().map(|after| after.as_secs()) {
        message.push_str(&format!(" (it asks to wait {seconds} s)"));
    }
    let error = CliError::new(problem.code().to_owned(), message.clone(), help);
    let error = match details {
        Value::Object(_) => error.with_details(details.clone()),
        _ => error.with_details(json!({})),
    };
    match details.get("users").and_then(Value::as_array) {
        // One stands in the sentence already.
        Some(users) if users.len() > 1 => {
            let users = users.iter().filter_map(Value::as_str).map(|user| format!("\n  {}", one_line(user)));
            error.with_text(format!("{message}{}\n  help: {help}", users.collect::<String>()))
        }
        _ => error,
    }
}
