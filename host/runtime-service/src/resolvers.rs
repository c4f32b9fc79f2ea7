//! `/v1/resolvers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use runtime_api::Code;
use runtime_api::body::{COMPONENT, EventPage, ResolverList};
use runtime_api::comparison::{ActivateRequest, ComparisonStatus};
use runtime_api::resolver::ResolverSummary;
use worker_runtime::Busy;

use super::access::{Operator, Reader};
use super::download::{Download, etag};
use super::extract::{PageQuery, PathParams, QueryParams, RequestBody};
use super::openapi::Binary;
use super::{ApiProblem, Service};

/// Maximum size of a request to activate a resolver.
const MAX_ACTIVATE_BYTES: usize = 4 << 10;

/// Maximum number of concurrent downloads of components.
pub(super) const MAX_COMPONENT_DOWNLOADS: usize = 4;

/// Admits a resolver.
///
/// The component is examined and compiled before the response is sent and before requests can name the resolver.
#[utoipa::path(put, path = "/v1/resolvers/{digest}", tag = "resolvers", operation_id = "put_resolver",
    security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the component")),
    request_body(content = Binary, content_type = "application/wasm"),
    responses((status = 201, description = "The resolver was admitted", body = ResolverSummary),
        (status = 200, description = "The resolver was admitted before", body = ResolverSummary)))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    if body.media_type() != COMPONENT {
        return Err(ApiProblem::media_type("the body is not a component", format!("send it as `{COMPONENT}`")));
    }
    let management = service.runtime.management();
    let component = body.bytes(management.component_bytes()).await?;
    let new = management.admit_resolver(digest, component).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::ETAG, etag(&digest))], Json(management.resolver(digest).await?)).into_response())
}

/// Returns the component of a resolver.
#[utoipa::path(get, path = "/v1/resolvers/{digest}", tag = "resolvers", operation_id = "get_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "The component", body = Binary, content_type = "application/wasm"),
        (status = 304, description = "The client has the component")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    _: Reader,
    PathParams(digest): PathParams<Digest>,
    download: Download,
) -> Result<Response, ApiProblem> {
    let management = service.runtime.management();
    let bytes = management.resolver(digest).await?.bytes;
    let reserve =
        || service.component_downloads.clone().try_acquire_owned().map_err(|_| Busy::new("components_out").into());
    download.respond(&digest, (COMPONENT, bytes), reserve, management.component(digest)).await
}

/// Lists the resolvers of the Runtime.
#[utoipa::path(get, path = "/v1/resolvers", tag = "resolvers", operation_id = "list_resolvers",
    security(("token" = [])),
    responses((status = 200, description = "All resolvers, including revoked ones", body = ResolverList)))]
pub(super) async fn list(State(service): State<Arc<Service>>, _: Reader) -> Result<Json<ResolverList>, ApiProblem> {
    Ok(Json(ResolverList { resolvers: service.runtime.management().resolvers().await? }))
}

/// Revokes a resolver and stops the workers that it resolved.
///
/// A revoked resolver stays registered, so that it cannot be admitted again.
#[utoipa::path(post, path = "/v1/resolvers/{digest}/revoke", tag = "resolvers", operation_id = "revoke_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "The resolver is revoked", body = ResolverSummary)))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
) -> Result<Json<ResolverSummary>, ApiProblem> {
    let management = service.runtime.management();
    management.revoke_resolver(digest).await?;
    Ok(Json(management.resolver(digest).await?))
}

/// Activates a resolver.
///
/// Requests that name no resolver use it from now on, unless the config pins one for their workspace. Requests in flight end
/// on the resolver with which they began. Activating the active resolver changes nothing. A comparison with the active resolver
/// must allow the activation, or the request accepts exactly its changes.
#[utoipa::path(post, path = "/v1/resolvers/{digest}/activate", tag = "resolvers", operation_id = "activate_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)), request_body = ActivateRequest,
    responses((status = 200, description = "The resolver is active", body = ResolverSummary)))]
pub(super) async fn activate(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
    body: RequestBody,
) -> Result<Json<ResolverSummary>, ApiProblem> {
    let request: ActivateRequest = body.json(MAX_ACTIVATE_BYTES).await?;
    if request.unchecked && request.accept.is_some() {
        let help = "omit `unchecked`, or omit `accept`";
        return Err(ApiProblem::new(Code::InvalidRequest, "`accept` and `unchecked` exclude each other", help));
    }
    Ok(Json(service.runtime.management().activate_resolver(digest, request).await?))
}

/// Compares the active resolver with this one, over the recorded resolutions.
///
/// The response does not wait for the result. Requests for the same pair while it runs change nothing.
#[utoipa::path(post, path = "/v1/resolvers/{digest}/comparison", tag = "resolvers", operation_id = "compare_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 202, description = "The comparison runs", body = ComparisonStatus)))]
pub(super) async fn compare(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
) -> Result<Response, ApiProblem> {
    let status = service.runtime.management().compare_resolver(digest).await?;
    Ok((StatusCode::ACCEPTED, Json(status)).into_response())
}

/// Returns the newest comparison with a resolver, or its progress.
#[utoipa::path(get, path = "/v1/resolvers/{digest}/comparison", tag = "resolvers", operation_id = "get_comparison",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "Progress or result", body = ComparisonStatus)))]
pub(super) async fn comparison(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
) -> Result<Json<ComparisonStatus>, ApiProblem> {
    Ok(Json(service.runtime.management().comparison(digest).await?))
}

/// Cancels the comparison with a resolver.
///
/// An earlier result stays. The operation is idempotent.
#[utoipa::path(delete, path = "/v1/resolvers/{digest}/comparison", tag = "resolvers", operation_id = "cancel_comparison",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "The comparison does not run", body = ComparisonStatus)))]
pub(super) async fn cancel_comparison(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
) -> Result<Json<ComparisonStatus>, ApiProblem> {
    Ok(Json(service.runtime.management().cancel_comparison(digest).await?))
}

/// Activates the resolver that was active before.
///
/// Several requests go back step by step. Resolvers that were revoked or removed since are skipped.
#[utoipa::path(post, path = "/v1/resolvers/rollback", tag = "resolvers", operation_id = "rollback_resolver",
    security(("token" = [])),
    responses((status = 200, description = "The resolver that is active now", body = ResolverSummary)))]
pub(super) async fn rollback(
    State(service): State<Arc<Service>>,
    _: Operator,
) -> Result<Json<ResolverSummary>, ApiProblem> {
    Ok(Json(service.runtime.management().rollback_resolver().await?))
}

/// Removes a resolver that nothing uses.
///
/// Refused while it is active, while the config pins it, or while workers that it resolved run. A revoked resolver stays
/// listed, so that it cannot be added again.
#[utoipa::path(delete, path = "/v1/resolvers/{digest}", tag = "resolvers", operation_id = "remove_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 204, description = "The resolver was removed")))]
pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(digest): PathParams<Digest>,
) -> Result<StatusCode, ApiProblem> {
    service.runtime.management().remove_resolver(digest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the events of the Runtime itself: the changes of its resolvers.
#[utoipa::path(get, path = "/v1/runtime/events", tag = "operation", operation_id = "runtime_events",
    security(("token" = [])), params(PageQuery::<u64>),
    responses((status = 200, description = "A page of events, oldest first", body = EventPage)))]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    _: Operator,
    QueryParams(page): QueryParams<PageQuery<u64>>,
) -> Result<Json<EventPage>, ApiProblem> {
    let page = service.runtime.management().events_page(page.after.unwrap_or(0), page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|event| event.number);
    Ok(Json(EventPage { events: page.items, next }))
}
