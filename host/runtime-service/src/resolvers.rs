//! `/v1/resolvers`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use runtime_api::body::{COMPONENT, ResolverList};
use runtime_api::resolver::ResolverSummary;
use worker_runtime::Busy;

use super::access::{At, Caller};
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
