//! `/v1/audit`.

use axum::Json;
use axum::extract::State;
use backend_api::body::AuditPage;
use runtime_service::ApiProblem;
use runtime_service::access::Operator;
use runtime_service::extract::{PageQuery, QueryParams};

use super::BackendState;

/// Returns the audit log, oldest entry first.
///
/// The log has every administrative action, also refused ones. The newest 100,000 entries are kept.
#[utoipa::path(get, path = "/v1/audit", tag = "operation", operation_id = "audit", security(("token" = [])),
    params(PageQuery::<u64>),
    responses((status = 200, description = "A page of entries; `next` is absent on the last page", body = AuditPage)))]
pub(super) async fn list(
    State(state): State<BackendState>,
    _: Operator,
    QueryParams(page): QueryParams<PageQuery<u64>>,
) -> Result<Json<AuditPage>, ApiProblem> {
    let page = state.backend.audit_page(page.after.unwrap_or(0), page.limit()).await?;
    let next = page.items.last().filter(|_| page.more).map(|entry| entry.number);
    Ok(Json(AuditPage { entries: page.items, next }))
}
