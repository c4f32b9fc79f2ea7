//! `/v1/garbage`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use runtime_api::runtime::Garbage;

use super::access::Caller;
use super::{Problem, Service};

/// Takes away what nothing uses.
///
/// Never what a worker, a pin or a bundle uses, nor what came in a short while ago.
#[utoipa::path(delete, path = "/v1/garbage", tag = "operation", operation_id = "collect_garbage",
    security(("token" = [])),
    responses((status = 200, description = "What was taken away", body = Garbage)))]
pub(super) async fn collect(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<Garbage>, Problem> {
    caller.operator()?;
    Ok(Json(service.runtime.management().collect_garbage().await?))
}
