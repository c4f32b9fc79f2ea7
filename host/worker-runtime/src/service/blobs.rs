//! `/v1/blobs/{digest}`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use futures_util::StreamExt;
use serde_json::json;

use super::access::{At, Tenant};
use super::{Problem, Service};
use crate::blob_store::SourceError;
use crate::content::ContentError;
use crate::token::Scope;

pub(super) fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::path("a digest"))
}

/// What names content by its digest never changes.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the caller has it already.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let said = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|value| {
        let value = value.trim();
        value == "*" || value.strip_prefix("W/").unwrap_or(value) == etag
    })
}

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
    let status = if put.known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, etag(&digest))], Json(json!({ "digest": digest, "bytes": put.bytes }))).into_response())
}

pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BlobNotFound(digest))?;
    let content = service.runtime.content(workspace);
    content.blob_size(digest).await?;
    let head = [
        (header::ETAG, etag(&digest)),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CACHE_CONTROL, "private, immutable".to_owned()),
        // What others brought is never a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if is_known(&headers, &etag(&digest)) {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    Ok((head, content.blob(digest).await?).into_response())
}
