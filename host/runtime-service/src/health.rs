//! Whether the service lives, whether it can do its work, and what it is.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime_api::body::{Readiness, ReadinessCheck, RuntimeInfo};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::access::{Asked, Caller};
use super::{Problem, Service};

/// Says that the process answers.
///
/// Asks nothing of the stores, so that a slow disk does not get it restarted.
#[utoipa::path(get, path = "/livez", tag = "operation", operation_id = "live",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Verbosely {
    /// Tells of each part by itself.
    #[param(allow_reserved = false)]
    verbose: Option<String>,
}

/// Says whether the service can do its work.
///
/// It cannot while its stores do not answer or cannot be written to, as on a full disk, where reads go on. It will
/// not any more once it is being stopped. A config that is refused is told and changes nothing: the one before is in
/// force.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "ready", params(Verbosely),
    responses((status = 200, description = "It can", content(
            (String = "text/plain"), (Readiness = "application/json"))),
        (status = 503, description = "It cannot", content(
            (http_edge::ProblemBody = "application/problem+json"), (Readiness = "application/json")))))]
pub(super) async fn ready(
    State(service): State<Arc<Service>>,
    Asked(Verbosely { verbose }): Asked<Verbosely>,
) -> Result<Response, Problem> {
    let (mut checks, failed) = looked(&service).await;
    let refused = *service.config_refused.lock().unwrap_or_else(PoisonError::into_inner);
    checks.push(ReadinessCheck { name: "config".to_owned(), outcome: refused.unwrap_or("ok").to_owned() });
    match (verbose, failed) {
        (None, None) => Ok("ok\n".into_response()),
        (None, Some(problem)) => Err(problem.with_status(StatusCode::SERVICE_UNAVAILABLE)),
        (Some(_), failed) => {
            let status = if failed.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Ok((status, Json(Readiness { ready: failed.is_none(), checks })).into_response())
        }
    }
}

/// What was found out, and when.
pub(crate) type CachedReadiness = (Instant, Vec<ReadinessCheck>, Option<Problem>);

/// How long it is remembered: everybody may ask, and the stores have other things to do.
const REMEMBERED: Duration = Duration::from_millis(500);

async fn looked(service: &Service) -> (Vec<ReadinessCheck>, Option<Problem>) {
    let mut last = service.readiness.lock().await;
    if let Some((at, checks, failed)) = &*last
        && at.elapsed() < REMEMBERED
        && !service.edge.closing().is_cancelled()
    {
        return (checks.clone(), failed.clone());
    }
    let (checks, failed) = checks(service).await;
    *last = Some((Instant::now(), checks.clone(), failed.clone()));
    (checks, failed)
}

/// The parts, and the first problem that keeps the service from working.
async fn checks(service: &Service) -> (Vec<ReadinessCheck>, Option<Problem>) {
    let mut failed = None;
    let mut checks = Vec::new();
    let mut check = |name: &str, outcome: Result<(), Problem>| {
        let word = outcome.as_ref().err().map_or("ok", Problem::code).to_owned();
        checks.push(ReadinessCheck { name: name.to_owned(), outcome: word });
        failed = failed.take().or(outcome.err());
    };
    let management = service.runtime.management();
    check("metadata", management.check_metadata().await.map_err(Into::into));
    check("blobs", management.check_blobs().await.map_err(Into::into));
    let stopping = Problem::new("stopping", "the service is being stopped", "ask another, or this one later");
    check("service", if service.edge.closing().is_cancelled() { Err(stopping) } else { Ok(()) });
    (checks, failed)
}

/// Says what this Runtime is.
#[utoipa::path(get, path = "/v1/runtime", tag = "operation", operation_id = "runtime", security(("token" = [])),
    responses((status = 200, description = "What it is", body = RuntimeInfo)))]
pub(super) async fn runtime(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<RuntimeInfo>, Problem> {
    caller.operator()?;
    let management = service.runtime.management();
    let mut usage = BTreeMap::new();
    for workspace in management.tenants().await? {
        let used = management.usage(&workspace).await?;
        usage.insert(workspace, used);
    }
    Ok(Json(RuntimeInfo { runtime: management.summary().await?, capabilities: management.capabilities(), usage }))
}

/// The numbers of this service, as OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics", security(("token" = [])),
    responses((status = 200, description = "The numbers", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Problem> {
    caller.operator()?;
    let text = service.metrics.encode(&service.runtime).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
