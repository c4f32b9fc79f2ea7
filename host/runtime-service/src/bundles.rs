//! `/v1/config-bundles`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use runtime_api::body::{BundleFindings, BundlePage, BundleReferrers, ENVELOPE, MANIFEST, MissingBlobs};
use runtime_api::bundle::BundleSummary;
use runtime_api::worker::WorkerId;
use worker_runtime::content::{ContentError, PutBundle};

use super::access::{Authorized, BundlesScope, ReadScope, Tenant, WorkspaceQuery};
use super::download::{Download, etag};
use super::extract::{PageQuery, PathParams, PinName, Preconditions, QueryParams, RequestBody};
use super::{ApiProblem, Service};

/// Stores a bundle.
///
/// The body is the manifest, or the envelope that signs it. If blobs of the bundle are missing, nothing is stored and the
/// response lists them. Upload these blobs and repeat the request.
#[utoipa::path(put, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "put_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the manifest"), WorkspaceQuery),
    request_body(content(
        (Object = "application/vnd.yoi.config-bundle.v1+json"),
        (Object = "application/vnd.dsse.envelope.v1+json"),
    )),
    responses((status = 201, description = "The bundle was stored", body = BundleSummary),
        (status = 200, description = "The bundle was stored before", body = BundleSummary),
        (status = 202, description = "Blobs are missing; nothing was stored", body = MissingBlobs)))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    PathParams(digest): PathParams<Digest>,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let content = service.runtime.content(authorized.workspace());
    let management = service.runtime.management();
    let limits = management.bundle_limits();
    let _incoming = content.reserve_body(limits.envelope_bytes())?;
    let put = match body.media_type() {
        MANIFEST => content.put_manifest(digest, body.bytes(limits.manifest_bytes).await?).await?,
        ENVELOPE => content.put_signed_bundle(digest, body.bytes(limits.envelope_bytes()).await?).await?,
        _ => {
            let help = format!("send a manifest as `{MANIFEST}` or a signed manifest as `{ENVELOPE}`");
            return Err(ApiProblem::media_type("the body is neither a manifest nor an envelope", help));
        }
    };
    Ok(match put {
        PutBundle::Stored { known } => {
            let status = if known { StatusCode::OK } else { StatusCode::CREATED };
            (status, [(header::ETAG, etag(&digest))], Json(content.bundle(digest).await?)).into_response()
        }
        PutBundle::Missing(missing) => (StatusCode::ACCEPTED, Json(MissingBlobs { digest, missing })).into_response(),
    })
}

/// Returns the manifest of a bundle, byte for byte.
#[utoipa::path(get, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "get_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), WorkspaceQuery),
    responses((status = 200, description = "The manifest", body = Object,
            content_type = "application/vnd.yoi.config-bundle.v1+json"),
        (status = 304, description = "The client has the manifest")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(digest): PathParams<Digest>,
    download: Download,
) -> Result<Response, ApiProblem> {
    let content = service.runtime.content(tenant.readable_or(|| ContentError::BundleNotFound(digest))?);
    content.bundle(digest).await?;
    let bytes = content.blob_size(digest).await?;
    let reserve = || Ok(content.reserve_body(usize::try_from(bytes).unwrap_or(usize::MAX))?);
    download.respond(&digest, (MANIFEST, bytes), reserve, content.manifest(digest)).await
}

/// Removes an unused bundle.
///
/// Its revision stays taken. The next garbage collection removes its blobs.
#[utoipa::path(delete, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "remove_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), WorkspaceQuery),
    responses((status = 204, description = "The bundle was removed")))]
pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    PathParams(digest): PathParams<Digest>,
    preconditions: Preconditions,
) -> Result<StatusCode, ApiProblem> {
    preconditions.check_current(&etag(&digest))?;
    service.runtime.content(authorized.workspace()).remove_bundle(digest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the users of a bundle (workers, pins) or a blob (bundles, workers), at most 100.
#[utoipa::path(get, path = "/v1/config-bundles/{digest}/users", tag = "content", operation_id = "bundle_users",
    security(("token" = [])),
    params(("digest" = Digest, Path), WorkspaceQuery),
    responses((status = 200, description = "The users", body = BundleReferrers)))]
