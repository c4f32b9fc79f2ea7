//! `/livez`, `/readyz`, `/v1/runtime` and `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime_api::Code;
use runtime_api::body::{Readiness, ReadinessCheck, RuntimeInfo};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::access::Operator;
use super::extract::QueryParams;
use super::{ApiProblem, Service};

/// Returns `ok` while the process responds.
///
/// The stores are not checked, so that a slow disk does not cause a restart of the process.
#[utoipa::path(get, path = "/livez", tag = "operation", operation_id = "live",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadinessQuery {
    /// Returns the result of each check. The value does not matter.
    #[param(allow_reserved = false)]
    verbose: Option<String>,
}

/// Checks that the service can process requests.
///
/// It is not ready if a store does not respond or cannot be written to, and while it stops. On a full disk, for example, only
/// reads succeed. A new config that is invalid appears in the checks but does not make the service unready, because the
/// previous config stays in force.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "ready", params(ReadinessQuery),
    responses((status = 200, description = "The service is ready", content(
            (String = "text/plain"), (Readiness = "application/json"))),
        (status = 503, description = "The service is not ready", content(
            (http_edge::ProblemBody = "application/problem+json"), (Readiness = "application/json")))))]
pub(super) async fn ready(
    State(service): State<Arc<Service>>,
    QueryParams(ReadinessQuery { verbose }): QueryParams<ReadinessQuery>,
) -> Result<Response, ApiProblem> {
    let (mut checks, failed) = readiness(&service).await;
    let refused = *service.config_refused.lock().unwrap_or_else(PoisonError::into_inner);
    checks.push(ReadinessCheck { name: "config".to_owned(), outcome: word(refused) });
    match (verbose, failed) {
        (None, None) => Ok("ok\n".into_response()),
        (None, Some(problem)) => Err(problem.with_status(StatusCode::SERVICE_UNAVAILABLE)),
        (Some(_), failed) => {
            let status = if failed.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Ok((status, Json(Readiness { ready: failed.is_none(), checks })).into_response())
        }
    }
}

/// Time of the last checks, their results, and the first problem.
pub(crate) type CachedReadiness = (Instant, Vec<ReadinessCheck>, Option<ApiProblem>);

/// Time for which the result of the checks is reused. `/readyz` needs no token, so anyone could otherwise load the stores.
const READINESS_CACHE_TIME: Duration = Duration::from_millis(500);

async fn readiness(service: &Service) -> (Vec<ReadinessCheck>, Option<ApiProblem>) {
    let mut last = service.readiness.lock().await;
    if let Some((at, checks, failed)) = &*last
        && at.elapsed() < READINESS_CACHE_TIME
        && !service.edge.closing().is_cancelled()
    {
        return (checks.clone(), failed.clone());
    }
    let (checks, failed) = checks(service).await;
    *last = Some((Instant::now(), checks.clone(), failed.clone()));
    (checks, failed)
}

/// Returns the outcome of a check.
fn word(code: Option<Code>) -> String {
    code.map_or("ok", Code::as_str).to_owned()
}

/// Checks each part of the service. Returns all results and the first problem.
async fn checks(service: &Service) -> (Vec<ReadinessCheck>, Option<ApiProblem>) {
    let mut failed = None;
    let mut checks = Vec::new();
    let mut check = |name: &str, outcome: Result<(), ApiProblem>| {
        let code = outcome.as_ref().err().map(ApiProblem::code);
        checks.push(ReadinessCheck { name: name.to_owned(), outcome: word(code) });
        failed = failed.take().or(outcome.err());
    };
    let management = service.runtime.management();
    check("metadata", management.check_metadata().await.map_err(Into::into));
    check("blobs", management.check_blobs().await.map_err(Into::into));
    let stopping = ApiProblem::new(Code::Stopping, "the service is stopping", "use another instance, or retry later");
    check("service", if service.edge.closing().is_cancelled() { Err(stopping) } else { Ok(()) });
    (checks, failed)
}

/// Returns the version, the capabilities and the usage of this Runtime.
#[utoipa::path(get, path = "/v1/runtime", tag = "operation", operation_id = "runtime", security(("token" = [])),
    responses((status = 200, description = "Summary of the Runtime", body = RuntimeInfo)))]
pub(super) async fn runtime(State(service): State<Arc<Service>>, _: Operator) -> Result<Json<RuntimeInfo>, ApiProblem> {
    let management = service.runtime.management();
    let mut usage = BTreeMap::new();
    for workspace in management.tenants().await? {
        let used = management.usage(&workspace).await?;
        usage.insert(workspace, used);
    }
    Ok(Json(RuntimeInfo { runtime: management.summary().await?, capabilities: management.capabilities(), usage }))
}

/// Returns the metrics of the service in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics", security(("token" = [])),
    responses((status = 200, description = "The metrics", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(service): State<Arc<Service>>, _: Operator) -> Result<Response, ApiProblem> {
    let text = service.metrics.encode(&service.runtime).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
