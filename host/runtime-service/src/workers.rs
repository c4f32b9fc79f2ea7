//! `/v1/workers`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::{Digest, ToolName};
use host_policy::ResolvedWorkerSpec;
use http_edge::body_holding;
use runtime_api::body::{CreatedWorkerBody, HistoryPage, WorkerPage};
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::token::Scope;
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, WorkerId, WorkerSummary};
use serde::de::DeserializeOwned;
use worker_runtime::report::ResolutionReport;
use worker_runtime::{Catalogue, WorkerError};

use super::access::{Asked, At, Named, Page, Tenant};
use super::blobs::{etag, is_known, is_meant, is_new};
use super::bundles::body_of;
use super::{Problem, Service};

/// Most bytes of a request for a worker.
const CREATE_BYTES: usize = 64 << 10;

fn id(text: &str) -> Result<WorkerId, Problem> {
    text.parse().map_err(|_| Problem::path("a worker id"))
}

pub(super) async fn json<T: DeserializeOwned>(body: Body, most: usize) -> Result<T, Problem> {
    let bytes = body_of(body, most).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = bundles::canonical::reason(&bytes, &error);
        let detail = format!("the body is not understood at line {line}, column {column}: {reason}");
        Problem::new("invalid_request", detail, "see /openapi.json")
    })
}

/// A worker as it is now.
fn tag(worker: &WorkerSummary) -> String {
    // Names, digests and times: there is nothing in it that JSON could not hold.
    etag(&Digest::of(serde_json::to_vec(worker).unwrap_or_default()))
}

fn told(status: StatusCode, worker: WorkerSummary) -> Response {
    (status, [(header::ETAG, tag(&worker))], Json(worker)).into_response()
}

/// Says what a worker that is asked for like that would be.
///
/// Resolves and enforces as for a worker, and makes none.
#[utoipa::path(post, path = "/v1/resolve", tag = "workers", operation_id = "resolve", security(("token" = [])),
    params(Named), request_body = CreateWorkerRequest,
    responses((status = 200, description = "What the profile means here, and what is granted", body = Object)))]
pub(super) async fn resolve(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    body: Body,
) -> Result<Json<ResolutionReport>, Problem> {
    let catalogue = service.runtime.catalogue(tenant.write(Scope::Workers)?);
    Ok(Json(catalogue.resolve(&json(body, CREATE_BYTES).await?).await?))
}

/// Makes a worker.
///
/// The id is the caller's: asking again with the same finds the worker that is there. With
/// `If-None-Match: *` asking again is refused.
#[utoipa::path(put, path = "/v1/workers/{id}", tag = "workers", operation_id = "create_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), Named), request_body = CreateWorkerRequest,
    responses((status = 201, description = "It takes calls", body = CreatedWorkerBody),
        (status = 200, description = "It was there before", body = CreatedWorkerBody)))]
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let catalogue = service.runtime.catalogue(tenant.write(Scope::Workers)?);
    let request: CreateWorkerRequest = json(body, CREATE_BYTES).await?;
    let CreatedWorker { worker, new, findings } = catalogue.create(id(&name)?, request).await?;
    is_new(&headers, !new)?;
    let (status, tag) = (if new { StatusCode::CREATED } else { StatusCode::OK }, tag(&worker));
    let body = CreatedWorkerBody { worker, bundle_findings: findings };
    Ok((status, [(header::ETAG, tag)], Json(body)).into_response())
}

/// Reads what is known of a worker.
#[utoipa::path(get, path = "/v1/workers/{id}", tag = "workers", operation_id = "get_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), Named),
    responses((status = 200, description = "The worker", body = WorkerSummary),
        (status = 304, description = "The caller knows it as it is")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id(&name)?;
    let workspace = tenant.read()?.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
    let worker = service.runtime.catalogue(workspace).get(&id).await?;
    let tag = tag(&worker);
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(told(StatusCode::OK, worker))
}

/// Says what a worker is and may touch, as it is granted now.
#[utoipa::path(get, path = "/v1/workers/{id}/spec", tag = "workers", operation_id = "worker_spec",
    security(("token" = [])), params(("id" = WorkerId, Path), Named),
    responses((status = 200, description = "Its tools, model, instructions and authority", body = Object)))]
