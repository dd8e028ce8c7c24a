//! Versions of models: uploaded, listed, described, removed.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use bulkhead_registry::{Artifacts, Digest, Manifest, ManifestError, ModelName, ModelRef, Upload};
use serde::Deserialize;

use super::access::{Need, Routes};
use super::document::{List, VersionDocument};
use super::error::{ApiError, ErrorBody, INVALID_INPUT, NOT_FOUND};
use super::extract::{Asked, Caller, Named};
use super::form::{self, BETWEEN_PARTS, Form};
use super::models::Filter;
use super::signatures::signatures;
use super::{App, to_its_end, upload};
use crate::auth::Scope;
use crate::loader::{LoaderError, NewVersion, Signed};
use crate::predict::State as VersionState;

/// Bytes of a manifest. Arbitrary: labels of ten thousand classes fit.
const MANIFEST_BYTES: usize = 1 << 20;

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/models/{name}/versions", Need::MODELS_READ, list)
        .put("/v1/models/{name}/versions/{version}", Need::MODELS_WRITE, put)
        .get("/v1/models/{name}/versions/{version}", Need::MODELS_READ, get)
        .delete("/v1/models/{name}/versions/{version}", Need::MODELS_WRITE, delete)
}

/// Where a new version begins.
#[derive(Deserialize)]
pub(super) struct PutQuery {
    stage: Option<String>,
}

/// Upload a version of a model: a form with the parts `manifest` (TOML or JSON) and `model` (the artifact, which a
/// predictor has none of). It is loaded and warmed before it is accepted. A model's first version goes to production at once, unless `stage` is
/// `staging`. `X-Bulkhead-Signature` brings signatures; the same content again with others adds those. Grants that the version before
/// did not have need the scope `plugins:grant`.
#[utoipa::path(put, path = "/v1/models/{name}/versions/{version}", tag = "models", request_body(content = String, content_type = "multipart/form-data"),
    params(("name" = String, Path), ("version" = String, Path, description = "A semantic version"), ("stage" = Option<String>, Query, description = "`staging`"),
        ("x-bulkhead-signature" = Option<String>, Header, description = "`ed25519:<id of the key>:<64 bytes as base64>`; several with commas in between")),
    responses((status = 201, body = VersionDocument), (status = 200, description = "The same was there", body = VersionDocument), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Named(model): Named<ModelRef>,
    Asked(query): Asked<PutQuery>,
    request: Request,
) -> Result<(StatusCode, Json<VersionDocument>), ApiError> {
    let staging = match query.stage.as_deref() {
        None => false,
        Some("staging") => true,
        Some(other) => {
            return Err(ApiError::new(INVALID_INPUT, format!("`stage`: expected `staging`, got `{other}`; promote a version to have it answer")));
        }
    };
    let signatures = signatures(request.headers())?;
    let ((manifest, text), upload) = within_quota(&app, &caller, &model, request).await?;
    let new = NewVersion {
        tenant: caller.tenant.clone(),
        model: model.clone(),
        manifest,
        upload,
        signed: Signed { manifest: text, signatures },
        staging,
        may_grant: caller.who.may(Scope::PluginsGrant, &caller.tenant),
        by: caller.origin(),
    };
    let loader = app.loader.clone();
    let (record, created) = to_its_end(async move { loader.add_version(new).await }).await?;
    let state = app.loader.slots().state(&caller.tenant, &model);
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(VersionDocument::new(record, state.as_ref()))))
}

/// What a form brings: the manifest with the digest of its text, and the artifact where the manifest needs one.
pub type Brought = ((Manifest, Digest), Option<Upload>);

/// The form, of which no more is taken than the tenant may keep: what would be refused in the end does not fill the disk before.
async fn within_quota(app: &App, caller: &Caller, model: &ModelRef, request: Request) -> Result<Brought, ApiError> {
    let most = app.http.max_model_bytes;
    let Some((left, more)) = app.loader.left(&caller.tenant, model).await? else {
        return read_upload(request, app.loader.artifacts(), most).await;
    };
    // Whatever else the form holds: an artifact of the rest is too large.
    let beside = (MANIFEST_BYTES + BETWEEN_PARTS) as u64;
    if upload::length(request.headers()).is_some_and(|length| length.saturating_sub(beside) > left) {
        return Err(more.into());
    }
    let read = read_upload(request, app.loader.artifacts(), most.min(left)).await;
    read.map_err(|error| if left < most && error.is_of_artifact(left) { more.into() } else { error })
}

