//! `/v1/workers`: workers of the fleet. The routes are those of a Runtime, so a client of a Runtime can use them.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use backend_api::placement::PlacementTable;
use backend_api::worker::{WorkerView, WorkerViewPage};
use bundles::{Digest, RuntimeName, ToolName, WorkspaceId};
use runtime_api::body::{HistoryPage, ServiceList};
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::worker::{CreateWorkerRequest, WorkerId};
use runtime_service::ApiProblem;
use runtime_service::access::{Authorized, ReadScope, Tenant, WorkersScope, WorkspaceQuery};
use runtime_service::events::{EventFrame, EventQuery, EventResponse, respond};
use runtime_service::extract::{PageQuery, PathParams, Preconditions, QueryParams, RequestBody};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{BackendState, actor};
use crate::backend::BackendError;

/// Maximum size of a request for a worker.
const MAX_WORKER_REQUEST_BYTES: usize = 64 << 10;

/// Bytes of a tool call besides its input: the names of the fields and white space.
const MAX_CALL_OVERHEAD_BYTES: usize = 4096;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CreateQuery {
    /// Runtime of the worker. Without it, the Backend chooses one.
    runtime: Option<RuntimeName>,
}

/// Returns the entity tag of a worker in its current state.
fn etag(view: &WorkerView) -> String {
    // A view holds only names, digests, times and short texts, so it can always be serialized.
    format!("\"{}\"", Digest::of(serde_json::to_vec(view).unwrap_or_default()))
}

fn worker_response(status: StatusCode, view: WorkerView) -> Response {
    (status, [(header::ETAG, etag(&view))], Json(view)).into_response()
}

/// Checks the header `If-Match` against the current state of a worker.
async fn check_current(
    state: &BackendState,
    preconditions: &Preconditions,
    workspace: &WorkspaceId,
    id: &WorkerId,
) -> Result<(), ApiProblem> {
    match preconditions.has_if_match() {
        true => preconditions.check_current(&etag(&state.backend.worker(workspace, id).await?)),
        false => Ok(()),
    }
}

/// Creates a worker on a Runtime.
///
/// Without `runtime`, the Backend chooses a Runtime that answers and has the desired bundle: the one with the fewest workers.
/// If the request needs a bundle and names none, it gets the desired bundle of that Runtime. The client chooses the id. The
/// operation is idempotent: a repeated request reaches the same Runtime. With `If-None-Match: *` a repeated request fails.
#[utoipa::path(put, path = "/v1/workers/{id}", tag = "workers", operation_id = "create_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery, CreateQuery),
    request_body = CreateWorkerRequest,
    responses((status = 201, description = "The worker was created and accepts calls", body = WorkerView),
        (status = 200, description = "The worker existed before", body = WorkerView)))]
pub(super) async fn create(
    State(state): State<BackendState>,
    authorized: Authorized<WorkersScope>,
    PathParams(id): PathParams<WorkerId>,
    QueryParams(CreateQuery { runtime }): QueryParams<CreateQuery>,
    preconditions: Preconditions,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let request: CreateWorkerRequest = body.json(MAX_WORKER_REQUEST_BYTES).await?;
    let (actor, workspace) = (actor(authorized.token()), authorized.workspace());
    let created = state.backend.create_worker(&actor, workspace, &id, &request, runtime.as_ref()).await?;
    preconditions.check_created(created.new)?;
    let status = if created.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(worker_response(status, created.view))
}

/// Returns a worker.
#[utoipa::path(get, path = "/v1/workers/{id}", tag = "workers", operation_id = "get_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "The worker", body = WorkerView),
        (status = 304, description = "The client has the current version")))]
pub(super) async fn get(
    State(state): State<BackendState>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
) -> Result<Response, ApiProblem> {
    let workspace = tenant.readable_or(|| BackendError::WorkerNotFound(id.clone()))?;
    let view = state.backend.worker(workspace, &id).await?;
    let etag = etag(&view);
    if preconditions.is_not_modified(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(worker_response(StatusCode::OK, view))
}

/// Returns the specification of a worker, with the authority that its Runtime grants now.
#[utoipa::path(get, path = "/v1/workers/{id}/spec", tag = "workers", operation_id = "worker_spec",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "The tools, model, instructions and authority", body = Object)))]
pub(super) async fn spec(
    State(state): State<BackendState>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
) -> Result<Json<Value>, ApiProblem> {
    let workspace = tenant.readable_or(|| BackendError::WorkerNotFound(id.clone()))?;
    Ok(Json(state.backend.worker_spec(workspace, &id).await?))
}

/// Lists the workers of a workspace that were created through the Backend.
///
/// Workers of Runtimes that do not answer are missing; `unavailable` lists these Runtimes.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", operation_id = "list_workers", security(("token" = [])),
    params(WorkspaceQuery, PageQuery::<WorkerId>),
    responses((status = 200, body = WorkerViewPage,
        description = "A page of at most 256 KiB of workers; `next` is absent on the last page")))]
pub(super) async fn list(
    State(state): State<BackendState>,
    authorized: Authorized<ReadScope>,
    QueryParams(page): QueryParams<PageQuery<WorkerId>>,
) -> Result<Json<WorkerViewPage>, ApiProblem> {
    Ok(Json(state.backend.workers(authorized.workspace(), page.after.as_ref(), page.limit()).await?))
}

