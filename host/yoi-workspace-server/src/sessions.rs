//! Login links, and the sessions that they begin.
//!
//! A link and a session each have a secret of 256 random bits. Only the SHA-256 of a secret is stored, and a row is found by
//! it, so a comparison tells nothing about a secret. A session never has more rights than the token that issued its link, and
//! ends with the token.

use std::collections::BTreeSet;
use std::time::Duration;

use backend_api::audit::{Action, Actor};
use backend_api::session::{LoginLink, LoginLinkRequest, SessionId, SessionSummary};
use backend_api::token::BackendScope;
use bundles::{Digest, WorkspaceId};
use content_store::metadata::{Batch, Key, MetadataError};
use content_store::records::{self, Row};
use jiff::Timestamp;
use runtime_api::Code;
use runtime_api::token::{Scope, TokenId, TokenSummary};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use worker_runtime::token::{Entropy, TokenError};

use crate::audit;
use crate::backend::{Backend, BackendError, Shared};

/// Time for which a login link is valid.
const LINK_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Time without use after which a session ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// Time after which a session ends, whether it is used or not.
const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Time between two records of the use of a session.
const USE_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of links that wait for their use. A further one replaces the oldest.
const MAX_LINKS: usize = 64;

/// Maximum number of sessions. A further one ends the session that was not used for longest.
const MAX_SESSIONS: usize = 256;

/// Number of characters of a secret.
const SECRET_CHARS: usize = 64;

/// Error returned by operations on links and sessions.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The token does not have the scope.
    #[error("the token does not have the scope `{0}`")]
    ScopeMissing(BackendScope),
    /// The token does not serve the workspace.
    #[error("the token does not serve the workspace `{0}`")]
    WorkspaceDenied(WorkspaceId),
    /// The session could read nothing.
    #[error("invalid scopes: a session needs the scope `read` or `admin`")]
    NothingReadable,
    /// The link is unknown, used or expired, or its token is no longer valid. The error does not tell these cases apart.
    #[error("the login link is used, expired or unknown")]
    LinkInvalid,
    /// There is no session, or it has ended. The error does not tell these cases apart.
    #[error("there is no session, or it has ended")]
    Ended,
    /// No session has this id.
    #[error("session `{0}` not found")]
    NotFound(SessionId),
    /// The token of the session cannot be checked, or no secret can be created.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The Backend cannot perform the operation.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl SessionError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::ScopeMissing(_) => Code::ScopeMissing,
            Self::WorkspaceDenied(_) => Code::WorkspaceDenied,
            Self::NothingReadable => Code::InvalidRequest,
            Self::LinkInvalid => Code::LoginLinkInvalid,
            Self::Ended => Code::SessionEnded,
            Self::NotFound(_) => Code::SessionNotFound,
            Self::Token(error) => error.code(),
            Self::Backend(error) => error.code(),
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::ScopeMissing(_) => "use a token that has the scope, or name fewer scopes".to_owned(),
            Self::WorkspaceDenied(_) => "use a token that serves the workspace, or name fewer workspaces".to_owned(),
            Self::NothingReadable => "add one of them".to_owned(),
            Self::LinkInvalid | Self::Ended => "ask an administrator for a new login link".to_owned(),
            Self::NotFound(_) => "list the sessions to find the id".to_owned(),
            Self::Token(error) => error.help().to_owned(),
            Self::Backend(error) => error.help(),
        }
    }
}

impl From<MetadataError> for SessionError {
    fn from(error: MetadataError) -> Self {
        Self::Backend(error.into())
    }
}

impl From<content_store::metadata::CommitError> for SessionError {
    fn from(error: content_store::metadata::CommitError) -> Self {
        Self::Backend(error.into())
    }
}

