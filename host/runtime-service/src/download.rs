//! Responses that hold stored content: blobs, manifests and components. The digest of the content is its entity tag.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use bytes::Bytes;
use http_edge::body_holding;

use super::ApiProblem;
use super::extract::Preconditions;

/// Returns the entity tag of content. Content with the same digest never changes.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// A request for content.
#[derive(Debug)]
pub(super) struct Download {
    /// `true` if the client wants only the head of the response.
    is_head: bool,
    preconditions: Preconditions,
}

impl<S: Send + Sync> FromRequestParts<S> for Download {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let preconditions = Preconditions::from_request_parts(parts, state).await?;
        Ok(Self { is_head: parts.method == Method::HEAD, preconditions })
    }
}

impl Download {
    /// Returns `true` if the client wants only the head of the response.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Responds with the content that `read` returns, of `bytes` bytes. Responds without a body, and without calling
    /// `reserve` or `read`, if the client has the content (304) or sent `HEAD`.
    ///
    /// The guard that `reserve` returns is held until the body was sent or dropped.
    pub(super) async fn respond<E: Into<ApiProblem>, G: Send + 'static>(
        self,
        digest: &Digest,
        (media_type, bytes): (&str, u64),
        reserve: impl FnOnce() -> Result<G, ApiProblem>,
        read: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Response, ApiProblem> {
        let etag = etag(digest);
        let head = [
            (header::ETAG, etag.clone()),
            (header::CONTENT_TYPE, media_type.to_owned()),
            (header::CACHE_CONTROL, "private, immutable".to_owned()),
            // A browser must not guess that content of a client is a page.
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ];
        if self.preconditions.is_not_modified(&etag) {
            return Ok((StatusCode::NOT_MODIFIED, head).into_response());
        }
        let length = [(header::CONTENT_LENGTH, bytes.to_string())];
        if self.is_head {
            return Ok((head, length).into_response());
        }
        let guard = reserve()?;
        let content = read.await.map_err(Into::into)?;
        Ok((head, length, body_holding(content, guard)).into_response())
    }
}
