//! `/v1/pull`: Runtimes that poll the Backend, and their tokens.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use backend_api::audit::Action;
use backend_api::body::IssuedBackendToken;
use backend_api::pull::{
    MAX_HELD_OPERATIONS, MAX_POLL_BYTES, MAX_RUNNING_OPERATIONS, OperationId, PollRequest, PollResponse,
};
use bundles::{RuntimeName, WorkspaceId};
use content_store::metadata::{Batch, Key};
use runtime_api::Code;
use runtime_api::token::{Scope, TokenGrant, TokenId};
use runtime_service::ApiProblem;
use runtime_service::access::{Operator, StatusReader};
use runtime_service::extract::{PathParams, RequestBody};
use secrecy::ExposeSecret;

use super::{BackendState, actor};
use crate::backend::{Backend, BackendError};
use crate::pull::PulledRuntime;

/// Maximum number of connections of a Runtime: one poll, and for each operation its answer, a blob and one to spare. The body
/// of an answer can have megabytes, and the default share of a token would let one Runtime fill the memory of the Backend.
const TOKEN_CONNECTIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(3 * MAX_RUNNING_OPERATIONS as u32);

/// Key of the row that binds a token to the Runtime that polls with it.
fn token_key(token: &TokenId) -> Key {
    Key::new("backend-pull-token").part(token.as_str())
}

impl Backend {
    /// Binds a token to a Runtime.
    async fn bind_pull_token(&self, token: &TokenId, runtime: &RuntimeName) -> Result<(), BackendError> {
        Ok(self.0.records.commit(Batch::default().put_row(&token_key(token), runtime)).await?)
    }

    /// Returns the Runtime that polls with a token.
    async fn pulling_runtime(&self, token: &TokenId) -> Result<(RuntimeName, PulledRuntime), ApiProblem> {
        let row = self.0.records.row::<RuntimeName>(&token_key(token)).await?;
        let runtime = row.map(|row| row.value).ok_or_else(|| {
            let help = "use a token that was issued for a Runtime: `POST /v1/runtimes/{name}/token`";
            ApiProblem::new(Code::ScopeMissing, "the token is not one of a Runtime that polls", help)
        })?;
        let pulled = self.pulled(&runtime)?;
        Ok((runtime, pulled))
    }

    fn pulled(&self, runtime: &RuntimeName) -> Result<PulledRuntime, BackendError> {
        let fleet = self.0.fleet();
        let entry = fleet.runtimes.get(runtime).ok_or_else(|| BackendError::RuntimeNotFound(runtime.clone()))?;
        entry.link.as_pulled().cloned().ok_or_else(|| BackendError::NotPulled(runtime.clone()))
    }

    /// Looks for the next step of a Runtime at once.
    fn runtime_returned(&self, runtime: &RuntimeName) {
        let now = self.0.now();
        self.0.fleet().reconciler.read_now(runtime, now);
        self.0.wake.notify_one();
    }

    /// Returns `true` if the policy allows the workspace on the Runtime.
    fn is_allowed(&self, runtime: &RuntimeName, workspace: &WorkspaceId) -> bool {
        self.allowed_link(workspace, runtime).is_ok()
    }
}

/// Issues the token with which a Runtime polls the Backend.
///
/// The token can be used for nothing else, and by no other Runtime. No other response contains the token itself.
#[utoipa::path(post, path = "/v1/runtimes/{name}/token", tag = "fleet", operation_id = "issue_pull_token",
    security(("token" = [])), params(("name" = RuntimeName, Path)),
    responses((status = 201, description = "The token", body = IssuedBackendToken)))]
pub(super) async fn issue(
    State(state): State<BackendState>,
    operator: Operator,
    PathParams(runtime): PathParams<RuntimeName>,
) -> Result<Response, ApiProblem> {
    let actor = actor(operator.token());
    let issued = issue_token(&state, &runtime).await;
    let (id, refused) = match &issued {
        Ok(issued) => (Some(issued.summary.id.clone()), None),
        Err(error) => (None, Some(error.code())),
    };
    state.backend.record(&actor, Action::IssuePullToken { runtime, issued: id }, refused).await?;
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, no_store, Json(issued?)).into_response())
}