/// Rights of a session, before they are compared with those of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rights {
    token: TokenId,
    scopes: BTreeSet<BackendScope>,
    workspaces: BTreeSet<WorkspaceId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkRow {
    /// SHA-256 of the secret.
    hash: Digest,
    rights: Rights,
    expires_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRow {
    /// SHA-256 of the secret.
    hash: Digest,
    rights: Rights,
    began_at: Timestamp,
    used_at: Timestamp,
    ends_at: Timestamp,
}

impl SessionRow {
    fn is_open(&self, now: Timestamp) -> bool {
        now < self.ends_at && now < after(self.used_at, IDLE_TIMEOUT)
    }
}

fn links_key() -> Key {
    Key::new("backend-login")
}

fn sessions_key() -> Key {
    Key::new("backend-session")
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Returns the id of a secret: the first 64 bits of its SHA-256.
fn id_of(hash: &Digest) -> SessionId {
    SessionId::from(hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default())
}

/// Secret of a link or a session.
#[derive(Debug, Clone)]
pub(crate) struct Secret(SecretString);

impl Secret {
    /// Returns the secret that a text may be. `None` if it has another form than secrets have.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_secret =
            text.len() == SECRET_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_secret.then(|| Self(SecretString::from(text.to_owned())))
    }

    fn generate(entropy: &dyn Entropy) -> Result<Self, TokenError> {
        let mut bytes = [0; SECRET_CHARS / 2];
        entropy.fill(&mut bytes)?;
        // A digest of random bits is as random as they are, and has the form of a secret.
        Ok(Self(SecretString::from(Digest::of(bytes).hex())))
    }

    /// Returns the text, which only the cookie and the link contain.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn hash(&self) -> Digest {
        Digest::of(self.expose())
    }

    /// Returns the id of the session with this secret.
    pub(crate) fn id(&self) -> SessionId {
        id_of(&self.hash())
    }

    /// Returns the token of the session's forms. It does not reveal the secret.
    pub(crate) fn form_token(&self) -> String {
        Digest::of(format!("form token of session {}", self.expose())).hex()
    }
}

/// An open session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Token that issued the login link.
    pub(crate) token: TokenSummary,
    rights: Rights,
}

impl Session {
    /// Returns the actor of what the session does.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Session { session: self.id.clone(), token: self.token.id.clone() }
    }

    /// Returns `true` if the session may administer the Backend.
    pub(crate) fn is_admin(&self) -> bool {
        self.rights.scopes.contains(&BackendScope::Admin) && self.token.grant.scopes.contains(&Scope::Operator)
    }

    /// Returns `true` if the session has the scope in the workspace.
    pub(crate) fn allows(&self, scope: BackendScope, workspace: &WorkspaceId) -> bool {
        let Rights { scopes, workspaces, .. } = &self.rights;
        let has = |scope| scopes.contains(&scope) && workspaces.contains(workspace);
        match scope {
            // An administrator may read every workspace, so a link of one may grant that as well.
            BackendScope::Read => self.is_admin() || has(scope) && can_read(&self.token, workspace),
            scope => has(scope) && self.token.grant.allows(scope.of_runtime(), workspace),
        }
    }

    /// Returns the workspaces that the session may read.
    pub(crate) fn readable(&self, backend: &Backend) -> BTreeSet<WorkspaceId> {
        let mut workspaces = backend.workspaces();
        workspaces.retain(|workspace| self.allows(BackendScope::Read, workspace));
        workspaces
    }
}

fn can_read(token: &TokenSummary, workspace: &WorkspaceId) -> bool {
    token.grant.scopes.contains(&Scope::Operator) || token.grant.allows(Scope::Read, workspace)
}

/// Returns the rights that a link of the token grants.
fn granted(token: &TokenSummary, request: &LoginLinkRequest) -> Result<Rights, SessionError> {
    let has = |scope: &BackendScope| token.grant.scopes.contains(&scope.of_runtime());
    let scopes = match &request.scopes {
        Some(scopes) => scopes.clone(),
        None => BackendScope::ALL.into_iter().filter(has).collect(),
    };
    let workspaces = request.workspaces.clone().unwrap_or_else(|| token.grant.workspaces.clone());
    let is_admin = has(&BackendScope::Admin);
    // `admin` includes reading.
    let covers = |scope: &&BackendScope| has(scope) || is_admin && **scope == BackendScope::Read;
    if let Some(missing) = scopes.iter().find(|scope| !covers(scope)) {
        return Err(SessionError::ScopeMissing(*missing));
    }
    if !scopes.contains(&BackendScope::Read) && !scopes.contains(&BackendScope::Admin) {
        return Err(SessionError::NothingReadable);
    }
    let only_reads = scopes.iter().all(|scope| matches!(scope, BackendScope::Read | BackendScope::Admin));
    let serves = |workspace: &&WorkspaceId| {
        token.grant.workspaces.contains(*workspace) || is_admin && only_reads && can_read(token, workspace)
    };
    match workspaces.iter().find(|workspace| !serves(workspace)) {
        Some(denied) => Err(SessionError::WorkspaceDenied(denied.clone())),
        None => Ok(Rights { token: token.id.clone(), scopes, workspaces }),
    }
}

