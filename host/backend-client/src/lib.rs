//! HTTP client of a Backend's API.
//!
//! A Backend answers some routes like a Runtime: those for blobs, bundles and workers. For them the client has a
//! [`runtime_client::Client`], which also gives it its rules: it does not trust the server, limits the size of each body, sends
//! the token only over `https://` or to this machine, follows no redirects and uses no proxy.
//!
//! ```no_run
//! use backend_client::BackendClient;
//! use runtime_client::ClientOptions;
//!
//! # async fn example(token: secrecy::SecretString) -> Result<(), runtime_client::ClientError> {
//! let client = BackendClient::new(ClientOptions::new("https://backend.example.com", token))?;
//! for runtime in client.runtimes().await? {
//!     println!("{}: {} workspaces", runtime.name, runtime.workspaces.len());
//! }
//! # Ok(())
//! # }
//! ```

use backend_api::audit::AuditEntry;
use backend_api::body::{
    AdvanceRequest, AuditPage, BackendTokenList, BackendTokenSummary, Explanation, IssueBackendTokenRequest,
    IssuedBackendToken, Publication, RuntimeViews, SetDesiredRequest, WorkspaceList, WorkspaceView,
};
use backend_api::fleet::{RegisterRuntimeRequest, RuntimeView};
use backend_api::placement::PlacementTable;
use backend_api::session::{LoginLink, LoginLinkRequest, SessionId, SessionList, SessionSummary};
use bundles::{Contents, Digest, RuntimeName, WorkspaceId};
use bytes::Bytes;
use reqwest::Method;
use runtime_api::bundle::BundleSummary;
use runtime_api::event::Cursor;
use runtime_api::token::TokenId;
use runtime_api::worker::{CreateWorkerRequest, WorkerId};
use runtime_client::{
    Client, ClientError, ClientOptions, Events, UnexpectedResponse, UploadedBlobs, UploadedManifest, signed_manifest,
};

/// A client of one Backend. Clones share their connections.
#[derive(Debug, Clone)]
pub struct BackendClient(Client);

/// Result of the upload of a bundle to a Backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBundle {
    /// Summary of the bundle. If nothing was published, that of the newest bundle.
    pub bundle: BundleSummary,
    /// Outcome of the publication.
    pub outcome: PublicationOutcome,
    /// Blobs that the Backend lacked and that were uploaded.
    pub uploaded: UploadedBlobs,
}

/// Outcome of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicationOutcome {
    /// The bundle is a new revision.
    New,
    /// The bundle was published before.
    Known,
    /// The bundle differs from the newest one only in revision, time and provenance, so it was not stored.
    Unchanged,
}

impl From<Client> for BackendClient {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl BackendClient {
    /// Creates a client. Sends nothing.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Client::new(options).map(Self)
    }

    /// Returns a client for another workspace that the token serves.
    pub fn in_workspace(&self, workspace: WorkspaceId) -> Self {
        Self(self.0.in_workspace(workspace))
    }

    /// Returns the client of the routes that a Backend has in common with a Runtime.
    pub fn content(&self) -> &Client {
        &self.0
    }

    /// Publishes a bundle with the blobs that the Backend lacks. Plugin packages must be uploaded separately.
    pub async fn publish(&self, contents: &Contents) -> Result<PublishedBundle, ClientError> {
        let (digest, manifest, envelope) = signed_manifest(contents);
        let put = async || self.put_manifest(digest, manifest.clone(), envelope.clone()).await;
        let ((bundle, outcome), uploaded) = self.0.put_missing_blobs(contents.bundle(), put).await?;
        Ok(PublishedBundle { bundle, outcome, uploaded })
    }