/// What the form of a new version brings: the manifest, and the artifact of at most so many bytes where the manifest needs one.
///
/// # Errors
/// Says what is wrong with the form or the manifest; what came of the artifact is gone then.
pub async fn read_upload(request: Request, artifacts: &Artifacts, most: u64) -> Result<Brought, ApiError> {
    let mut form = Form::of(request, "the parts `manifest` and `model`").await?;
    let mut manifest = None;
    let mut artifact = None;
    while let Some(part) = form.next_part().await? {
        match part.name() {
            Some("manifest") if manifest.is_none() => {
                let json = part.content_type().is_some_and(|content_type| content_type.starts_with("application/json"))
                    || part.file_name().is_some_and(|name| name.ends_with(".json"));
                let text = form::text(part, MANIFEST_BYTES).await?;
                manifest = Some((read_manifest(&text, json)?, Digest::of(text.as_bytes())));
            }
            Some("model") if artifact.is_none() => {
                let mut upload = artifacts.begin(most).await?;
                form::store(part, &mut upload).await?;
                artifact = Some(upload);
            }
            other => {
                let name = other.unwrap_or("without a name");
                return Err(ApiError::new(INVALID_INPUT, format!("expected the parts `manifest` and `model`, each once; got a part `{name}`")));
            }
        }
    }
    let lacks = |part: &str| ApiError::new(INVALID_INPUT, format!("the form lacks the part `{part}`: expected `manifest` and `model`"));
    let manifest = manifest.ok_or_else(|| lacks("manifest"))?;
    if artifact.is_none() && manifest.0.predictor.is_none() {
        return Err(lacks("model"));
    }
    Ok((manifest, artifact))
}

/// A manifest says what it is by its type or name; where it doesn't, one that begins with a brace is JSON.
fn read_manifest(text: &str, json: bool) -> Result<Manifest, LoaderError> {
    let read: fn(&str) -> Result<Manifest, ManifestError> =
        if json || text.trim_start().starts_with('{') { Manifest::from_json } else { Manifest::from_toml };
    Ok(read(text)?)
}

/// List the versions of a model.
#[utoipa::path(get, path = "/v1/models/{name}/versions", tag = "models",
    params(("name" = String, Path), ("runtime" = Option<String>, Query), ("stage" = Option<String>, Query), ("tag" = Option<String>, Query), ("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = List<VersionDocument>), (status = 404, body = ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named<ModelName>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<List<VersionDocument>>, ApiError> {
    let (filter, page) = filter.parse()?;
    if app.loader.store().model(&caller.tenant, &name).await?.is_none() {
        return Err(ApiError::new(NOT_FOUND, format!("there is no model `{name}`")));
    }
    let versions = app.loader.store().versions(&caller.tenant, &name, &filter, &page).await?;
    let document = |record: bulkhead_registry::VersionRecord| {
        let state = app.loader.slots().state(&caller.tenant, &record.model);
        VersionDocument::new(record, state.as_ref())
    };
    Ok(Json(List { items: versions.items.into_iter().map(document).collect(), next: versions.next }))
}

/// Describe a version of a model.
#[utoipa::path(get, path = "/v1/models/{name}/versions/{version}", tag = "models", params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = VersionDocument), (status = 404, body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, caller: Caller, Named(model): Named<ModelRef>) -> Result<Json<VersionDocument>, ApiError> {
    let state = app.loader.slots().state(&caller.tenant, &model);
    match (app.loader.store().version(&caller.tenant, &model).await?, state) {
        (Some(record), state) => {
            let signatures = app.loader.store().version_signatures(&caller.tenant, &model).await?;
            let signers = app.loader.trust().signers(&caller.tenant, &signatures);
            Ok(Json(VersionDocument::new(record, state.as_ref()).signed_by(signers)))
        }
        // The configuration lists it, and it never got as far as the registry.
        (None, Some(VersionState::Failed(why))) => Ok(Json(VersionDocument::failed(&model, why))),
        _ => Err(ApiError::new(NOT_FOUND, format!("there is no version `{}` of a model `{}`", model.version, model.name))),
    }
}

/// Remove a version that is not in production.
#[utoipa::path(delete, path = "/v1/models/{name}/versions/{version}", tag = "models", params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 204), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn delete(State(app): State<App>, caller: Caller, Named(model): Named<ModelRef>) -> Result<StatusCode, ApiError> {
    let loader = app.loader.clone();
    to_its_end(async move { loader.delete_version(&caller.tenant, &model, &caller.origin()).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