impl Backend {
    /// Issues a login link for the rights of a token, or for fewer.
    pub(crate) async fn issue_login_link(
        &self,
        token: &TokenSummary,
        request: &LoginLinkRequest,
        entropy: &dyn Entropy,
    ) -> Result<LoginLink, SessionError> {
        let actor = Actor::Token { token: token.id.clone() };
        let rights = match granted(token, request) {
            Ok(rights) => rights,
            Err(error) => {
                let (scopes, workspaces) =
                    (request.scopes.clone().unwrap_or_default(), request.workspaces.clone().unwrap_or_default());
                let action = Action::IssueLoginLink { scopes, workspaces };
                self.record(&actor, action, Some(error.code())).await?;
                return Err(error);
            }
        };
        let secret = Secret::generate(entropy)?;
        let now = self.0.clock.now();
        let row = LinkRow { hash: secret.hash(), rights: rights.clone(), expires_at: after(now, LINK_LIFETIME) };
        let action = Action::IssueLoginLink { scopes: rights.scopes, workspaces: rights.workspaces };
        let Shared { records, .. } = &*self.0;
        let attempt = || async {
            let mut links = records.rows::<LinkRow>(&links_key(), None, usize::MAX).await?;
            links.sort_by_key(|(_, link)| link.expires_at);
            let excess = (links.len() + 1).saturating_sub(MAX_LINKS);
            let superseded = links.iter().enumerate().filter(|(at, (_, link))| *at < excess || link.expires_at <= now);
            let batch = superseded.fold(Batch::default(), |batch, (_, (key, _))| batch.delete(key));
            let key = links_key().part(id_of(&row.hash));
            let batch = batch.expect_row::<LinkRow>(&key, None).put_row(&key, &row);
            let batch = audit::add_entry(records, batch, now, &actor, action.clone(), None).await?;
            Ok(records::Decision::Commit(batch, ()))
        };
        self.0.update::<_, SessionError, _>(attempt).await?;
        self.0.activity.record(&action);
        Ok(LoginLink { path: format!("/login/{}", secret.expose()), expires_at: row.expires_at })
    }

    /// Returns a link that can still be used, with its token. Uses nothing up.
    async fn valid_link(&self, secret: &Secret) -> Result<(Key, Row<LinkRow>, TokenSummary), SessionError> {
        let hash = secret.hash();
        let key = links_key().part(id_of(&hash));
        let row = self.0.records.row::<LinkRow>(&key).await?;
        let is_valid = |row: &Row<LinkRow>| row.value.hash == hash && self.0.clock.now() < row.value.expires_at;
        let row = row.filter(is_valid).ok_or(SessionError::LinkInvalid)?;
        let token = self.catalogue().management().valid_token(&row.value.rights.token).await?;
        Ok((key, row, token.ok_or(SessionError::LinkInvalid)?))
    }

    /// Returns the workspaces and scopes that a link grants. Uses nothing up.
    pub(crate) async fn preview_login(
        &self,
        secret: &Secret,
    ) -> Result<(BTreeSet<BackendScope>, BTreeSet<WorkspaceId>), SessionError> {
        let (_, row, _) = self.valid_link(secret).await?;
        Ok((row.value.rights.scopes, row.value.rights.workspaces))
    }

    /// Uses a link up and begins a session.
    pub(crate) async fn log_in(&self, link: &Secret, entropy: &dyn Entropy) -> Result<Secret, SessionError> {
        let secret = Secret::generate(entropy)?;
        let Shared { records, clock, .. } = &*self.0;
        let attempt = || async {
            let (link_key, found, _) = self.valid_link(link).await?;
            let now = clock.now();
            let rights = found.value.rights.clone();
            let hash = secret.hash();
            let actor = Actor::Session { session: id_of(&hash), token: rights.token.clone() };
            let row = SessionRow { hash, rights, began_at: now, used_at: now, ends_at: after(now, SESSION_LIFETIME) };
            let mut sessions = records.rows::<SessionRow>(&sessions_key(), None, usize::MAX).await?;
            sessions.sort_by_key(|(_, session)| session.used_at);
            let excess = (sessions.len() + 1).saturating_sub(MAX_SESSIONS);
            let ended = sessions.iter().enumerate().filter(|(at, (_, session))| *at < excess || !session.is_open(now));
            let batch = ended.fold(Batch::default(), |batch, (_, (key, _))| batch.delete(key));
            let key = sessions_key().part(id_of(&hash));
            let batch = batch.expect_row(&link_key, Some(&found)).delete(&link_key);
            let batch = batch.expect_row::<SessionRow>(&key, None).put_row(&key, &row);
            let batch = audit::add_entry(records, batch, now, &actor, Action::LogIn, None).await?;
            Ok(records::Decision::Commit(batch, ()))
        };
        self.0.update::<_, SessionError, _>(attempt).await?;
        self.0.activity.record(&Action::LogIn);
        Ok(secret)
    }

