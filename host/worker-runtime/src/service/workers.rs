//! `/v1/workers`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::{Asked, At, Page, Tenant};
use super::bundles::body_of;
use super::{Problem, Service};
use crate::token::Scope;
use crate::worker::{CreateWorkerRequest, WorkerId, WorkerSummary};
use crate::{ToolCall, WorkerError};

/// Most bytes of a request for a worker.
const CREATE_BYTES: usize = 64 << 10;

fn id(text: &str) -> Result<WorkerId, Problem> {
    text.parse().map_err(|_| Problem::path("a worker id"))
}

async fn json<T: DeserializeOwned>(body: Body, most: usize) -> Result<T, Problem> {
    let bytes = body_of(body, most).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // What the reader says may quote what was sent; where it stopped is enough.
        let place = format!("the body is not understood at line {}, column {}", error.line(), error.column());
        Problem::new("invalid_request", place, "see /openapi.json")
    })
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    body: Body,
) -> Result<Response, Problem> {
    let catalogue = service.runtime.catalogue(tenant.write(Scope::Workers)?);
    let request: CreateWorkerRequest = json(body, CREATE_BYTES).await?;
    let created = catalogue.create(id(&name)?, request).await?;
    let status = if created.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(created.worker)).into_response())
}

pub(super) async fn get(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<WorkerSummary>, Problem> {
    let id = id(&name)?;
    let workspace = tenant.read()?.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
    Ok(Json(service.runtime.catalogue(workspace).get(&id).await?))
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    Asked(page): Asked<Page>,
) -> Result<Json<Value>, Problem> {
    let Some(workspace) = tenant.read()? else { return Ok(Json(json!({ "workers": [] }))) };
    let after = page.after.as_deref().map(str::parse).transpose().map_err(|_| Problem::query())?;
    let workers = service.runtime.catalogue(workspace).list(after.as_ref(), page.limit()).await?;
    Ok(Json(json!({ "workers": workers })))
}

pub(super) async fn stop(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
) -> Result<Json<WorkerSummary>, Problem> {
    let catalogue = service.runtime.catalogue(tenant.write(Scope::Workers)?);
    Ok(Json(catalogue.stop(&id(&name)?).await?))
}

pub(super) async fn call(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At((name, tool)): At<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let workspace = tenant.write(Scope::Call)?;
    let interaction = service.runtime.interaction(workspace);
    let tool = tool.parse().map_err(|_| Problem::path("a tool's name"))?;
    let most = usize::try_from(service.runtime.management().limits().call_bytes).unwrap_or(usize::MAX);
    // Room for what stands around the input.
    let most = most.saturating_add(4096);
    let _incoming = service.runtime.content(workspace).incoming(most)?;
    let call: ToolCall = json(body, most).await?;
    let called = interaction.call(&id(&name)?, &tool, call).await?;
    Ok(Json(json!({ "entry": called.entry, "output": called.output })))
}

pub(super) async fn history(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    At(name): At<String>,
    Asked(page): Asked<Page>,
) -> Result<Json<Value>, Problem> {
    let id = id(&name)?;
    let workspace = tenant.read()?.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
    let after = page.after.as_deref().map_or(Ok(0), str::parse).map_err(|_| Problem::query())?;
    let entries = service.runtime.observation(workspace).history(&id, after, page.limit()).await?;
    Ok(Json(json!({ "entries": entries })))
}
