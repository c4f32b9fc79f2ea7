//! Extractors that all routes share: path parameters, query parameters, preconditions and bodies.
//!
//! Each extractor returns typed values or a [`ApiProblem`]. A [`RequestBody`] is not read before a handler asks for its content,
//! so an unauthorized request never makes the service buffer a body. See `access` for tokens and workspaces.

use std::convert::Infallible;
use std::str::FromStr;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use bundles::{Digest, IngressName, RuntimeName, ToolName};
use bytes::Bytes;
use content_store::blob_store::SourceError;
use futures_util::{Stream, StreamExt};
use runtime_api::Code;
use runtime_api::ingress::EventId;
use runtime_api::token::TokenId;
use runtime_api::worker::WorkerId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, PartialSchema};

use super::ApiProblem;

/// Extracts the parameters of the path, in the order in which the route names them.
#[derive(Debug)]
pub struct PathParams<T>(pub T);

/// A value that one segment of a path holds.
pub trait PathSegment: FromStr {
    /// Description of a valid segment, for the error.
    const EXPECTED: &'static str;
}

impl PathSegment for Digest {
    const EXPECTED: &'static str = "a digest";
}

impl PathSegment for WorkerId {
    const EXPECTED: &'static str = "a worker id";
}

impl PathSegment for ToolName {
    const EXPECTED: &'static str = "a tool name";
}

impl PathSegment for RuntimeName {
    const EXPECTED: &'static str = "a name of a Runtime";
}

impl PathSegment for IngressName {
    const EXPECTED: &'static str = "an ingress name";
}

impl PathSegment for TokenId {
    const EXPECTED: &'static str = "a token id";
}

/// Name of a pin. It has the syntax of a worker id.
#[derive(Debug)]
pub struct PinName(pub WorkerId);

impl FromStr for PinName {
    type Err = <WorkerId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl PathSegment for PinName {
    const EXPECTED: &'static str = "a pin name";
}

/// The parameters of one route.
pub trait FromSegments: Sized {
    /// Parses the segments of a path that are parameters.
    fn from_segments(segments: &[String]) -> Result<Self, ApiProblem>;
}

impl<T: PathSegment> FromSegments for T {
    fn from_segments(segments: &[String]) -> Result<Self, ApiProblem> {
        segment(segments, 0)
    }
}

impl<A: PathSegment, B: PathSegment> FromSegments for (A, B) {
    fn from_segments(segments: &[String]) -> Result<Self, ApiProblem> {
        Ok((segment(segments, 0)?, segment(segments, 1)?))
    }
}

fn segment<T: PathSegment>(segments: &[String], index: usize) -> Result<T, ApiProblem> {
    let parsed = segments.get(index).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| ApiProblem::path(T::EXPECTED))
}

impl<T: FromSegments, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        // Fails for a segment that is not UTF-8 after percent-decoding.
        let segments = Path::<Vec<String>>::from_request_parts(parts, state).await;
        let Path(segments) = segments.map_err(|_| ApiProblem::path("UTF-8 text"))?;
        T::from_segments(&segments).map(Self)
    }
}

/// Extracts the query string.
#[derive(Debug)]
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let Query(params) = Query::from_request_parts(parts, state).await.map_err(|_| ApiProblem::query())?;
        Ok(Self(params))
    }
}

/// Query parameters of a paged list whose items have the key `K`.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery<K: PartialSchema> {
    /// Last item of the previous page. The page begins after it.
    #[param(value_type = Option<String>)]
    pub after: Option<K>,
    /// Maximum number of items. Default: 100. Values above 1000 count as 1000.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

/// Items of a page if the request sets no `limit`.
const DEFAULT_PAGE_ITEMS: usize = 100;

/// Maximum number of items of a page.
const MAX_PAGE_ITEMS: usize = 1000;

impl<K: PartialSchema> PageQuery<K> {
    /// Returns the maximum number of items of the page: 1 to 1000.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE_ITEMS).clamp(1, MAX_PAGE_ITEMS)
    }
}

/// Extracts the headers `If-Match` and `If-None-Match`. Weak and strong entity tags are compared as if they were strong.
#[derive(Debug)]
pub struct Preconditions(HeaderMap);

impl<S: Send + Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut headers = HeaderMap::new();
        for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Ok(Self(headers))
    }
}

impl Preconditions {
    /// Returns `true` if `If-None-Match` names `etag`: the client has the current version.
    pub fn is_not_modified(&self, etag: &str) -> bool {
        self.matches(header::IF_NONE_MATCH, etag).unwrap_or(false)
    }

    /// Returns `true` if the request applies only to one version (`If-Match`).
    pub fn has_if_match(&self) -> bool {
        self.0.contains_key(header::IF_MATCH)
    }

    /// Returns `precondition_failed` if the request has `If-Match` and none of its tags is `etag`.
    pub fn check_current(&self, etag: &str) -> Result<(), ApiProblem> {
        if self.matches(header::IF_MATCH, etag).unwrap_or(true) { Ok(()) } else { Err(precondition_failed()) }
    }

    /// Returns `precondition_failed` if the request has `If-None-Match: *` and the resource existed before (`created` is
    /// `false`).
    pub fn check_created(&self, created: bool) -> Result<(), ApiProblem> {
        let demanded = self.0.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*");
        if demanded && !created { Err(precondition_failed()) } else { Ok(()) }
    }

