//! `/v1/workers` and `/v1/resolve`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::{Digest, IngressName, ToolName};
use host_policy::ResolvedWorkerSpec;
use http_edge::body_holding;
use runtime_api::body::{CreatedWorkerBody, FailedResolutionList, HistoryPage, LogPage, ServiceList, WorkerPage};
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::ingress::{AcceptedEvent, EventId};
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, WorkerId, WorkerSummary};
use worker_runtime::report::ResolutionReport;
use worker_runtime::{Catalogue, WorkerError};

use super::access::{
    Authorized, CallScope, IngressScope, OperatorScope, ReadScope, Tenant, WorkersScope, WorkspaceQuery,
};
use super::download::etag;
use super::extract::{IdempotencyKey, PageQuery, PathParams, Preconditions, QueryParams, RequestBody};
use super::{ApiProblem, Service};

/// Maximum size of a request for a worker.
const MAX_WORKER_REQUEST_BYTES: usize = 64 << 10;

/// Bytes of a tool call besides its input: the names of the fields and white space.
const MAX_CALL_OVERHEAD_BYTES: usize = 4096;

/// Returns the entity tag of a worker in its current state.
fn worker_etag(worker: &WorkerSummary) -> String {
    // A summary holds only names, digests and times, so it can always be serialized.
    etag(&Digest::of(serde_json::to_vec(worker).unwrap_or_default()))
}

fn worker_response(worker: WorkerSummary) -> Response {
    ([(header::ETAG, worker_etag(&worker))], Json(worker)).into_response()
}

/// Resolves a profile and enforces the policy without creating a worker.
///
/// The result is the specification that a worker of the same request would have.
#[utoipa::path(post, path = "/v1/resolve", tag = "workers", operation_id = "resolve", security(("token" = [])),
    params(WorkspaceQuery), request_body = CreateWorkerRequest,
    responses((status = 200, description = "The resolved profile and the granted authority", body = Object)))]
pub(super) async fn resolve(
    State(service): State<Arc<Service>>,
    authorized: Authorized<WorkersScope>,
    body: RequestBody,
) -> Result<Json<ResolutionReport>, ApiProblem> {
    let request = body.json(MAX_WORKER_REQUEST_BYTES).await?;
    Ok(Json(service.runtime.catalogue(authorized.workspace()).resolve(&request).await?))
}

/// Creates a worker.
///
/// The client chooses the id. The operation is idempotent: a repeated request returns the existing worker. With
/// `If-None-Match: *` a repeated request fails.
#[utoipa::path(put, path = "/v1/workers/{id}", tag = "workers", operation_id = "create_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery), request_body = CreateWorkerRequest,
    responses((status = 201, description = "The worker was created and accepts calls", body = CreatedWorkerBody),
        (status = 200, description = "The worker existed before", body = CreatedWorkerBody)))]
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    authorized: Authorized<WorkersScope>,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let request: CreateWorkerRequest = body.json(MAX_WORKER_REQUEST_BYTES).await?;
    let created = service.runtime.catalogue(authorized.workspace()).create(id, request).await?;
    let CreatedWorker { worker, new, findings } = created;
    preconditions.check_created(new)?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let etag = worker_etag(&worker);
    let body = CreatedWorkerBody { worker, bundle_findings: findings };
    Ok((status, [(header::ETAG, etag)], Json(body)).into_response())
}

/// Returns a worker.
#[utoipa::path(get, path = "/v1/workers/{id}", tag = "workers", operation_id = "get_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "The worker", body = WorkerSummary),
        (status = 304, description = "The client has the current version")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
) -> Result<Response, ApiProblem> {
    let workspace = tenant.readable_or(|| WorkerError::NotFound(id.clone()))?;
    let worker = service.runtime.catalogue(workspace).get(&id).await?;
    let etag = worker_etag(&worker);
    if preconditions.is_not_modified(&etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(worker_response(worker))
}

/// Returns the specification of a worker, with the authority that is granted now.
#[utoipa::path(get, path = "/v1/workers/{id}/spec", tag = "workers", operation_id = "worker_spec",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "The tools, model, instructions and authority", body = Object)))]
pub(super) async fn spec(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
) -> Result<Json<ResolvedWorkerSpec>, ApiProblem> {
    let workspace = tenant.readable_or(|| WorkerError::NotFound(id.clone()))?;
    Ok(Json(service.runtime.catalogue(workspace).spec(&id).await?))
}

/// Lists the recorded resolutions that failed, that the host denied, or that showed a change after the activation of a resolver.
///
/// The record of each is a blob of the workspace. The same inputs are recorded once, and the number of records is limited.
#[utoipa::path(get, path = "/v1/failed-resolutions", tag = "workers", operation_id = "list_failed_resolutions",
    security(("token" = [])), params(WorkspaceQuery),
    responses((status = 200, description = "All of them, the oldest first", body = FailedResolutionList)))]
