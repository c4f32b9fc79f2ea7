//! The OpenAPI description, generated from the routes. `/openapi.json` serves it, and `docs/openapi.json` is a copy.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Description, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::download::etag;
use super::extract::Preconditions;
use super::{Service, blobs, bundles, events, garbage, health, resolvers, status, tokens, workers};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "yoi Runtime",
        description = "Stores config bundles, creates workers from them and calls the tools of workers. Content is \
            addressed by the SHA-256 digest of its bytes. If a token serves more than one workspace, a request names \
            the workspace with `?workspace=ID`. Every error response is a problem document (RFC 9457) with a stable \
            `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(http_edge::ProblemBody)),
    tags(
        (name = "content", description = "Bundles and their blobs"),
        (name = "workers", description = "Creating, calling, stopping and removing workers"),
        (name = "observation", description = "Events of a workspace"),
        (name = "resolvers", description = "Components that resolve profiles"),
        (name = "operation", description = "Operation of the Runtime"),
    ),
    modifiers(&SecuritySchemes),
)]
struct Api;

/// Schema of a body with arbitrary bytes.
pub(super) struct Binary;

impl utoipa::PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(binary)).build().into()
    }
}

impl utoipa::ToSchema for Binary {}

/// Adds the security scheme that the routes name.
#[derive(Debug)]
pub struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, description: &mut Description) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        description.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Adds the error responses to each route of a description.
pub fn add_problem_responses(description: &mut Description) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("The request failed. `code` identifies the error, `help` describes the remedy.")
        .content("application/problem+json", problem)
        .build();
    for path in description.paths.paths.values_mut() {
        let operations =
            [&mut path.get, &mut path.put, &mut path.post, &mut path.delete].into_iter().filter_map(Option::as_mut);
        for operation in operations {
            for status in ["4XX", "5XX"] {
                operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem.clone()));
            }
        }
    }
}

/// Returns the routes with their descriptions.
pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(bundles::list))
        .routes(routes!(bundles::put, bundles::get, bundles::remove))
        .routes(routes!(bundles::users))
        .routes(routes!(bundles::findings))
        .routes(routes!(bundles::revoke))
        .routes(routes!(bundles::pin, bundles::unpin))
        .routes(routes!(blobs::put, blobs::get))
        .routes(routes!(workers::resolve))
        .routes(routes!(workers::failed_resolutions))
        .routes(routes!(workers::list))
        .routes(routes!(workers::create, workers::get, workers::stop))
        .routes(routes!(workers::remove))
        .routes(routes!(workers::spec))
        .routes(routes!(workers::call))
        .routes(routes!(workers::history))
        .routes(routes!(workers::services))
        .routes(routes!(workers::ingress))
        .routes(routes!(workers::logs))
        .routes(routes!(events::subscribe))
        .routes(routes!(resolvers::list))
        .routes(routes!(resolvers::put, resolvers::get, resolvers::remove))
        .routes(routes!(resolvers::activate))
        .routes(routes!(resolvers::rollback))
        .routes(routes!(resolvers::revoke))
        .routes(routes!(resolvers::compare, resolvers::comparison, resolvers::cancel_comparison))
        .routes(routes!(resolvers::events))
        .routes(routes!(tokens::list, tokens::issue))
        .routes(routes!(tokens::revoke))
        .routes(routes!(garbage::collect))
        .routes(routes!(status::status))
        .routes(routes!(status::facts))
        .routes(routes!(status::set_desired))
        .routes(routes!(health::runtime))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .merge(Router::new().route("/openapi.json", get(get_openapi)).into())
}

/// Returns the routes for blobs, for reading bundles and for health, with their descriptions, for another API over the content
/// of the same Runtime.
pub fn content_routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(bundles::list))
        .routes(routes!(bundles::get))
        .routes(routes!(blobs::put, blobs::get))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// Returns the OpenAPI description as JSON.
pub fn openapi_json() -> String {
    let (_, mut description) = routes().split_for_parts();
    add_problem_responses(&mut description);
    let mut text = description.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Serves the description. No token is required, because the description is the same for every Runtime.
async fn get_openapi(preconditions: Preconditions) -> Response {
    static TEXT: std::sync::LazyLock<(String, String)> = std::sync::LazyLock::new(|| {
        let text = openapi_json();
        let etag = etag(&::bundles::Digest::of(text.as_bytes()));
        (text, etag)
    });
    let (text, etag) = &*TEXT;
    let head = [(header::ETAG, etag.as_str()), (header::CONTENT_TYPE, "application/json")];
    if preconditions.is_not_modified(etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, text.as_str()).into_response()
}
