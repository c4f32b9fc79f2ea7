//! `/v1/config-bundles`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::access::{Asked, At, Page, Tenant};
use super::blobs::{digest, etag, is_known};
use super::{Problem, Service};
use crate::content::{ContentError, PutBundle};
use crate::token::Scope;

/// A manifest by itself.
pub(super) const MANIFEST: &str = "application/vnd.yoi.config-bundle.v1+json";
/// A manifest inside the envelope that signs it.
pub(super) const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

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
    let _incoming = content.incoming(limits.envelope_bytes())?;
    let put = match kind {
        MANIFEST => content.put_bundle(digest, body_of(body, limits.manifest_bytes).await?).await?,
        ENVELOPE => content.put_signed_bundle(digest, body_of(body, limits.envelope_bytes()).await?).await?,
        _ => {
            return Err(Problem::new(
                "unsupported_media_type",
                "the body is neither a manifest nor a signed one",
                format!("send it as `{MANIFEST}`, or in an envelope as `{ENVELOPE}`"),
            ));
        }
    };
    Ok(match put {
        PutBundle::Stored { known } => {
            let status = if known { StatusCode::OK } else { StatusCode::CREATED };
            (status, [(header::ETAG, etag(&digest))], Json(content.bundle(digest).await?)).into_response()
        }
        PutBundle::Missing(missing) => {
            (StatusCode::ACCEPTED, Json(json!({ "digest": digest, "missing": missing }))).into_response()
        }
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

pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BundleNotFound(digest))?;
    let content = service.runtime.content(workspace);
    content.bundle(digest).await?;
    let head = [(header::ETAG, etag(&digest)), (header::CONTENT_TYPE, MANIFEST.to_owned())];
    if is_known(&headers, &etag(&digest)) {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    Ok((head, content.manifest(digest).await?).into_response())
}

pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    let content = service.runtime.content(tenant.write(Scope::Bundles)?);
    content.remove_bundle(digest(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn users(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<Value>, Problem> {
    let digest = digest(&name)?;
    let workspace = tenant.read()?.ok_or(ContentError::BundleNotFound(digest))?;
    Ok(Json(json!({ "digest": digest, "users": service.runtime.content(workspace).users(digest).await? })))
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    Asked(page): Asked<Page>,
) -> Result<Json<Value>, Problem> {
    let Some(workspace) = tenant.read()? else { return Ok(Json(json!({ "bundles": [] }))) };
    let after = page.after.as_deref().map(str::parse).transpose().map_err(|_| Problem::query())?;
    let bundles = service.runtime.content(workspace).bundles(after, page.limit()).await?;
    Ok(Json(json!({ "bundles": bundles })))
}