pub(super) async fn failed_resolutions(
    State(service): State<Arc<Service>>,
    authorized: Authorized<ReadScope>,
) -> Result<Json<FailedResolutionList>, ApiProblem> {
    let failures = service.runtime.catalogue(authorized.workspace()).failed_resolutions().await?;
    Ok(Json(FailedResolutionList { failures }))
}

/// Lists the workers of a workspace.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", operation_id = "list_workers", security(("token" = [])),
    params(WorkspaceQuery, PageQuery::<WorkerId>),
    responses((status = 200, body = WorkerPage,
        description = "A page of at most 256 KiB of workers; `next` is absent on the last page")))]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    authorized: Authorized<ReadScope>,
    QueryParams(page): QueryParams<PageQuery<WorkerId>>,
) -> Result<Json<WorkerPage>, ApiProblem> {
    let catalogue = service.runtime.catalogue(authorized.workspace());
    let page = catalogue.list_page(page.after.as_ref(), page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|worker| worker.id.clone());
    Ok(Json(WorkerPage { workers: page.items, next }))
}

/// Stops a worker permanently.
///
/// Its history stays. The operation is idempotent.
#[utoipa::path(delete, path = "/v1/workers/{id}", tag = "workers", operation_id = "stop_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "The worker accepts no calls", body = WorkerSummary)))]
pub(super) async fn stop(
    State(service): State<Arc<Service>>,
    authorized: Authorized<WorkersScope>,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
) -> Result<Response, ApiProblem> {
    let catalogue = service.runtime.catalogue(authorized.workspace());
    check_current(&preconditions, &catalogue, &id).await?;
    Ok(worker_response(catalogue.stop(&id).await?))
}

/// Checks the header `If-Match` against the current state of a worker.
async fn check_current(preconditions: &Preconditions, catalogue: &Catalogue, id: &WorkerId) -> Result<(), ApiProblem> {
    match preconditions.has_if_match() {
        true => preconditions.check_current(&worker_etag(&catalogue.get(id).await?)),
        false => Ok(()),
    }
}

/// Removes a stopped worker with its history.
///
/// Afterwards the id can be used again. The next garbage collection removes blobs that nothing else uses.
#[utoipa::path(post, path = "/v1/workers/{id}/remove", tag = "workers", operation_id = "remove_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 204, description = "The worker was removed")))]
pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    authorized: Authorized<WorkersScope>,
    PathParams(id): PathParams<WorkerId>,
    preconditions: Preconditions,
) -> Result<StatusCode, ApiProblem> {
    let catalogue = service.runtime.catalogue(authorized.workspace());
    check_current(&preconditions, &catalogue, &id).await?;
    catalogue.remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Calls a tool of a worker.
///
/// The call is written to the worker's history before the tool starts.
#[utoipa::path(post, path = "/v1/workers/{id}/tools/{tool}", tag = "workers", operation_id = "call_tool",
    security(("token" = [])), params(("id" = WorkerId, Path), ("tool" = ToolName, Path), WorkspaceQuery),
    request_body = ToolCall,
    responses((status = 200, description = "The result of the tool", body = CallResult)))]
pub(super) async fn call(
    State(service): State<Arc<Service>>,
    authorized: Authorized<CallScope>,
    PathParams((id, tool)): PathParams<(WorkerId, ToolName)>,
    body: RequestBody,
) -> Result<Json<CallResult>, ApiProblem> {
    let workspace = authorized.workspace();
    let max_input = usize::try_from(service.runtime.management().limits().call_bytes).unwrap_or(usize::MAX);
    let max_bytes = max_input.saturating_add(MAX_CALL_OVERHEAD_BYTES);
    let _incoming = service.runtime.content(workspace).reserve_body(max_bytes)?;
    let call = body.bytes(max_bytes).await?;
    Ok(Json(service.runtime.interaction(workspace).call_json(&id, &tool, &call).await?))
}