pub(super) async fn spec(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<ResolvedWorkerSpec>, Problem> {
    let id = id(&name)?;
    let workspace = tenant.read()?.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
    Ok(Json(service.runtime.catalogue(workspace).spec(&id).await?))
}

/// Lists the workers of a workspace.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", operation_id = "list_workers", security(("token" = [])),
    params(Named, Page),
    responses((status = 200, description = "A page of at most 256 KiB of workers; `next` tells whether it is the last", body = WorkerPage)))]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    Asked(page): Asked<Page>,
) -> Result<Json<WorkerPage>, Problem> {
    let workspace = tenant.list()?;
    let after = page.after.as_deref().map(str::parse).transpose().map_err(|_| Problem::query())?;
    let page = service.runtime.catalogue(workspace).list_page(after.as_ref(), page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|worker| worker.id.clone());
    Ok(Json(WorkerPage { workers: page.items, next }))
}

/// Stops a worker for good.
///
/// Its history stays. Stopping twice is stopping once.
#[utoipa::path(delete, path = "/v1/workers/{id}", tag = "workers", operation_id = "stop_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), Named),
    responses((status = 200, description = "It takes no more calls", body = WorkerSummary)))]
pub(super) async fn stop(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let catalogue = service.runtime.catalogue(tenant.write(Scope::Workers)?);
    let id = id(&name)?;
    is_meant_worker(&headers, &catalogue, &id).await?;
    Ok(told(StatusCode::OK, catalogue.stop(&id).await?))
}

/// Refuses a change of a worker that is not any more what the caller takes it for (`If-Match`).
async fn is_meant_worker(headers: &HeaderMap, catalogue: &Catalogue, id: &WorkerId) -> Result<(), Problem> {
    match headers.contains_key(header::IF_MATCH) {
        true => is_meant(headers, &tag(&catalogue.get(id).await?)),
        false => Ok(()),
    }
}

/// Removes a stopped worker with its history.
///
/// The id can be used again afterwards. Blobs that nothing else uses go with the next collection of garbage.
#[utoipa::path(post, path = "/v1/workers/{id}/remove", tag = "workers", operation_id = "remove_worker",
    security(("token" = [])), params(("id" = WorkerId, Path), Named),
    responses((status = 204, description = "It is there no more")))]
pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let catalogue = service.runtime.catalogue(tenant.write(Scope::Workers)?);
    let id = id(&name)?;
    is_meant_worker(&headers, &catalogue, &id).await?;
    catalogue.remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Calls a tool of a worker.
///
/// The call is in the worker's history before the tool begins.
#[utoipa::path(post, path = "/v1/workers/{id}/tools/{tool}", tag = "workers", operation_id = "call_tool",
    security(("token" = [])), params(("id" = WorkerId, Path), ("tool" = ToolName, Path), Named),
    request_body = ToolCall,
    responses((status = 200, description = "What it answered", body = CallResult)))]
pub(super) async fn call(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At((name, tool)): At<(String, String)>,
    body: Body,
) -> Result<Json<CallResult>, Problem> {
    let workspace = tenant.write(Scope::Call)?;
    let interaction = service.runtime.interaction(workspace);
    let tool = tool.parse().map_err(|_| Problem::path("a tool's name"))?;
    let most = usize::try_from(service.runtime.management().limits().call_bytes).unwrap_or(usize::MAX);
    // Room for what stands around the input.
    let most = most.saturating_add(4096);
    let _incoming = service.runtime.content(workspace).reserve_body(most)?;
    let call = body_of(body, most).await?;
    Ok(Json(interaction.call_json(&id(&name)?, &tool, &call).await?))
}

/// Reads what a worker did, in order.
#[utoipa::path(get, path = "/v1/workers/{id}/history", tag = "workers", operation_id = "history",
    security(("token" = [])), params(("id" = WorkerId, Path), Named, Page),
    responses((status = 200, description = "A page of at most 256 KiB of entries; `next` tells whether it is the last", body = HistoryPage)))]
pub(super) async fn history(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    Asked(page): Asked<Page>,
) -> Result<Response, Problem> {
    let id = id(&name)?;
    let workspace = tenant.read()?.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
    let after = page.after.as_deref().map_or(Ok(0), str::parse).map_err(|_| Problem::query())?;
    let page = service.runtime.observation(workspace).history_page(&id, after, page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| entry.number);
    // Names, times and JSON: there is nothing in it that JSON could not hold.
    let text = serde_json::to_vec(&HistoryPage { entries: page.items, next }).unwrap_or_default();
    let held = service.runtime.content(workspace).reserve_body(text.len())?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body_holding(text.into(), held)).into_response())
}
