//! Whether the service lives, whether it can do its work, and what it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::access::Caller;
use super::{Problem, Service};

/// The process answers. Asks nothing of the stores, so that a slow disk does not get it restarted.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The stores answer.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    service.runtime.management().summary().await?;
    Ok("ok\n")
}

/// What this Runtime is, for its operator.
pub(super) async fn runtime(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.operator()?;
    let management = service.runtime.management();
    Ok(Json(json!({ "runtime": management.summary().await?, "capabilities": management.capabilities() })))
}