    /// Compares the tags of a header with `etag`. Returns `None` if the header is absent.
    fn matches(&self, name: HeaderName, etag: &str) -> Option<bool> {
        let mut values = self.0.get_all(name).iter().peekable();
        values.peek()?;
        let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut tags = tags.map(str::trim);
        Some(tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag))
    }
}

fn precondition_failed() -> ApiProblem {
    ApiProblem::new(
        Code::PreconditionFailed,
        "the resource does not match the precondition of the request (`If-Match`, `If-None-Match`)",
        "read the resource again and repeat the request for its current version",
    )
}

/// Extracts the header `Idempotency-Key`: the id of an event.
#[derive(Debug)]
pub struct IdempotencyKey(pub EventId);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let id = match (values.next(), values.next()) {
            (Some(id), None) => id.to_str().ok().and_then(|id| id.parse().ok()),
            _ => None,
        };
        id.map(Self).ok_or_else(|| {
            ApiProblem::new(
                Code::InvalidRequest,
                "header `Idempotency-Key` must have one value of 1–128 visible ASCII characters",
                "send a value that identifies the event, and repeat it when you send the event again",
            )
        })
    }
}

/// Extracts the body of a request without reading it.
#[derive(Debug)]
pub struct RequestBody {
    body: Body,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequest<S> for RequestBody {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let (parts, body) = request.into_parts();
        Ok(Self { body, headers: parts.headers })
    }
}

impl RequestBody {
    /// Returns the media type, or an empty string if the request names none.
    pub fn media_type(&self) -> &str {
        self.header(header::CONTENT_TYPE).unwrap_or_default()
    }

    /// Returns the size in bytes that the request announces.
    pub fn announced_bytes(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.parse().ok()
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body. Errors: `body_too_large`, `body_incomplete`.
    pub async fn bytes(self, max_bytes: usize) -> Result<Bytes, ApiProblem> {
        to_bytes(self.body, max_bytes).await.map_err(|error| {
            use std::error::Error;
            let too_large = error.source().is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            if too_large {
                ApiProblem::new(
                    Code::BodyTooLarge,
                    format!("the body has more than {max_bytes} bytes"),
                    "send a smaller body",
                )
            } else {
                ApiProblem::new(Code::BodyIncomplete, "the body ended before it was complete", "send the request again")
            }
        })
    }

    /// Reads the body and parses it as JSON. Errors: those of [`bytes`](Self::bytes), `invalid_request`.
    pub async fn json<T: DeserializeOwned>(self, max_bytes: usize) -> Result<T, ApiProblem> {
        let bytes = self.bytes(max_bytes).await?;
        // Every body is described as an object. The parser would also read an array as one.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            let detail = "invalid body: expected an object, found an array";
            return Err(ApiProblem::new(Code::InvalidRequest, detail, "see /openapi.json"));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let reason = bundles::canonical::reason(&bytes, &error);
            let detail = format!("invalid body: line {line}, column {column}: {reason}");
            ApiProblem::new(Code::InvalidRequest, detail, "see /openapi.json")
        })
    }

    /// Returns the body as a stream of pieces. The receiver must limit the size.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, SourceError>> + Send + 'static {
        self.body.into_data_stream().map(|piece| piece.map_err(|_| SourceError))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preconditions(fields: &[(HeaderName, &str)]) -> Preconditions {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().expect("a value"));
        }
        Preconditions(headers)
    }

    #[test]
    fn path_parameters_are_parsed_into_their_types() {
        let segments = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (worker, tool) = <(WorkerId, ToolName)>::from_segments(&segments(&["w-1", "fs.read"])).expect("parameters");
        assert_eq!((worker.as_str(), tool.to_string().as_str()), ("w-1", "fs.read"));
        for (texts, expected) in [(["/", "fs.read"], "a worker id"), (["w-1", "/"], "a tool name")] {
            let refused = <(WorkerId, ToolName)>::from_segments(&segments(&texts)).expect_err("an error");
            assert_eq!(refused, ApiProblem::path(expected));
        }
        assert_eq!(Digest::from_segments(&segments(&["sha256:0"])), Err(ApiProblem::path("a digest")));
        assert_eq!(PinName::from_segments(&[]).map(|_| ()), Err(ApiProblem::path("a pin name")));
    }

    #[test]
    fn preconditions_compare_every_tag_of_every_header() {
        let none = preconditions(&[]);
        assert!(!none.is_not_modified("\"a\"") && !none.has_if_match());
        assert!(none.check_current("\"a\"").is_ok() && none.check_created(false).is_ok());
        let two = preconditions(&[(header::IF_NONE_MATCH, "\"x\", W/\"a\""), (header::IF_NONE_MATCH, "\"b\"")]);
        assert!(two.is_not_modified("\"a\"") && two.is_not_modified("\"b\"") && !two.is_not_modified("\"c\""));
        let matching = preconditions(&[(header::IF_MATCH, "\"a\"")]);
        assert!(matching.check_current("\"a\"").is_ok() && matching.check_current("\"b\"").is_err());
        let new = preconditions(&[(header::IF_NONE_MATCH, "*")]);
        assert!(new.check_created(true).is_ok() && new.check_created(false).is_err());
    }
}