async fn issue_token(state: &BackendState, runtime: &RuntimeName) -> Result<IssuedBackendToken, ApiProblem> {
    state.backend.pulled(runtime)?;
    let invalid = |_| ApiProblem::new(Code::InvalidRequest, "the name is too long for a token", "rename the Runtime");
    let grant = TokenGrant {
        name: runtime.as_str().parse().map_err(invalid)?,
        scopes: [Scope::Status].into(),
        workspaces: [].into(),
        expires_at: None,
        connections: Some(TOKEN_CONNECTIONS),
        event_streams: None,
    };
    let management = state.backend.catalogue().management();
    let (summary, token) = management.issue_token(grant, &*state.entropy).await?;
    state.backend.bind_pull_token(&summary.id, runtime).await?;
    Ok(IssuedBackendToken { token: token.expose_secret().to_owned(), summary: summary.into() })
}

/// Takes operations of the Backend, and sends the answer to an earlier one.
///
/// A request that waits is held for at most 25 seconds. If another process polls for the same Runtime, the newest one gets the
/// operations, and the others are refused.
#[utoipa::path(post, path = "/v1/pull", tag = "fleet", operation_id = "pull", security(("token" = [])),
    request_body = PollRequest,
    responses((status = 200, description = "The next operations, or none", body = PollResponse)))]
pub(super) async fn poll(
    State(state): State<BackendState>,
    reader: StatusReader,
    body: RequestBody,
) -> Result<Json<PollResponse>, ApiProblem> {
    let (runtime, pulled) = state.backend.pulling_runtime(&reader.token().id).await?;
    let request: PollRequest = body.json(MAX_POLL_BYTES).await?;
    if request.held.len() > MAX_HELD_OPERATIONS {
        let detail = format!("`held` has more than {MAX_HELD_OPERATIONS} items");
        return Err(ApiProblem::new(Code::InvalidRequest, detail, "answer operations before you take others"));
    }
    if pulled.is_silent() {
        // Its operations failed until now, so the next one could be minutes away.
        state.backend.runtime_returned(&runtime);
    }
    let operations = tokio::select! {
        operations = pulled.poll(request, |workspace| state.backend.is_allowed(&runtime, workspace)) => operations,
        () = state.content.closing() => Ok(Vec::new()),
    };
    let operations = operations.map_err(|superseded| {
        let help = "stop one of the two Runtimes with this name, or give each its own name and token";
        ApiProblem::new(Code::PullSuperseded, superseded.to_string(), help)
    })?;
    Ok(Json(PollResponse { operations }))
}

/// Returns the blob that an operation in progress stores.
#[utoipa::path(get, path = "/v1/pull/blobs/{operation}", tag = "fleet", operation_id = "pull_blob",
    security(("token" = [])), params(("operation" = OperationId, Path)),
    responses((status = 200, description = "The content", body = [u8], content_type = "application/octet-stream")))]
pub(super) async fn blob(
    State(state): State<BackendState>,
    reader: StatusReader,
    PathParams(Operation(operation)): PathParams<Operation>,
) -> Result<Response, ApiProblem> {
    let (runtime, pulled) = state.backend.pulling_runtime(&reader.token().id).await?;
    let found = pulled.content(operation).filter(|(workspace, _)| state.backend.is_allowed(&runtime, workspace));
    let (_, content) = found.ok_or_else(|| {
        let help = "take operations with `POST /v1/pull`";
        ApiProblem::new(Code::BlobNotFound, "no operation in progress of this Runtime stores the blob", help)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content).into_response())
}

/// Id of an operation in a path.
#[derive(Debug)]
pub(super) struct Operation(OperationId);

impl std::str::FromStr for Operation {
    type Err = backend_api::pull::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl runtime_service::extract::PathSegment for Operation {
    const EXPECTED: &'static str = "an id of an operation";
}
