//! `PUT /v1/config-bundles/{digest}`: publication.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use backend_api::body::Publication;
use bundles::Digest;
use bundles::signature::Envelope;
use bytes::Bytes;
use runtime_api::body::{ENVELOPE, MANIFEST};
use runtime_service::ApiProblem;
use runtime_service::access::{Authorized, BundlesScope, WorkspaceQuery};
use runtime_service::extract::{PathParams, RequestBody};
use worker_runtime::content::ContentError;

use super::{BackendState, actor};
use crate::runtime_link::SignedManifest;

/// Publishes a bundle.
///
/// The body is the manifest, or the envelope that signs it. If blobs of the bundle are missing, nothing is stored and the
/// response lists them. Upload these blobs and repeat the request. A bundle that differs from the newest one only in
/// revision, time and provenance is not stored: the outcome is `unchanged`. Publication does not change which bundle is
/// desired.
#[utoipa::path(put, path = "/v1/config-bundles/{digest}", tag = "content", operation_id = "publish",
    security(("token" = [])),
    params(("digest" = Digest, Path, description = "SHA-256 of the manifest"), WorkspaceQuery),
    request_body(content(
        (Object = "application/vnd.yoi.config-bundle.v1+json"),
        (Object = "application/vnd.dsse.envelope.v1+json"),
    )),
    responses((status = 201, description = "The bundle is a new revision", body = Publication),
        (status = 200, description = "The bundle was published before, or changes nothing", body = Publication),
        (status = 202, description = "Blobs are missing; nothing was stored", body = Publication)))]
pub(super) async fn publish(
    State(state): State<BackendState>,
    authorized: Authorized<BundlesScope>,
    PathParams(digest): PathParams<Digest>,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let workspace = authorized.workspace();
    let content = state.backend.catalogue().content(workspace);
    let management = state.backend.catalogue().management();
    let limits = management.bundle_limits();
    let _incoming = content.reserve_body(limits.envelope_bytes())?;
    let signed = match body.media_type() {
        MANIFEST => {
            let manifest = body.bytes(limits.manifest_bytes).await?;
            SignedManifest { digest, manifest, envelope: None }
        }
        ENVELOPE => {
            let envelope = body.bytes(limits.envelope_bytes()).await?;
            let parsed = Envelope::parse(&envelope, limits).map_err(ContentError::from)?;
            let manifest = Bytes::copy_from_slice(parsed.payload());
            SignedManifest { digest, manifest, envelope: Some(envelope) }
        }
        _ => {
            let help = format!("send a manifest as `{MANIFEST}` or a signed manifest as `{ENVELOPE}`");
            return Err(ApiProblem::media_type("the body is neither a manifest nor an envelope", help));
        }
    };
    let publication = state.backend.publish(&actor(authorized.token()), workspace, &signed).await?;
    let status = match publication {
        Publication::Published { new: true, .. } => StatusCode::CREATED,
        Publication::Published { new: false, .. } | Publication::Unchanged { .. } => StatusCode::OK,
        Publication::Missing { .. } => StatusCode::ACCEPTED,
    };
    Ok((status, Json(publication)).into_response())
}
