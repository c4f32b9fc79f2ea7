//! `/v1/resolvers`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use runtime_api::body::{COMPONENT, EventPage, ResolverList};
use runtime_api::resolver::ResolverSummary;
use worker_runtime::Busy;

use super::access::{Asked, At, Caller, Page};
use super::blobs::{content, digest, etag};
use super::bundles::body_of;
use super::openapi::Binary;
use super::{Problem, Service};

/// Components that go out at a time.
pub(super) const MAX_COMPONENT_DOWNLOADS: usize = 4;

/// Takes a resolver in.
///
/// It is examined and compiled before this answers, and before anything may ask for it.
#[utoipa::path(put, path = "/v1/resolvers/{digest}", tag = "resolvers", operation_id = "put_resolver",
    security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the component")),
    request_body(content = Binary, content_type = "application/wasm"),
    responses((status = 201, description = "It may be used", body = ResolverSummary),
        (status = 200, description = "It was here before", body = ResolverSummary)))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    caller: Caller,
    At(name): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.operator()?;
    let digest = digest(&name)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != COMPONENT) {
        return Err(Problem::media_type("the body is no component", format!("send it as `{COMPONENT}`")));
    }
    let management = service.runtime.management();
    let there = management.resolver(digest).await.is_ok();
    let component = body_of(body, management.component_bytes()).await?;
    management.admit_resolver(digest, component).await?;
    let status = if there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, etag(&digest))], Json(management.resolver(digest).await?)).into_response())
}

/// Reads a resolver's component.
#[utoipa::path(get, path = "/v1/resolvers/{digest}", tag = "resolvers", operation_id = "get_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "The component", body = Binary, content_type = "application/wasm"),
        (status = 304, description = "The caller has it")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    caller: Caller,
    At(name): At<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.reader()?;
    let digest = digest(&name)?;
    let management = service.runtime.management();
    let size = management.resolver(digest).await?.bytes;
    let hold =
        || service.component_downloads.clone().try_acquire_owned().map_err(|_| Busy::new("components_out").into());
    content((&method, &headers), &digest, (COMPONENT, size), hold, management.component(digest)).await
}

/// Lists the resolvers that are known here.
#[utoipa::path(get, path = "/v1/resolvers", tag = "resolvers", operation_id = "list_resolvers",
    security(("token" = [])),
    responses((status = 200, description = "All of them, those that are revoked too", body = ResolverList)))]
pub(super) async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<ResolverList>, Problem> {
    caller.reader()?;
    Ok(Json(ResolverList { resolvers: service.runtime.management().resolvers().await? }))
}

/// Declares that a resolver must not be used any more.
///
/// Workers that it resolved are stopped. It stays known, so that it cannot come back.
#[utoipa::path(post, path = "/v1/resolvers/{digest}/revoke", tag = "resolvers", operation_id = "revoke_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "It is revoked", body = ResolverSummary)))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    caller: Caller,
    At(name): At<String>,
) -> Result<Json<ResolverSummary>, Problem> {
    caller.operator()?;
    let digest = digest(&name)?;
    let management = service.runtime.management();
    management.revoke_resolver(digest).await?;
    Ok(Json(management.resolver(digest).await?))
}

/// Activates a resolver.
///
/// Requests that name no resolver use it from now on, unless the config pins one for their workspace. Requests in flight end
/// on the resolver with which they began. Activating the active resolver changes nothing.
#[utoipa::path(post, path = "/v1/resolvers/{digest}/activate", tag = "resolvers", operation_id = "activate_resolver",
    security(("token" = [])), params(("digest" = Digest, Path)),
    responses((status = 200, description = "The resolver is active", body = ResolverSummary)))]
pub(super) async fn activate(
    State(service): State<Arc<Service>>,
    caller: Caller,
    At(name): At<String>,
) -> Result<Json<ResolverSummary>, Problem> {
    caller.operator()?;
    Ok(Json(service.runtime.management().activate_resolver(digest(&name)?).await?))
}

/// Activates the resolver that was active before.
///
/// Several requests go back step by step. Resolvers that were revoked or removed since are skipped.
#[utoipa::path(post, path = "/v1/resolvers/rollback", tag = "resolvers", operation_id = "rollback_resolver",
    security(("token" = [])),
    responses((status = 200, description = "The resolver that is active now", body = ResolverSummary)))]
pub(super) async fn rollback(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<Json<ResolverSummary>, Problem> {
    caller.operator()?;
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
    caller: Caller,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    caller.operator()?;
    service.runtime.management().remove_resolver(digest(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the events of the Runtime itself: the changes of its resolvers.
#[utoipa::path(get, path = "/v1/runtime/events", tag = "operation", operation_id = "runtime_events",
    security(("token" = [])), params(Page),
    responses((status = 200, description = "A page of events, oldest first", body = EventPage)))]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Asked(page): Asked<Page>,
) -> Result<Json<EventPage>, Problem> {
    caller.operator()?;
    let after = page.after.as_deref().map_or(Ok(0), str::parse).map_err(|_| Problem::query())?;
    let page = service.runtime.management().events_page(after, page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|event| event.number);
    Ok(Json(EventPage { events: page.items, next }))
}