/// Stops a worker permanently.
///
/// Its history stays. The operation is idempotent.
#[utoipa::path(delete, path = "/v1/workers/{id}", tag = "workers", operation_id = "stop_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "The worker accepts no calls", body = WorkerView)))]
pub(super) async fn stop(
    State(state): State<BackendState>,
    authorized: Authorized<WorkersScope>,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
) -> Result<Response, ApiProblem> {
    check_current(&state, &preconditions, authorized.workspace(), &id).await?;
    let view = state.backend.stop_worker(&actor(authorized.token()), authorized.workspace(), &id).await?;
    Ok(worker_response(StatusCode::OK, view))
}

/// Removes a stopped worker with its history.
///
/// Afterwards the id can be used again, on any Runtime.
#[utoipa::path(post, path = "/v1/workers/{id}/remove", tag = "workers", operation_id = "remove_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 204, description = "The worker was removed")))]
pub(super) async fn remove(
    State(state): State<BackendState>,
    authorized: Authorized<WorkersScope>,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
) -> Result<StatusCode, ApiProblem> {
    check_current(&state, &preconditions, authorized.workspace(), &id).await?;
    state.backend.remove_worker(&actor(authorized.token()), authorized.workspace(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns on which Runtimes a worker of the request could run, and what the others lack.
///
/// The Backend resolves the profile with the facts that each allowed Runtime publishes. Without `bundle`, a profile of the
/// workspace is one of the desired bundle. Facts say nothing about network targets, plugin grants and the versions of
/// packages, so a Runtime can still refuse the worker.
#[utoipa::path(post, path = "/v1/placements", tag = "workers", operation_id = "placements", security(("token" = [])),
    params(WorkspaceQuery), request_body = CreateWorkerRequest,
    responses((status = 200, description = "The allowed Runtimes, ordered by name", body = PlacementTable)))]
pub(super) async fn placements(
    State(state): State<BackendState>,
    authorized: Authorized<WorkersScope>,
    body: RequestBody,
) -> Result<Json<PlacementTable>, ApiProblem> {
    let request: CreateWorkerRequest = body.json(MAX_WORKER_REQUEST_BYTES).await?;
    Ok(Json(state.backend.placements(authorized.workspace(), &request).await?))
}

/// Calls a tool of a worker.
///
/// The Runtime writes the call to the worker's history before the tool starts. The Backend does not repeat a call.
#[utoipa::path(post, path = "/v1/workers/{id}/tools/{tool}", tag = "workers", operation_id = "call_tool",
    security(("token" = [])), params(("id" = WorkerId, Path), ("tool" = ToolName, Path), WorkspaceQuery),
    request_body = ToolCall,
    responses((status = 200, description = "The result of the tool", body = CallResult)))]
pub(super) async fn call(
    State(state): State<BackendState>,
    authorized: Authorized<WorkersScope>,
    PathParams((id, tool)): PathParams<(WorkerId, ToolName)>,
    body: RequestBody,
) -> Result<Json<CallResult>, ApiProblem> {
    let (catalogue, workspace) = (state.backend.catalogue(), authorized.workspace());
    let max_input = usize::try_from(catalogue.management().limits().call_bytes).unwrap_or(usize::MAX);
    let max_bytes = max_input.saturating_add(MAX_CALL_OVERHEAD_BYTES);
    let _incoming = catalogue.content(workspace).reserve_body(max_bytes)?;
    let call = body.bytes(max_bytes).await?;
    Ok(Json(state.backend.call_tool(workspace, &id, &tool, call).await?))
}

/// Returns the history of a worker, oldest entry first.
#[utoipa::path(get, path = "/v1/workers/{id}/history", tag = "workers", operation_id = "history",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery, PageQuery::<u64>),
    responses((status = 200, body = HistoryPage,
        description = "A page of at most 256 KiB of entries; `next` is absent on the last page")))]
pub(super) async fn history(
    State(state): State<BackendState>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
    QueryParams(page): QueryParams<PageQuery<u64>>,
) -> Result<Json<HistoryPage>, ApiProblem> {
    let workspace = tenant.readable_or(|| BackendError::WorkerNotFound(id.clone()))?;
    let page = state.backend.history(workspace, &id, page.after.unwrap_or(0), page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| entry.number);
    Ok(Json(HistoryPage { entries: page.items, next }))
}

/// Sends the events of a worker as server-sent events.
///
/// The numbers and positions are those of the worker's Runtime, which also has events of other workers. So numbers are missing.
/// A client that sends the `id` of the last frame that it saw, as `after` or as `Last-Event-ID`, receives the events after that
/// frame. A frame `gap` tells the client that it may have missed events. The stream ends when the Runtime does not answer.
#[utoipa::path(get, path = "/v1/workers/{id}/events", tag = "workers", operation_id = "worker_events",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery, EventQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last frame that the client saw")),
    responses((status = 200, description = "Frames, until the Runtime stops answering", body = EventFrame,
        content_type = "text/event-stream")))]
pub(super) async fn events(
    State(state): State<BackendState>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
    QueryParams(query): QueryParams<EventQuery>,
    headers: HeaderMap,
) -> Result<EventResponse, ApiProblem> {
    let workspace = tenant.readable_or(|| BackendError::WorkerNotFound(id.clone()))?;
    let items = state.backend.worker_events(workspace, &id, query.position(&headers)?).await?;
    respond(state.content.clone(), tenant.token(), workspace, items)
}

/// Returns the services of a worker with their states.
#[utoipa::path(get, path = "/v1/workers/{id}/services", tag = "workers", operation_id = "worker_services",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "All services, ordered by plugin", body = ServiceList)))]
pub(super) async fn services(
    State(state): State<BackendState>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
) -> Result<Json<ServiceList>, ApiProblem> {
    let workspace = tenant.readable_or(|| BackendError::WorkerNotFound(id.clone()))?;
    Ok(Json(ServiceList { services: state.backend.worker_services(workspace, &id).await? }))
}
