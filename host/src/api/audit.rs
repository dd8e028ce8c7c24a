//! The audit: read in pages, or exported whole.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bulkhead_registry::{AuditFilter, AuditRecord, Outcome, Page};
use futures_util::{Stream, stream};
use serde::Deserialize;

use super::access::{Need, Routes};
use super::document::List;
use super::error::{ApiError, ErrorBody, INVALID_INPUT};
use super::extract::{Asked, Caller};
use super::{App, error};
use crate::auth::Scope;

pub(super) fn routes() -> Routes {
    Routes::default().get("/v1/audit", Need::AUDIT_READ, list).get("/v1/audit/export", Need::AUDIT_READ, export)
}

/// Which rows.
#[derive(Deserialize)]
pub(super) struct Filter {
    request_id: Option<String>,
    actor: Option<String>,
    action: Option<String>,
    result: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    /// Of all tenants, and of nobody: for who may see those.
    #[serde(default)]
    all_tenants: bool,
    limit: Option<u32>,
    after: Option<String>,
}

impl Filter {
    fn parse(self, caller: &Caller) -> Result<(AuditFilter, Page), ApiError> {
        let outcome = self.result.map(|text| text.parse::<Outcome>()).transpose();
        let outcome = outcome.map_err(|error| ApiError::new(INVALID_INPUT, format!("`result`: {error}")))?;
        if self.all_tenants && !caller.who.may_everywhere(Scope::AuditRead) {
            let message = format!("`all_tenants` needs the scope `{}`, and `{}` among the claim `xt`", Scope::AdminTenants, Scope::AuditRead);
            return Err(ApiError::new(error::FORBIDDEN, message));
        }
        let filter = AuditFilter {
            tenant: (!self.all_tenants).then(|| caller.tenant.clone()),
            request_id: self.request_id,
            actor: self.actor,
            action: self.action,
            outcome,
            since: self.since,
            until: self.until,
            oldest_first: false,
        };
        Ok((filter, Page { limit: self.limit.unwrap_or(100), after: self.after }))
    }
}

/// What is asked for; one who asks for all tenants' rows leaves one, before it sees them.
async fn opened(app: &App, caller: &Caller, filter: Filter, action: &str) -> Result<(AuditFilter, Page), ApiError> {
    let (filter, page) = filter.parse(caller)?;
    if filter.tenant.is_none() {
        app.access.looked(caller, action, "audit", None).await;
    }
    Ok((filter, page))
}

/// List what was done and refused, the latest first: by the caller's tenant, or to it.
#[utoipa::path(get, path = "/v1/audit", tag = "identity",
    params(("request_id" = Option<String>, Query), ("actor" = Option<String>, Query), ("action" = Option<String>, Query), ("result" = Option<String>, Query, description = "`allowed`, `denied` or `failed`"),
        ("since" = Option<i64>, Query, description = "Milliseconds since the epoch"), ("until" = Option<i64>, Query), ("all_tenants" = Option<bool>, Query), ("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, description = "Rows of the audit"), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, caller: Caller, Asked(filter): Asked<Filter>) -> Result<Json<List<AuditRecord>>, ApiError> {
    let (filter, page) = opened(&app, &caller, filter, "audit.read").await?;
    let rows = app.loader.store().audit(&filter, &page).await?;
    Ok(Json(List { items: rows.items, next: rows.next }))
}

/// Export rows as lines of JSON, the oldest first. With `all_tenants` and no other filter they are a chain that can be verified.
#[utoipa::path(get, path = "/v1/audit/export", tag = "identity", params(("all_tenants" = Option<bool>, Query), ("since" = Option<i64>, Query), ("until" = Option<i64>, Query)),
    responses((status = 200, content_type = "application/jsonl"), (status = 403, body = ErrorBody)))]
pub(super) async fn export(State(app): State<App>, caller: Caller, Asked(filter): Asked<Filter>) -> Result<Response, ApiError> {
    let (filter, page) = opened(&app, &caller, filter, "audit.export").await?;
    let filter = AuditFilter { oldest_first: true, ..filter };
    let mut response = Body::from_stream(lines(app, filter, page.after)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(response)
}

/// Page by page, as fast as they are taken.
fn lines(app: App, filter: AuditFilter, after: Option<String>) -> impl Stream<Item = Result<Bytes, String>> {
    stream::try_unfold(Some(after), move |next| {
        let (app, filter) = (std::sync::Arc::clone(&app), filter.clone());
        async move {
            let Some(after) = next else { return Ok(None) };
            let page = Page { limit: Page::MAX_LIMIT, after };
            let rows = app.loader.store().audit(&filter, &page).await.map_err(|error| error.to_string())?;
            let mut text = Vec::new();
            for row in &rows.items {
                serde_json::to_writer(&mut text, row).map_err(|error| error.to_string())?;
                text.push(b'\n');
            }
            Ok(Some((Bytes::from(text), rows.next.map(Some))))
        }
    })
}
