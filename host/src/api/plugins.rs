//! Plugins: uploaded, listed, described, removed.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bulkhead_registry::{Page, PluginName, PluginRef};

use super::access::{Need, Routes};
use super::document::{List, PluginDocument};
use super::error::{ApiError, ErrorBody, NOT_FOUND};
use super::extract::{Asked, Caller, Named, Paging};
use super::meter::Meter;
use super::signatures::signatures;
use super::upload;
use super::{App, to_its_end};

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/plugins", Need::PLUGINS_READ, list)
        .get("/v1/plugins/{name}", Need::PLUGINS_READ, versions)
        .put("/v1/plugins/{name}/versions/{version}", Need::PLUGINS_WRITE, put)
        .get("/v1/plugins/{name}/versions/{version}", Need::PLUGINS_READ, get)
        .delete("/v1/plugins/{name}/versions/{version}", Need::PLUGINS_WRITE, delete)
}

/// Upload a plugin. It is checked, compiled and started once before it is accepted. `X-Bulkhead-Signature` brings signatures; the
/// same bytes again with others add those.
#[utoipa::path(put, path = "/v1/plugins/{name}/versions/{version}", tag = "plugins", request_body(content = Vec<u8>, content_type = "application/wasm"),
    params(("name" = String, Path), ("version" = String, Path, description = "A semantic version"), ("x-bulkhead-signature" = Option<String>, Header, description = "`ed25519:<id of the key>:<64 bytes as base64>`; several with commas in between")),
    responses((status = 201, body = PluginDocument), (status = 200, description = "The same bytes were there", body = PluginDocument), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Named(plugin): Named<PluginRef>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<PluginDocument>), ApiError> {
    let signatures = signatures(&headers)?;
    // Held until it is compiled and kept.
    let (meter, body) = Meter::of(&app, &caller.tenant, &headers, (body, app.http.max_plugin_bytes))?;
    let bytes = upload::whole("a plugin", &headers, body, app.http.max_plugin_bytes).await.map_err(|error| meter.said(error))?;
    let loader = app.loader.clone();
    let (record, new) = to_its_end(async move { loader.add_plugin(&caller.tenant, plugin, bytes, &signatures, &caller.origin()).await }).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(record.into())))
}

/// List all versions of all plugins.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", params(("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<PluginDocument>)))]
pub(super) async fn list(State(app): State<App>, caller: Caller, Asked(paging): Asked<Paging>) -> Result<Json<List<PluginDocument>>, ApiError> {
    let page = app.loader.store().plugins(&caller.tenant, &Page::from(paging)).await?;
    Ok(Json(List { items: page.items.into_iter().map(Into::into).collect(), next: page.next }))
}

/// List the versions of a plugin.
#[utoipa::path(get, path = "/v1/plugins/{name}", tag = "plugins", params(("name" = String, Path)),
    responses((status = 200, body = List<PluginDocument>), (status = 404, body = ErrorBody)))]
pub(super) async fn versions(State(app): State<App>, caller: Caller, Named(name): Named<PluginName>) -> Result<Json<List<PluginDocument>>, ApiError> {
    let versions = app.loader.store().plugin_versions(&caller.tenant, &name).await?;
    if versions.is_empty() {
        return Err(ApiError::new(NOT_FOUND, format!("there is no plugin `{name}`")));
    }
    Ok(Json(List { items: versions.into_iter().map(Into::into).collect(), next: None }))
}

/// Describe a version of a plugin.
#[utoipa::path(get, path = "/v1/plugins/{name}/versions/{version}", tag = "plugins", params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = PluginDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, caller: Caller, Named(plugin): Named<PluginRef>) -> Result<Json<PluginDocument>, ApiError> {
    let record = app.loader.store().plugin(&caller.tenant, &plugin).await?;
    let record = record.ok_or_else(|| ApiError::new(NOT_FOUND, format!("there is no plugin `{plugin}`")))?;
    let signatures = app.loader.store().plugin_signatures(&caller.tenant, &plugin).await?;
    let trust = app.loader.trust();
    let barred = trust.takes(&caller.tenant, &format!("plugin `{plugin}`"), &record.digest).err();
    Ok(Json(PluginDocument::from(record).with_trust(trust.signers(&caller.tenant, &signatures), barred)))
}

/// Remove a version of a plugin that no model refers to.
#[utoipa::path(delete, path = "/v1/plugins/{name}/versions/{version}", tag = "plugins", params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn delete(State(app): State<App>, caller: Caller, Named(plugin): Named<PluginRef>) -> Result<StatusCode, ApiError> {
    let loader = app.loader.clone();
    to_its_end(async move { loader.delete_plugin(&caller.tenant, &plugin, &caller.origin()).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
