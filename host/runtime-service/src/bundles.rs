//! `/v1/config-bundles`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use runtime_api::body::{BundleFindings, BundlePage, BundleReferrers, ENVELOPE, MANIFEST, MissingBlobs};
use runtime_api::bundle::BundleSummary;
use runtime_api::token::Scope;
use runtime_api::worker::WorkerId;
use worker_runtime::content::{ContentError, PutBundle};

use super::access::{Asked, At, Named, Page, Tenant};
use super::blobs::{content, digest, etag, is_meant};
use super::{Problem, Service};

/// Keeps a bundle.
///
/// The body is the manifest, by itself or in the envelope that signs it. Where blobs that it names are
/// missing, nothing is kept and they are told; put them, and then the manifest again.
#[utoipa::path(put, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "put_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the manifest"), Named),
    request_body(content(
        (Object = "application/vnd.yoi.config-bundle.v1+json"),
        (Object = "application/vnd.dsse.envelope.v1+json"),
    )),
    responses((status = 201, description = "It is kept, whole", body = BundleSummary),
        (status = 200, description = "It was kept before", body = BundleSummary),
        (status = 202, description = "Blobs are missing; nothing is kept", body = MissingBlobs)))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let content = service.runtime.content(tenant.write(Scope::Bundles)?);
    let digest = digest(&name)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let management = service.runtime.management();
    let limits = management.bundle_limits();
    let _incoming = content.reserve_body(limits.envelope_bytes())?;
    let put = match kind {
        MANIFEST => content.put_manifest(digest, body_of(body, limits.manifest_bytes).await?).await?,
        ENVELOPE => content.put_signed_bundle(digest, body_of(body, limits.envelope_bytes()).await?).await?,
        _ => {
            let help = format!("send it as `{MANIFEST}`, or in an envelope as `{ENVELOPE}`");
            return Err(Problem::media_type("the body is neither a manifest nor a signed one", help));
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

/// A whole body of at most so many bytes.
pub(super) async fn body_of(body: Body, most: usize) -> Result<bytes::Bytes, Problem> {
    to_bytes(body, most).await.map_err(|error| {
        use std::error::Error;
        let too_large = error.source().is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
        if too_large {
            Problem::new("body_too_large", format!("the body has more than {most} bytes"), "send less")
        } else {
            Problem::new("body_incomplete", "the body ended before it was whole", "send it again, whole")
        }
    })
}

/// Reads the manifest of a bundle, as it was brought.
#[utoipa::path(get, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "get_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), Named),
    responses((status = 200, description = "The manifest", body = Object,
            content_type = "application/vnd.yoi.config-bundle.v1+json"),
        (status = 304, description = "The caller has it")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BundleNotFound(digest))?;
    let bundles = service.runtime.content(workspace);
    bundles.bundle(digest).await?;
    let size = bundles.blob_size(digest).await?;
    let hold = || Ok(bundles.reserve_body(usize::try_from(size).unwrap_or(usize::MAX))?);
    content((&method, &headers), &digest, (MANIFEST, size), hold, bundles.manifest(digest)).await
}

/// Removes a bundle that nothing uses.
///
/// Its revision stays taken. Its blobs go with the next collection of garbage.
#[utoipa::path(delete, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "remove_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), Named),
    responses((status = 204, description = "It is there no more")))]
pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let content = service.runtime.content(tenant.write(Scope::Bundles)?);
    let digest = digest(&name)?;
    is_meant(&headers, &etag(&digest))?;
    content.remove_bundle(digest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says who uses a bundle.
#[utoipa::path(get, path = "/v1/config-bundles/{digest}/users", tag = "content", operation_id = "bundle_users",
    security(("token" = [])),
    params(("digest" = Digest, Path), Named),
    responses((status = 200, description = "Who uses it; nobody uses what is not here", body = BundleReferrers)))]
pub(super) async fn users(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<BundleReferrers>, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BundleNotFound(digest))?;
    let users = service.runtime.content(workspace).referrers(digest).await?;
    Ok(Json(BundleReferrers { digest, users: users.iter().map(ToString::to_string).collect() }))
}

/// Lists the rules that a stored bundle violates.
///
/// A rule that is newer than a stored bundle does not refuse it. The same bundle is refused where it is put for the
/// first time.
#[utoipa::path(get, path = "/v1/config-bundles/{digest}/findings", tag = "content", operation_id = "bundle_findings",
    security(("token" = [])),
    params(("digest" = Digest, Path), Named),
    responses((status = 200, description = "The violations; usually none", body = BundleFindings)))]
pub(super) async fn findings(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<BundleFindings>, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BundleNotFound(digest))?;
    let findings = service.runtime.content(workspace).findings(digest).await?;
    Ok(Json(BundleFindings { digest, findings }))
}

/// Declares that a bundle must not be used any more.
///
/// Its workers are stopped. It stays, so that it cannot come back. Doing it again changes nothing.
#[utoipa::path(post, path = "/v1/config-bundles/{digest}/revoke", tag = "content", operation_id = "revoke_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), Named),
    responses((status = 200, description = "It is revoked", body = BundleSummary)))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<BundleSummary>, Problem> {
    let workspace = tenant.write(Scope::Bundles)?;
    let digest = digest(&name)?;
    service.runtime.catalogue(workspace).revoke_bundle(digest).await?;
    Ok(Json(service.runtime.content(workspace).bundle(digest).await?))
}

fn pin_name(text: &str) -> Result<WorkerId, Problem> {
    text.parse().map_err(|_| Problem::path("a pin's name"))
}

/// Keeps a bundle from being removed, under a name.
#[utoipa::path(put, path = "/v1/config-bundles/{digest}/pins/{pin}", tag = "content", operation_id = "pin_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), ("pin" = WorkerId, Path), Named),
    responses((status = 204, description = "It is pinned")))]
pub(super) async fn pin(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At((name, pin)): At<(String, String)>,
) -> Result<StatusCode, Problem> {
    let content = service.runtime.content(tenant.write(Scope::Bundles)?);
    content.pin(digest(&name)?, pin_name(&pin)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a pin away. One that is not there is away.
#[utoipa::path(delete, path = "/v1/config-bundles/{digest}/pins/{pin}", tag = "content", operation_id = "unpin_bundle",
    security(("token" = [])),
    params(("digest" = Digest, Path), ("pin" = WorkerId, Path), Named),
    responses((status = 204, description = "It is not pinned under that name")))]
pub(super) async fn unpin(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At((name, pin)): At<(String, String)>,
) -> Result<StatusCode, Problem> {
    let content = service.runtime.content(tenant.write(Scope::Bundles)?);
    content.unpin(digest(&name)?, pin_name(&pin)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the bundles of a workspace.
#[utoipa::path(get, path = "/v1/config-bundles", tag = "content", operation_id = "list_bundles",
    security(("token" = [])), params(Named, Page),
    responses((status = 200, description = "A page of at most 256 KiB of bundles; `next` tells whether it is the last", body = BundlePage)))]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    Asked(page): Asked<Page>,
) -> Result<Json<BundlePage>, Problem> {
    let workspace = tenant.list()?;
    let after = page.after.as_deref().map(str::parse).transpose().map_err(|_| Problem::query())?;
    let page = service.runtime.content(workspace).bundles_page(after, page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|bundle| bundle.digest);
    Ok(Json(BundlePage { bundles: page.items, next }))
}
