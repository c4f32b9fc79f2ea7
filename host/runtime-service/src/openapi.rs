//! The description of the API, taken from the routes themselves.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Description, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::blobs::is_known;
use super::{Service, blobs, bundles, events, health, resolvers, tokens, upkeep, workers};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "yoi Runtime",
        description = "Takes bundles in, keeps them, makes workers of them. Content is named by the SHA-256 of its \
            exact bytes. A request names the workspace that it is about with `?workspace=ID`, where its token serves \
            more than one. Every failure is a problem (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(http_edge::ProblemBody)),
    tags(
        (name = "content", description = "Bundles and the blobs that they name"),
        (name = "workers", description = "Making, calling, stopping and removing workers"),
        (name = "observation", description = "What happens, as it happens"),
        (name = "resolvers", description = "What computes what a profile means"),
        (name = "operation", description = "For who runs the Runtime"),
    ),
    modifiers(&Everywhere),
)]
struct Api;

/// A body that is content, whatever it is.
pub(super) struct Binary;

impl utoipa::PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(binary)).build().into()
    }
}

impl utoipa::ToSchema for Binary {}

/// What is true of every route.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, description: &mut Description) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        description.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Every route may answer with a problem.
fn with_problems(description: &mut Description) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("It came to nothing: `code` says why, `help` what to do.")
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

/// The routes, with what is said of them.
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
        .routes(routes!(workers::list))
        .routes(routes!(workers::create, workers::get, workers::stop))
        .routes(routes!(workers::remove))
        .routes(routes!(workers::spec))
        .routes(routes!(workers::call))
        .routes(routes!(workers::history))
        .routes(routes!(events::subscribe))
        .routes(routes!(resolvers::list))
        .routes(routes!(resolvers::put, resolvers::get, resolvers::remove))
        .routes(routes!(resolvers::activate))
        .routes(routes!(resolvers::rollback))
        .routes(routes!(resolvers::revoke))
        .routes(routes!(resolvers::events))
        .routes(routes!(tokens::list, tokens::issue))
        .routes(routes!(tokens::revoke))
        .routes(routes!(upkeep::collect))
        .routes(routes!(health::runtime))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .merge(Router::new().route("/openapi.json", get(own)).into())
}

/// The description, as JSON.
pub fn openapi_json() -> String {
    let (_, mut description) = routes().split_for_parts();
    with_problems(&mut description);
    let mut text = description.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Anybody may read it: it says nothing about this Runtime.
async fn own(headers: HeaderMap) -> Response {
    static TEXT: std::sync::LazyLock<(String, String)> = std::sync::LazyLock::new(|| {
        let text = openapi_json();
        let etag = blobs::etag(&::bundles::Digest::of(text.as_bytes()));
        (text, etag)
    });
    let (text, etag) = &*TEXT;
    let head = [(header::ETAG, etag.as_str()), (header::CONTENT_TYPE, "application/json")];
    if is_known(&headers, etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, text.as_str()).into_response()
}
