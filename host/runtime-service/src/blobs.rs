//! `/v1/blobs/{digest}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use futures_util::StreamExt;
use runtime_api::body::StoredBlob;
use worker_runtime::content::ContentError;

use super::access::{Authorized, BundlesScope, Tenant, WorkspaceQuery};
use super::download::{Download, etag};
use super::extract::{PathParams, RequestBody};
use super::openapi::Binary;
use super::{ApiProblem, Service};

/// Stores a blob.
///
/// When the response arrives, the blob is durable and belongs to the workspace. The operation is idempotent.
#[utoipa::path(put, path = "/v1/blobs/{digest}", tag = "content", operation_id = "put_blob", security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the body"), WorkspaceQuery),
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses((status = 201, description = "The blob was stored", body = StoredBlob),
        (status = 200, description = "The blob was stored before", body = StoredBlob)))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    authorized: Authorized<BundlesScope>,
    PathParams(digest): PathParams<Digest>,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let announced = body.announced_bytes();
    let put =
        service.runtime.content(authorized.workspace()).put_blob(digest, body.stream().boxed(), announced).await?;
    let status = if put.existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, etag(&digest))], Json(StoredBlob { digest, bytes: put.bytes })).into_response())
}

/// Returns a blob of the workspace.
#[utoipa::path(get, path = "/v1/blobs/{digest}", tag = "content", operation_id = "get_blob", security(("token" = [])),
    params(("digest" = Digest, Path), WorkspaceQuery),
    responses((status = 200, description = "The blob", body = Binary, content_type = "application/octet-stream"),
        (status = 304, description = "The client has the blob")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    PathParams(digest): PathParams<Digest>,
    download: Download,
) -> Result<Response, ApiProblem> {
    let content = service.runtime.content(tenant.readable_or(|| ContentError::BlobNotFound(digest))?);
    // A client that wants only the head wants to know whether it must upload the blob.
    let bytes = match download.is_head() {
        true => content.confirm_blob(digest).await?,
        false => content.blob_size(digest).await?,
    };
    let reserve = || Ok(content.reserve_body(usize::try_from(bytes).unwrap_or(usize::MAX))?);
    download.respond(&digest, ("application/octet-stream", bytes), reserve, content.blob(digest)).await
}