    /// Returns the open session of a secret. `is_use` says that a person did something, which postpones the end of the
    /// session.
    pub(crate) async fn session(&self, secret: &Secret, is_use: bool) -> Result<Session, SessionError> {
        let hash = secret.hash();
        let (id, now) = (id_of(&hash), self.0.clock.now());
        let key = sessions_key().part(&id);
        let row = self.0.records.row::<SessionRow>(&key).await?;
        let is_open = |row: &Row<SessionRow>| row.value.hash == hash && row.value.is_open(now);
        let row = row.filter(is_open).ok_or(SessionError::Ended)?;
        let rights = row.value.rights.clone();
        let token = self.catalogue().management().valid_token(&rights.token).await?.ok_or(SessionError::Ended)?;
        if is_use && after(row.value.used_at, USE_INTERVAL) <= now {
            let used = SessionRow { used_at: now, ..row.value.clone() };
            let batch = Batch::default().expect_row(&key, Some(&row)).put_row(&key, &used);
            match self.0.records.commit(batch).await {
                // Another request recorded the use, or the session was ended, which the next request sees.
                Ok(()) | Err(content_store::metadata::CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Session { id, token, rights })
    }

    /// Returns the open sessions, ordered by id.
    pub(crate) async fn sessions(&self) -> Result<Vec<SessionSummary>, SessionError> {
        let now = self.0.clock.now();
        let rows = self.0.records.rows::<SessionRow>(&sessions_key(), None, usize::MAX).await?;
        let mut sessions = Vec::new();
        for (_, row) in rows.into_iter().filter(|(_, row)| row.is_open(now)) {
            if self.catalogue().management().is_token_valid(&row.rights.token).await? {
                sessions.push(summary(row));
            }
        }
        Ok(sessions)
    }

    /// Ends a session in the name of an administrator.
    pub(crate) async fn end_session(&self, actor: &Actor, id: &SessionId) -> Result<SessionSummary, SessionError> {
        self.remove_session(actor, id, Action::EndSession { ended: id.clone() }).await
    }

    /// Ends a session in the name of its own person.
    pub(crate) async fn log_out(&self, session: &Session) -> Result<(), SessionError> {
        self.remove_session(&session.actor(), &session.id, Action::LogOut).await.map(drop)
    }

    async fn remove_session(
        &self,
        actor: &Actor,
        id: &SessionId,
        action: Action,
    ) -> Result<SessionSummary, SessionError> {
        let key = sessions_key().part(id);
        let Shared { records, clock, .. } = &*self.0;
        let attempt = || async {
            let found = records.row::<SessionRow>(&key).await?;
            let found = found.ok_or_else(|| SessionError::NotFound(id.clone()))?;
            let batch = Batch::default().expect_row(&key, Some(&found)).delete(&key);
            let batch = audit::add_entry(records, batch, clock.now(), actor, action.clone(), None).await?;
            Ok(records::Decision::Commit(batch, summary(found.value)))
        };
        match self.0.update::<_, SessionError, _>(attempt).await {
            Ok(ended) => {
                self.0.activity.record(&action);
                Ok(ended)
            }
            Err(error) => {
                self.record(actor, action, Some(error.code())).await?;
                Err(error)
            }
        }
    }
}

fn summary(row: SessionRow) -> SessionSummary {
    let SessionRow { hash, rights: Rights { token, scopes, workspaces }, began_at, used_at, ends_at } = row;
    SessionSummary { id: id_of(&hash), token, scopes, workspaces, began_at, used_at, ends_at }
}
