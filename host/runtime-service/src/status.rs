//! `/v1/status`, `/v1/facts` and `/v1/desired`: the routes that a Backend uses.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use host_policy::Facts;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;

use super::access::{Authorized, BundlesScope, StatusReader, StatusScope, WorkspaceQuery};
use super::extract::RequestBody;
use super::{ApiProblem, Service};

/// Maximum size of a decision.
const MAX_DESIRED_BYTES: usize = 4 << 10;

/// Returns the status of the Runtime, with that of each workspace that the token serves and the config names.
#[utoipa::path(get, path = "/v1/status", tag = "operation", operation_id = "status", security(("token" = [])),
    responses((status = 200, description = "The status", body = RuntimeStatus)))]
pub(super) async fn status(
    State(service): State<Arc<Service>>,
    reader: StatusReader,
) -> Result<Json<RuntimeStatus>, ApiProblem> {
    Ok(Json(service.runtime.management().status(reader.workspaces()).await?))
}

/// Returns the facts about this host that resolvers get for the workspace, as canonical JSON.
///
/// Facts hold names only. The status has their digest.
#[utoipa::path(get, path = "/v1/facts", tag = "operation", operation_id = "facts", security(("token" = [])),
    params(WorkspaceQuery),
    responses((status = 200, description = "The facts", body = Object, content_type = "application/json")))]
pub(super) async fn facts(State(service): State<Arc<Service>>, authorized: Authorized<StatusScope>) -> Response {
    let facts: Facts = service.runtime.management().facts(authorized.workspace());
    ([(header::CONTENT_TYPE, "application/json")], facts.to_json()).into_response()
}

/// Acknowledges the bundle that the workspace should use.
///
/// The bundle must be stored. The same decision can be repeated; a decision whose generation is not higher than the
/// acknowledged one is refused. The bundle cannot be removed, and workers can be created from it even if it is older than
/// the newest one.
#[utoipa::path(put, path = "/v1/desired", tag = "operation", operation_id = "set_desired", security(("token" = [])),
    params(WorkspaceQuery), request_body = DesiredBundle,
    responses((status = 200, description = "The decision is acknowledged", body = AcknowledgedBundle)))]
pub(super) async fn set_desired(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    body: RequestBody,
) -> Result<Json<AcknowledgedBundle>, ApiProblem> {
    let desired: DesiredBundle = body.json(MAX_DESIRED_BYTES).await?;
    Ok(Json(service.runtime.content(authorized.workspace()).set_desired(desired).await?))
}
