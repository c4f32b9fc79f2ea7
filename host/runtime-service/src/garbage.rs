//! `/v1/garbage`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use runtime_api::runtime::Garbage;

use super::access::Operator;
use super::{ApiProblem, Service};

/// Removes unused blobs.
///
/// Blobs that a worker, a pin or a bundle uses, and blobs that were received a short while ago, stay.
#[utoipa::path(delete, path = "/v1/garbage", tag = "operation", operation_id = "collect_garbage",
    security(("token" = [])),
    responses((status = 200, description = "Number and size of the removed blobs", body = Garbage)))]
pub(super) async fn collect(State(service): State<Arc<Service>>, _: Operator) -> Result<Json<Garbage>, ApiProblem> {
    Ok(Json(service.runtime.management().collect_garbage().await?))
}
