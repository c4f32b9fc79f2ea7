//! `/v1/blobs/{digest}`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use content_store::blob_store::SourceError;
use futures_util::StreamExt;
use http_edge::body_holding;
use runtime_api::body::StoredBlob;
use runtime_api::token::Scope;
use worker_runtime::content::ContentError;

use super::access::{At, Named, Tenant};
use super::openapi::Binary;
use super::{Problem, Service};

pub(super) fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::path("a digest"))
}

/// What names content by its digest never changes.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether one of the tags of a header is this one.
fn names(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut tags = tags.map(str::trim);
    Some(tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag))
}

/// Whether the caller has it already.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    names(headers, header::IF_NONE_MATCH, etag).unwrap_or(false)
}

/// Refuses a change of something that is not any more what the caller takes it for.
pub(super) fn is_meant(headers: &HeaderMap, etag: &str) -> Result<(), Problem> {
    if names(headers, header::IF_MATCH, etag).unwrap_or(true) { Ok(()) } else { Err(precondition()) }
}

/// Refuses to do again what the caller wants done only where it was not (`If-None-Match: *`).
pub(super) fn is_new(headers: &HeaderMap, there: bool) -> Result<(), Problem> {
    let asked = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*");
    if asked && there { Err(precondition()) } else { Ok(()) }
}

fn precondition() -> Problem {
    Problem::new(
        "precondition_failed",
        "it is not what the request takes it for (`If-Match`, `If-None-Match`)",
        "look at it again, and ask for what is to happen now",
    )
}

/// Content that is named by its digest: whole, or not at all where the caller has it or asks for its head
/// alone. `hold` is asked for room before it is read; what it gives is held until the content is taken.
pub(super) async fn content<E: Into<Problem>, H: Send + 'static>(
    (method, headers): (&Method, &HeaderMap),
    digest: &Digest,
    (kind, size): (&str, u64),
    hold: impl FnOnce() -> Result<H, Problem>,
    read: impl Future<Output = Result<bytes::Bytes, E>>,
) -> Result<Response, Problem> {
    let head = [
        (header::ETAG, etag(digest)),
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CACHE_CONTROL, "private, immutable".to_owned()),
        // What others brought is never a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if is_known(headers, &etag(digest)) {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let length = [(header::CONTENT_LENGTH, size.to_string())];
    if method == Method::HEAD {
        return Ok((head, length).into_response());
    }
    let held = hold()?;
    let content = read.await.map_err(Into::into)?;
    Ok((head, length, body_holding(content, held)).into_response())
}

/// Keeps a blob.
///
/// Once this answers, the blob is durable and belongs to the workspace. Doing it again changes nothing.
#[utoipa::path(put, path = "/v1/blobs/{digest}", tag = "content", operation_id = "put_blob", security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the body"), Named),
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses((status = 201, description = "It is kept", body = StoredBlob),
        (status = 200, description = "It was kept before", body = StoredBlob)))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let content = service.runtime.content(tenant.write(Scope::Bundles)?);
    let digest = digest(&name)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let source = body.into_data_stream().map(|piece| piece.map_err(|_| SourceError)).boxed();
    let put = content.put_blob(digest, source, announced).await?;
    let status = if put.existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, etag(&digest))], Json(StoredBlob { digest, bytes: put.bytes })).into_response())
}

/// Reads a blob that the workspace has.
#[utoipa::path(get, path = "/v1/blobs/{digest}", tag = "content", operation_id = "get_blob", security(("token" = [])),
    params(("digest" = Digest, Path), Named),
    responses((status = 200, description = "The blob", body = Binary, content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BlobNotFound(digest))?;
    let blobs = service.runtime.content(workspace);
    // A client that asks for the head alone wants to know whether it must send the blob.
    let size = match method {
        Method::HEAD => blobs.confirm_blob(digest).await?,
        _ => blobs.blob_size(digest).await?,
    };
    let hold = || Ok(blobs.reserve_body(usize::try_from(size).unwrap_or(usize::MAX))?);
    content((&method, &headers), &digest, ("application/octet-stream", size), hold, blobs.blob(digest)).await
}
