//! `/v1/desired` and `/v1/workspaces`: which bundle the Runtimes of a workspace should use.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use backend_api::body::{AdvanceRequest, SetDesiredRequest, WorkspaceList, WorkspaceView};
use runtime_service::ApiProblem;
use runtime_service::access::{Authorized, BundlesScope, ReadScope, Reader, WorkspaceQuery};
use runtime_service::extract::RequestBody;

use super::{BackendState, actor};

/// Maximum size of a decision. A stage names at most some labels.
const MAX_DECISION_BYTES: usize = 16 << 10;

/// Lists the workspaces that the token serves, with their desired states. A token with the scope `admin` lists all.
#[utoipa::path(get, path = "/v1/workspaces", tag = "desired state", operation_id = "list_workspaces",
    security(("token" = [])), responses((status = 200, description = "The workspaces", body = WorkspaceList)))]
pub(super) async fn workspaces(
    State(state): State<BackendState>,
    reader: Reader,
) -> Result<Json<WorkspaceList>, ApiProblem> {
    let mut workspaces = Vec::new();
    for workspace in state.readable(reader.token()) {
        workspaces.push(state.backend.workspace(&workspace).await?);
    }
    Ok(Json(WorkspaceList { workspaces }))
}

/// Returns a workspace with its desired state.
#[utoipa::path(get, path = "/v1/desired", tag = "desired state", operation_id = "get_desired",
    security(("token" = [])), params(WorkspaceQuery),
    responses((status = 200, description = "The workspace", body = WorkspaceView)))]
pub(super) async fn get(
    State(state): State<BackendState>,
    authorized: Authorized<ReadScope>,
) -> Result<Json<WorkspaceView>, ApiProblem> {
    Ok(Json(state.backend.workspace(authorized.workspace()).await?))
}

/// Makes a published bundle the desired one.
///
/// With a stage, only the Runtimes of the stage get it, until the rollout is moved on. The operation is idempotent.
#[utoipa::path(put, path = "/v1/desired", tag = "desired state", operation_id = "set_desired", security(("token" = [])),
    params(WorkspaceQuery), request_body = SetDesiredRequest,
    responses((status = 200, description = "The bundle is the desired one", body = WorkspaceView)))]
pub(super) async fn set(
    State(state): State<BackendState>,
    authorized: Authorized<BundlesScope>,
    body: RequestBody,
) -> Result<Json<WorkspaceView>, ApiProblem> {
    let request: SetDesiredRequest = body.json(MAX_DECISION_BYTES).await?;
    let actor = actor(authorized.token());
    Ok(Json(state.backend.set_desired(&actor, authorized.workspace(), &request).await?))
}

/// Makes the bundle the desired one again that was desired before.
///
/// A repeated request goes back further. Bundles that were revoked or removed since are passed over.
#[utoipa::path(post, path = "/v1/desired/rollback", tag = "desired state", operation_id = "roll_back",
    security(("token" = [])), params(WorkspaceQuery),
    responses((status = 200, description = "The earlier bundle is the desired one", body = WorkspaceView)))]
pub(super) async fn roll_back(
    State(state): State<BackendState>,
    authorized: Authorized<BundlesScope>,
) -> Result<Json<WorkspaceView>, ApiProblem> {
    Ok(Json(state.backend.roll_back(&actor(authorized.token()), authorized.workspace()).await?))
}

/// Moves a rollout on to another stage, or to all Runtimes.
///
/// A rollout is halted while a Runtime refuses its bundle.
#[utoipa::path(post, path = "/v1/desired/advance", tag = "desired state", operation_id = "advance",
    security(("token" = [])), params(WorkspaceQuery), request_body = AdvanceRequest,
    responses((status = 200, description = "The rollout has the new stage", body = WorkspaceView)))]
pub(super) async fn advance(
    State(state): State<BackendState>,
    authorized: Authorized<BundlesScope>,
    body: RequestBody,
) -> Result<Json<WorkspaceView>, ApiProblem> {
    let request: AdvanceRequest = body.json(MAX_DECISION_BYTES).await?;
    Ok(Json(state.backend.advance(&actor(authorized.token()), authorized.workspace(), &request).await?))
}

/// Reads all Runtimes that may have the workspace at once, and retries what they refused.
///
/// The response does not wait for the Runtimes.
#[utoipa::path(post, path = "/v1/sync", tag = "desired state", operation_id = "sync", security(("token" = [])),
    params(WorkspaceQuery), responses((status = 202, description = "The Runtimes are read")))]
pub(super) async fn sync(
    State(state): State<BackendState>,
    authorized: Authorized<BundlesScope>,
) -> Result<StatusCode, ApiProblem> {
    state.backend.sync(&actor(authorized.token()), authorized.workspace()).await?;
    Ok(StatusCode::ACCEPTED)
}