/// Returns the history of a worker, oldest entry first.
#[utoipa::path(get, path = "/v1/workers/{id}/history", tag = "workers", operation_id = "history",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery, PageQuery::<u64>),
    responses((status = 200, body = HistoryPage,
        description = "A page of at most 256 KiB of entries; `next` is absent on the last page")))]
pub(super) async fn history(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
    QueryParams(page): QueryParams<PageQuery<u64>>,
) -> Result<Response, ApiProblem> {
    let workspace = tenant.readable_or(|| WorkerError::NotFound(id.clone()))?;
    let after = page.after.unwrap_or(0);
    let page = service.runtime.observation(workspace).history_page(&id, after, page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| entry.number);
    // An entry holds only names, times and JSON, so it can always be serialized.
    let text = serde_json::to_vec(&HistoryPage { entries: page.items, next }).unwrap_or_default();
    let guard = service.runtime.content(workspace).reserve_body(text.len())?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body_holding(text.into(), guard)).into_response())
}

/// Returns the services of a worker with their states.
///
/// A worker that is stopped or suspended has none. A service is restarted after an error, with a limit on the number of
/// restarts in a row.
#[utoipa::path(get, path = "/v1/workers/{id}/services", tag = "workers", operation_id = "worker_services",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery),
    responses((status = 200, description = "All services, ordered by plugin", body = ServiceList)))]
pub(super) async fn services(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(id): PathParams<WorkerId>,
) -> Result<Json<ServiceList>, ApiProblem> {
    let workspace = tenant.readable_or(|| WorkerError::NotFound(id.clone()))?;
    Ok(Json(ServiceList { services: service.runtime.observation(workspace).services(&id).await? }))
}

/// Delivers an event to a service of a worker.
///
/// The body is the event, a JSON value. The header `Idempotency-Key` is its id, which the sender chooses: 1 to 128 visible
/// ASCII characters. The event is durable before the response, and is delivered to the service later. A repeated id has no
/// effect, whatever the body; the response names the entry of the first event.
#[utoipa::path(post, path = "/v1/workers/{id}/ingress/{name}", tag = "workers", operation_id = "send_event",
    security(("token" = [])),
    params(("id" = WorkerId, Path), ("name" = IngressName, Path), WorkspaceQuery,
        ("Idempotency-Key" = EventId, Header, description = "Id of the event")),
    request_body(content = Object, description = "The event: any JSON value"),
    responses((status = 202, description = "The event is durable", body = AcceptedEvent)))]
pub(super) async fn ingress(
    State(service): State<Arc<Service>>,
    authorized: Authorized<IngressScope>,
    PathParams((id, name)): PathParams<(WorkerId, IngressName)>,
    IdempotencyKey(event): IdempotencyKey,
    body: RequestBody,
) -> Result<(StatusCode, Json<AcceptedEvent>), ApiProblem> {
    let workspace = authorized.workspace();
    let max_bytes = usize::try_from(service.runtime.management().limits().call_bytes).unwrap_or(usize::MAX);
    let _incoming = service.runtime.content(workspace).reserve_body(max_bytes)?;
    let payload = body.bytes(max_bytes).await?;
    let accepted = service.runtime.interaction(workspace).accept_event(&id, &name, &event, &payload).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// Returns log lines of a worker's plugins.
///
/// The lines are kept in memory, at most 64 KiB for each worker, and are lost when the service stops.
#[utoipa::path(get, path = "/v1/workers/{id}/logs", tag = "workers", operation_id = "worker_logs",
    security(("token" = [])), params(("id" = WorkerId, Path), WorkspaceQuery, PageQuery::<u64>),
    responses((status = 200, description = "A page of lines; `next` is absent on the last page", body = LogPage)))]
pub(super) async fn logs(
    State(service): State<Arc<Service>>,
    authorized: Authorized<OperatorScope>,
    PathParams(id): PathParams<WorkerId>,
    QueryParams(page): QueryParams<PageQuery<u64>>,
) -> Result<Json<LogPage>, ApiProblem> {
    let observation = service.runtime.observation(authorized.workspace());
    let mut lines = observation.plugin_logs(&id, page.after.unwrap_or(0)).await?;
    let has_more = lines.len() > page.limit();
    lines.truncate(page.limit());
    let next = lines.last().filter(|_| has_more).map(|line| line.number);
    Ok(Json(LogPage { lines, next }))
}