    async fn put_manifest(
        &self,
        digest: Digest,
        manifest: Bytes,
        envelope: Option<Bytes>,
    ) -> Result<UploadedManifest<(BundleSummary, PublicationOutcome)>, ClientError> {
        match self.0.send_manifest(digest, manifest, envelope).await?.json().await? {
            Publication::Missing { missing } => Ok(UploadedManifest::Missing(missing)),
            Publication::Unchanged { bundle } => {
                Ok(UploadedManifest::Complete((bundle, PublicationOutcome::Unchanged)))
            }
            Publication::Published { bundle, new } if bundle.digest == digest => {
                let outcome = if new { PublicationOutcome::New } else { PublicationOutcome::Known };
                Ok(UploadedManifest::Complete((bundle, outcome)))
            }
            Publication::Published { .. } => Err(contradiction()),
        }
    }

    /// Returns the workspaces that the token serves, with their desired states, ordered by id.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceView>, ClientError> {
        let WorkspaceList { workspaces } = self.0.request(Method::GET, ["v1", "workspaces"]).send_json().await?;
        ordered(workspaces, |one, next| one.id < next.id)
    }

    /// Returns the workspace with its desired state.
    pub async fn desired(&self) -> Result<WorkspaceView, ClientError> {
        self.0.request(Method::GET, ["v1", "desired"]).send_json().await
    }

    /// Makes a published bundle the desired one. The operation is idempotent.
    pub async fn set_desired(&self, request: &SetDesiredRequest) -> Result<WorkspaceView, ClientError> {
        self.0.request(Method::PUT, ["v1", "desired"]).json(request).send_json().await
    }

    /// Makes the bundle the desired one again that was desired before. There are no retries: another request would go back
    /// further.
    pub async fn roll_back(&self) -> Result<WorkspaceView, ClientError> {
        self.0.request(Method::POST, ["v1", "desired", "rollback"]).send_json().await
    }

    /// Moves a rollout on. There are no retries.
    pub async fn advance(&self, request: &AdvanceRequest) -> Result<WorkspaceView, ClientError> {
        self.0.request(Method::POST, ["v1", "desired", "advance"]).json(request).send_json().await
    }

    /// Makes the Backend read all Runtimes that may have the workspace at once. There are no retries.
    pub async fn sync(&self) -> Result<(), ClientError> {
        self.0.request(Method::POST, ["v1", "sync"]).send_ignore_body().await
    }

    /// Returns past and future events of a worker after a cursor. Sends nothing before the first call of [`Events::next`].
    pub fn worker_events(&self, worker: &WorkerId, after: impl Into<Cursor>) -> Events {
        self.0.events_at(["v1", "workers", worker.as_str(), "events"], after)
    }

    /// Returns on which Runtimes a worker of the request could run, and what the others lack.
    pub async fn placements(&self, request: &CreateWorkerRequest) -> Result<PlacementTable, ClientError> {
        let table: PlacementTable =
            self.0.request(Method::POST, ["v1", "placements"]).json(request).send_json().await?;
        let PlacementTable { bundle, runtimes } = table;
        Ok(PlacementTable { bundle, runtimes: ordered(runtimes, |one, next| one.runtime < next.runtime)? })
    }

    /// Returns the Runtimes, ordered by name, with the workspaces that the token serves.
    pub async fn runtimes(&self) -> Result<Vec<RuntimeView>, ClientError> {
        let RuntimeViews { runtimes } = self.0.request(Method::GET, ["v1", "runtimes"]).send_json().await?;
        ordered(runtimes, |one, next| one.name < next.name)
    }

    /// Returns a Runtime.
    pub async fn runtime(&self, name: &RuntimeName) -> Result<RuntimeView, ClientError> {
        let view: RuntimeView = self.0.request(Method::GET, ["v1", "runtimes", name.as_ref()]).send_json().await?;
        if view.name == *name { Ok(view) } else { Err(contradiction()) }
    }

    /// Adds a remote Runtime, or replaces one that was added this way. The operation is idempotent.
    pub async fn register_runtime(
        &self,
        name: &RuntimeName,
        request: &RegisterRuntimeRequest,
    ) -> Result<RuntimeView, ClientError> {
        self.0.request(Method::PUT, ["v1", "runtimes", name.as_ref()]).json(request).send_json().await
    }

    /// Removes a Runtime that was added by a request.
    pub async fn remove_runtime(&self, name: &RuntimeName) -> Result<(), ClientError> {
        self.0.request(Method::DELETE, ["v1", "runtimes", name.as_ref()]).send_ignore_body().await
    }

    /// Makes the Backend read a Runtime at once. There are no retries.
    pub async fn read_runtime(&self, name: &RuntimeName) -> Result<(), ClientError> {
        self.0.request(Method::POST, ["v1", "runtimes", name.as_ref(), "read"]).send_ignore_body().await
    }

    /// Returns whether the workspace may be on a Runtime, and why.
    pub async fn explain(&self, runtime: &RuntimeName) -> Result<Explanation, ClientError> {
        self.0.request(Method::GET, ["v1", "runtimes", runtime.as_ref(), "explain"]).send_json().await
    }

    /// Returns at most `limit` entries of the audit log after the entry `after`, oldest first. Sends one request per page.
    pub async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, ClientError> {
        let mut pages = runtime_client::Pages::new(Some(after), limit, |entry: &AuditEntry| entry.number);
        while let Some((after, page_limit)) = pages.next() {
            let request = self.0.request(Method::GET, ["v1", "audit"]).query("limit", page_limit);
            let request = request.query("after", after.copied().unwrap_or_default());
            let page: AuditPage = request.send_json().await?;
            pages.push(page.entries, page.next)?;
        }
        Ok(pages.into_items())
    }

    /// Issues a token. There are no retries, because each request issues another token.
    pub async fn issue_token(&self, request: &IssueBackendTokenRequest) -> Result<IssuedBackendToken, ClientError> {
        self.0.request(Method::POST, ["v1", "tokens"]).json(request).send_json().await
    }

    /// Issues the token with which a Runtime polls the Backend. There are no retries, because each request issues another
    /// token.
    pub async fn issue_pull_token(&self, runtime: &RuntimeName) -> Result<IssuedBackendToken, ClientError> {
        self.0.request(Method::POST, ["v1", "runtimes", runtime.as_ref(), "token"]).send_json().await
    }

    /// Returns all tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Vec<BackendTokenSummary>, ClientError> {
        let list: BackendTokenList = self.0.request(Method::GET, ["v1", "tokens"]).send_json().await?;
        Ok(list.tokens)
    }

    /// Revokes a token. The operation is idempotent.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<BackendTokenSummary, ClientError> {
        self.0.request(Method::DELETE, ["v1", "tokens", id.as_str()]).send_json().await
    }

    /// Issues a login link. There are no retries, because each request issues another link.
    pub async fn issue_login_link(&self, request: &LoginLinkRequest) -> Result<LoginLink, ClientError> {
        self.0.request(Method::POST, ["v1", "login-links"]).json(request).send_json().await
    }

    /// Returns the open sessions, ordered by id.
    pub async fn sessions(&self) -> Result<Vec<SessionSummary>, ClientError> {
        let SessionList { sessions } = self.0.request(Method::GET, ["v1", "sessions"]).send_json().await?;
        ordered(sessions, |one, next| one.id < next.id)
    }

    /// Ends a session.
    pub async fn end_session(&self, id: &SessionId) -> Result<SessionSummary, ClientError> {
        self.0.request(Method::DELETE, ["v1", "sessions", id.as_str()]).send_json().await
    }
}

fn contradiction() -> ClientError {
    ClientError::Unexpected(UnexpectedResponse::Contradiction)
}

/// Checks the order of a list, so that nothing stands in it twice.
fn ordered<T>(items: Vec<T>, is_before: impl FnMut(&T, &T) -> bool) -> Result<Vec<T>, ClientError> {
    if items.is_sorted_by(is_before) { Ok(items) } else { Err(contradiction()) }
}
