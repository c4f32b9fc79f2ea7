//! `/v1/runtimes`: the Runtimes of the fleet, and the workspaces on them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use backend_api::body::{Explanation, RuntimeViews};
use backend_api::fleet::{RegisterRuntimeRequest, RuntimeView};
use bundles::RuntimeName;
use runtime_service::ApiProblem;
use runtime_service::access::{Authorized, Operator, ReadScope, Reader, WorkspaceQuery};
use runtime_service::extract::{PathParams, RequestBody};

use super::{BackendState, actor};

/// Lists the Runtimes, with the workspaces that the token serves on each of them.
///
/// A token with the scope `admin` sees all workspaces.
#[utoipa::path(get, path = "/v1/runtimes", tag = "fleet", operation_id = "list_runtimes", security(("token" = [])),
    responses((status = 200, description = "All Runtimes", body = RuntimeViews)))]
pub(super) async fn list(State(state): State<BackendState>, reader: Reader) -> Json<RuntimeViews> {
    Json(RuntimeViews { runtimes: state.backend.runtimes(&state.readable(reader.token())) })
}

/// Returns a Runtime, with the workspaces that the token serves.
#[utoipa::path(get, path = "/v1/runtimes/{name}", tag = "fleet", operation_id = "get_runtime", security(("token" = [])),
    params(("name" = RuntimeName, Path)),
    responses((status = 200, description = "The Runtime", body = RuntimeView)))]
pub(super) async fn get(
    State(state): State<BackendState>,
    reader: Reader,
    PathParams(name): PathParams<RuntimeName>,
) -> Result<Json<RuntimeView>, ApiProblem> {
    Ok(Json(state.backend.runtime(&name, &state.readable(reader.token()))?))
}

/// Reads the status of a Runtime at once, and retries what it refused.
///
/// The response does not wait for the Runtime.
#[utoipa::path(post, path = "/v1/runtimes/{name}/read", tag = "fleet", operation_id = "read_runtime",
    security(("token" = [])), params(("name" = RuntimeName, Path)),
    responses((status = 202, description = "The Runtime is read")))]
pub(super) async fn read(
    State(state): State<BackendState>,
    operator: Operator,
    PathParams(name): PathParams<RuntimeName>,
) -> Result<StatusCode, ApiProblem> {
    state.backend.read_runtime(&actor(operator.token()), &name).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Explains whether a workspace may be on a Runtime.
#[utoipa::path(get, path = "/v1/runtimes/{name}/explain", tag = "fleet", operation_id = "explain",
    security(("token" = [])), params(("name" = RuntimeName, Path), WorkspaceQuery),
    responses((status = 200, description = "The decision and its reasons", body = Explanation)))]
pub(super) async fn explain(
    State(state): State<BackendState>,
    authorized: Authorized<ReadScope>,
    PathParams(name): PathParams<RuntimeName>,
) -> Result<Json<Explanation>, ApiProblem> {
    Ok(Json(state.backend.explain(&name, authorized.workspace())?.into()))
}

/// Maximum size of a request that adds a Runtime.
const MAX_REGISTRATION_BYTES: usize = 64 << 10;

/// Adds a remote Runtime to the fleet, or replaces one that was added by a request.
///
/// The token of the Runtime is a secret of the Backend's host. A Runtime of the config cannot be replaced.
#[utoipa::path(put, path = "/v1/runtimes/{name}", tag = "fleet", operation_id = "register_runtime",
    security(("token" = [])), params(("name" = RuntimeName, Path)), request_body = RegisterRuntimeRequest,
    responses((status = 200, description = "The Runtime is part of the fleet", body = RuntimeView)))]
pub(super) async fn register(
    State(state): State<BackendState>,
    operator: Operator,
    PathParams(name): PathParams<RuntimeName>,
    body: RequestBody,
) -> Result<Json<RuntimeView>, ApiProblem> {
    let request: RegisterRuntimeRequest = body.json(MAX_REGISTRATION_BYTES).await?;
    state.backend.register_runtime(&actor(operator.token()), &name, &request).await?;
    Ok(Json(state.backend.runtime(&name, &state.readable(operator.token()))?))
}

/// Removes a Runtime that a request added.
///
/// Nothing is removed from the Runtime itself.
#[utoipa::path(delete, path = "/v1/runtimes/{name}", tag = "fleet", operation_id = "remove_runtime",
    security(("token" = [])), params(("name" = RuntimeName, Path)),
    responses((status = 204, description = "The Runtime is no longer part of the fleet")))]
pub(super) async fn remove(
    State(state): State<BackendState>,
    operator: Operator,
    PathParams(name): PathParams<RuntimeName>,
) -> Result<StatusCode, ApiProblem> {
    state.backend.remove_runtime(&actor(operator.token()), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
