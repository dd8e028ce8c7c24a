//! Models: listed, described, promoted, rolled back.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler as _;
use bulkhead_registry::{ModelFilter, ModelName, ModelRecord, ModelRef, Page, Runtime, Stage};
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::{Need, Routes};
use super::document::{ChangeDocument, List, ModelDocument, PromotionDocument};
use super::error::{ApiError, ErrorBody, INVALID_INPUT, NOT_FOUND};
use super::extract::{Asked, Caller, FromPath as _, Named, Paging, RawVersion};
use super::{App, AppState, to_its_end};

/// Bytes of the body that names a version to promote. Arbitrary.
const PROMOTE_BYTES: usize = 64 << 10;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/models", Need::MODELS_READ, list)
        .get("/v1/models/{name}", Need::MODELS_READ, get)
        .post("/v1/models/{name}/promote", Need::MODELS_WRITE, promote.layer(DefaultBodyLimit::max(PROMOTE_BYTES)))
        .post("/v1/models/{name}/rollback", Need::MODELS_WRITE, rollback)
        .get("/v1/models/{name}/history", Need::MODELS_READ, history)
}

/// Which models or versions.
#[derive(Deserialize)]
pub(super) struct Filter {
    runtime: Option<String>,
    stage: Option<String>,
    tag: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

impl Filter {
    pub(super) fn parse(self) -> Result<(ModelFilter, Page), ApiError> {
        let invalid = |message: String| ApiError::new(INVALID_INPUT, message);
        let runtime = self.runtime.map(|text| text.parse::<Runtime>()).transpose().map_err(|error| invalid(format!("`runtime`: {error}")))?;
        let stage = self.stage.map(|text| text.parse::<Stage>()).transpose().map_err(|error| invalid(format!("`stage`: {error}")))?;
        let tag = match self.tag {
            None => None,
            Some(tag) => {
                let (key, value) = tag.split_once(':').ok_or_else(|| invalid(format!("`tag`: expected `key:value`, got `{tag}`")))?;
                Some((key.to_owned(), value.to_owned()))
            }
        };
        Ok((ModelFilter { runtime, stage, tag }, Page { limit: self.limit.unwrap_or(100), after: self.after }))
    }
}

fn document(app: &AppState, caller: &Caller, record: ModelRecord) -> ModelDocument {
    let answers = record.production.clone().map(|version| ModelRef { name: record.name.clone(), version });
    let state = answers.and_then(|model| app.loader.slots().state(&caller.tenant, &model));
    ModelDocument::new(record, state.as_ref())
}

/// List models.
#[utoipa::path(get, path = "/v1/models", tag = "models",
    params(("runtime" = Option<String>, Query), ("stage" = Option<String>, Query), ("tag" = Option<String>, Query, description = "`key:value`"), ("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<ModelDocument>), (status = 400, body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, caller: Caller, Asked(filter): Asked<Filter>) -> Result<Json<List<ModelDocument>>, ApiError> {
    let (filter, page) = filter.parse()?;
    let models = app.loader.store().models(&caller.tenant, &filter, &page).await?;
    let items = models.items.into_iter().map(|record| document(&app, &caller, record)).collect();
    Ok(Json(List { items, next: models.next }))
}

/// Describe a model.
#[utoipa::path(get, path = "/v1/models/{name}", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = ModelDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, caller: Caller, Named(name): Named<ModelName>) -> Result<Json<ModelDocument>, ApiError> {
    let record = app.loader.store().model(&caller.tenant, &name).await?.ok_or_else(|| missing(&name))?;
    Ok(Json(document(&app, &caller, record)))
}

fn missing(name: &ModelName) -> ApiError {
    ApiError::new(NOT_FOUND, format!("there is no model `{name}`"))
}

/// What to promote.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Promote {
    version: String,
}

/// Make a version the one that answers.
#[utoipa::path(post, path = "/v1/models/{name}/promote", tag = "models", params(("name" = String, Path)), request_body = Promote,
    responses((status = 200, body = ChangeDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn promote(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named<ModelName>,
    body: Result<Json<Promote>, JsonRejection>,
) -> Result<Json<ChangeDocument>, ApiError> {
    let Json(wanted) = body.map_err(|error| ApiError::new(INVALID_INPUT, format!("expected `{{\"version\": \"1.0.0\"}}`: {}", error.body_text())))?;
    let model = ModelRef::from_path(RawVersion::new(name.as_str(), &wanted.version)).map_err(|message| ApiError::new(INVALID_INPUT, message))?;
    let loader = app.loader.clone();
    let promoted = to_its_end(async move { loader.promote(&caller.tenant, &model, &caller.origin()).await }).await?;
    Ok(Json(ChangeDocument {
        model: name.to_string(),
        production: promoted.to.to_string(),
        from: promoted.from.map(|version| version.to_string()),
        changed: promoted.changed,
    }))
}

/// Go back to the version that was in production before.
#[utoipa::path(post, path = "/v1/models/{name}/rollback", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = ChangeDocument), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn rollback(State(app): State<App>, caller: Caller, Named(name): Named<ModelName>) -> Result<Json<ChangeDocument>, ApiError> {
    let (loader, model) = (app.loader.clone(), name.clone());
    let (from, to) = to_its_end(async move { loader.roll_back(&caller.tenant, &model, &caller.origin()).await }).await?;
    Ok(Json(ChangeDocument { model: name.to_string(), production: to.to_string(), from: Some(from.to_string()), changed: true }))
}

/// Every promotion and rollback of a model, the latest first.
#[utoipa::path(get, path = "/v1/models/{name}/history", tag = "models",
    params(("name" = String, Path), ("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<PromotionDocument>), (status = 404, body = ErrorBody)))]
pub(super) async fn history(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named<ModelName>,
    Asked(paging): Asked<Paging>,
) -> Result<Json<List<PromotionDocument>>, ApiError> {
    if app.loader.store().model(&caller.tenant, &name).await?.is_none() {
        return Err(missing(&name));
    }
    let page = app.loader.store().history(&caller.tenant, &name, &Page::from(paging)).await?;
    Ok(Json(List { items: page.items.into_iter().map(Into::into).collect(), next: page.next }))
}
