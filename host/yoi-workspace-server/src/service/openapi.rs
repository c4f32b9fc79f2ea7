//! The OpenAPI description of the Backend, generated from the routes. `/openapi.json` serves it, and
//! `docs/backend-openapi.json` is a copy.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use runtime_service::SecuritySchemes;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BackendState, audit, bundles, desired, fleet, pull, run_to_end, sessions, tokens, workers};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "yoi Backend",
        description = "Keeps the bundles of workspaces, decides which Runtimes may have which, brings them there, and shows \
            what each Runtime really has. If a token serves more than one workspace, a request names the workspace with \
            `?workspace=ID`. Every error response is a problem document (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(http_edge::ProblemBody)),
    tags(
        (name = "content", description = "Bundles and their blobs"),
        (name = "desired state", description = "Which bundle the Runtimes of a workspace should use"),
        (name = "fleet", description = "Runtimes, and the workspaces on them"),
        (name = "operation", description = "Operation of the Backend"),
        (name = "workers", description = "Workers, their tools and histories, on the Runtimes that have them"),
    ),
    modifiers(&SecuritySchemes),
)]
struct Api;

/// Returns the routes of the Backend with their descriptions.
pub(super) fn routes() -> OpenApiRouter<BackendState> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(bundles::publish))
        .routes(routes!(desired::workspaces))
        .routes(routes!(desired::get, desired::set))
        .routes(routes!(desired::roll_back))
        .routes(routes!(desired::advance))
        .routes(routes!(desired::sync))
        .routes(routes!(fleet::list))
        .routes(routes!(fleet::get, fleet::register, fleet::remove))
        .routes(routes!(fleet::read))
        .routes(routes!(fleet::explain))
        .routes(routes!(audit::list))
        .routes(routes!(tokens::list, tokens::issue))
        .routes(routes!(tokens::revoke))
        .routes(routes!(workers::create, workers::get, workers::stop))
        .routes(routes!(workers::spec))
        .routes(routes!(workers::list))
        .routes(routes!(workers::history))
        .routes(routes!(workers::services))
        .routes(routes!(workers::events))
        .routes(routes!(workers::remove))
        .routes(routes!(workers::placements))
        .routes(routes!(pull::issue))
        .routes(routes!(pull::blob))
        .routes(routes!(sessions::issue))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .layer(from_fn(run_to_end))
        // These wait for others, and end when the client goes away.
        .routes(routes!(workers::call))
        .routes(routes!(pull::poll))
        .merge(Router::new().route("/openapi.json", get(get_openapi)).into())
}

/// Returns the OpenAPI description as JSON.
pub fn openapi_json() -> String {
    let (_, mut description) = routes().split_for_parts();
    let (_, content) = runtime_service::content_routes().split_for_parts();
    description.merge(content);
    runtime_service::add_problem_responses(&mut description);
    let mut text = description.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Serves the description. No token is required, because the description is the same for every Backend.
async fn get_openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi_json);
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