pub(super) async fn users(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(digest): PathParams<Digest>,
) -> Result<Json<BundleReferrers>, ApiProblem> {
    let workspace = tenant.readable_or(|| ContentError::BundleNotFound(digest))?;
    let users = service.runtime.content(workspace).referrers(digest).await?;
    Ok(Json(BundleReferrers { digest, users: users.iter().map(ToString::to_string).collect() }))
}

/// Lists the rules that a stored bundle violates.
///
/// A stored bundle stays valid when a new rule forbids its content. An upload of the same bundle to a Runtime that does not
/// have it is refused.
#[utoipa::path(get, path = "/v1/config-bundles/{digest}/findings", tag = "content", operation_id = "bundle_findings",
    security(("token" = [])),
    params(("digest" = Digest, Path), WorkspaceQuery),
    responses((status = 200, description = "The violations; usually none", body = BundleFindings)))]
pub(super) async fn findings(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(digest): PathParams<Digest>,
) -> Result<Json<BundleFindings>, ApiProblem> {
    let workspace = tenant.readable_or(|| ContentError::BundleNotFound(digest))?;
    let findings = service.runtime.content(workspace).findings(digest).await?;
    Ok(Json(BundleFindings { digest, findings }))
}

/// Revokes a bundle and stops its workers.
///
/// A revoked bundle cannot be used and stays stored, so that it cannot be uploaded again. The operation is idempotent.
#[utoipa::path(post, path = "/v1/config-bundles/{digest}/revoke", tag = "content", operation_id = "revoke_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), WorkspaceQuery),
    responses((status = 200, description = "The bundle is revoked", body = BundleSummary)))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    PathParams(digest): PathParams<Digest>,
) -> Result<Json<BundleSummary>, ApiProblem> {
    service.runtime.catalogue(authorized.workspace()).revoke_bundle(digest).await?;
    Ok(Json(service.runtime.content(authorized.workspace()).bundle(digest).await?))
}

/// Pins a bundle under a name, so that it cannot be removed.
#[utoipa::path(put, path = "/v1/config-bundles/{digest}/pins/{pin}", tag = "content", operation_id = "pin_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), ("pin" = WorkerId, Path), WorkspaceQuery),
    responses((status = 204, description = "The bundle is pinned")))]
pub(super) async fn pin(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    PathParams((digest, PinName(pin))): PathParams<(Digest, PinName)>,
) -> Result<StatusCode, ApiProblem> {
    service.runtime.content(authorized.workspace()).pin(digest, pin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a pin. The operation is idempotent.
#[utoipa::path(delete, path = "/v1/config-bundles/{digest}/pins/{pin}", tag = "content", operation_id = "unpin_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), ("pin" = WorkerId, Path), WorkspaceQuery),
    responses((status = 204, description = "The bundle has no pin with this name")))]
pub(super) async fn unpin(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    PathParams((digest, PinName(pin))): PathParams<(Digest, PinName)>,
) -> Result<StatusCode, ApiProblem> {
    service.runtime.content(authorized.workspace()).unpin(digest, pin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the bundles of a workspace.
#[utoipa::path(get, path = "/v1/config-bundles", tag = "content", operation_id = "list_bundles",
    security(("token" = [])), params(WorkspaceQuery, PageQuery::<Digest>),
    responses((status = 200, body = BundlePage,
        description = "A page of at most 256 KiB of bundles; `next` is absent on the last page")))]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    authorized: Authorized<ReadScope>,
    QueryParams(page): QueryParams<PageQuery<Digest>>,
) -> Result<Json<BundlePage>, ApiProblem> {
    let page = service.runtime.content(authorized.workspace()).bundles_page(page.after, page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|bundle| bundle.digest);
    Ok(Json(BundlePage { bundles: page.items, next }))
}
