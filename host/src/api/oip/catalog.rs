//! What there is: versions found, listed, loaded and unloaded.

use std::sync::Arc;

use axum::http::HeaderMap;
use bulkhead_registry::{ModelName, TenantId};

use super::version;
use crate::api::call::{self, Target};
use crate::api::error::{ApiError, DEADLINE_EXCEEDED, INVALID_INPUT, NOT_FOUND};
use crate::api::extract::{Caller, Context};
use crate::api::{App, to_its_end};
use crate::predict::{Missing, Slot, State};

/// The version that answers: the one named, or the one in production.
pub(super) fn pick(app: &App, tenant: &TenantId, name: &str, wanted: Option<&str>) -> Result<Arc<Slot>, Missing> {
    let wanted = wanted.map(version);
    app.loader.slots().pick(tenant.as_str(), name, wanted.as_deref()).map(|(slot, _)| slot)
}

/// As [`pick`], for who is about to ask it: an archived one is loaded first, in a place among the requests under way and
/// within the time of one.
///
/// # Errors
/// Where there is none, or it can't be loaded.
pub(super) async fn find(app: &App, tenant: &TenantId, context: &Context, name: &str, wanted: Option<&str>) -> Result<Arc<Slot>, ApiError> {
    match pick(app, tenant, name, wanted) {
        Err(Missing::Unloaded(..)) => {}
        found => return Ok(found?),
    }
    let _place = call::place(app, tenant)?;
    let deadline = call::deadline(app, context, &HeaderMap::new())?;
    let wanted = wanted.map(version);
    let picked = call::pick(app, Target { tenant, model: name, version: wanted.as_deref() });
    let too_late = |_| ApiError::new(DEADLINE_EXCEEDED, "the version is not in memory in time");
    let (slot, _) = tokio::time::timeout_at(deadline.moment().into(), picked).await.map_err(too_late)??;
    Ok(slot)
}

/// Whether a version answers.
///
/// # Errors
/// Where there is no such model or version.
pub(super) fn is_ready(app: &App, tenant: &TenantId, name: &str, wanted: Option<&str>) -> Result<bool, ApiError> {
    match pick(app, tenant, name, wanted) {
        Ok(_) => Ok(true),
        // What is not there yet may still be on its way.
        Err(Missing::Model(_) | Missing::Version(..)) if !app.life.has_started() => Ok(false),
        Err(missing @ (Missing::Model(_) | Missing::Version(..))) => Err(missing.into()),
        Err(_) => Ok(false),
    }
}

/// A version in the index.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) version: String,
    /// `READY` or `UNAVAILABLE`.
    pub(super) state: &'static str,
    pub(super) reason: String,
}

/// Every version of a tenant, or only those that are ready.
pub(super) fn index(app: &App, tenant: &TenantId, only_ready: bool) -> Vec<Entry> {
    let mut all = app.loader.slots().all();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    let own = all.into_iter().filter(|(owner, ..)| owner == tenant);
    let entries = own.map(|(_, model, state)| {
        let (state, reason) = match state {
            State::Ready(_) => ("READY", String::new()),
            State::Unloaded => ("UNAVAILABLE", "archived: loaded when it is asked for by its version".to_owned()),
            State::Stopped => ("UNAVAILABLE", "unloaded".to_owned()),
            State::Failed(why) => ("UNAVAILABLE", why),
            State::Barred(why) => ("UNAVAILABLE", why.to_string()),
        };
        Entry { name: model.name.to_string(), version: model.version.to_string(), state, reason }
    });
    entries.filter(|entry| !only_ready || entry.state == "READY").collect()
}

/// The slots of all versions that are ready; of one model, where it is named.
pub(super) fn ready(app: &App, tenant: &TenantId, name: Option<&str>) -> Vec<Arc<Slot>> {
    let mut all = app.loader.slots().all();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    let own = all.into_iter().filter(|(owner, model, _)| owner == tenant && name.is_none_or(|name| name == model.name.as_str()));
    own.filter_map(|(_, _, state)| match state {
        State::Ready(slot) => Some(slot),
        _ => None,
    })
    .collect()
}

/// Puts a model that was unloaded back.
///
/// # Errors
/// Where there is none, it can't be loaded, or the request gives parameters.
pub(super) async fn load<'a>(app: &App, caller: &Caller, name: &str, mut parameters: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    if let Some(parameter) = parameters.next() {
        return Err(ApiError::new(
            INVALID_INPUT,
            format!(
                "`{parameter}` can't be given when a model is loaded: versions never change; upload another by PUT /v1/models/{name}/versions/{{version}}"
            ),
        ));
    }
    let (model, loader) = (model_name(name)?, app.loader.clone());
    let (tenant, by) = (caller.tenant.clone(), caller.origin());
    if to_its_end(async move { loader.load_again(&tenant, &model, &by).await }).await? { Ok(()) } else { Err(unknown(name)) }
}

/// Takes a model out of memory.
///
/// # Errors
/// Where there is none.
pub(super) async fn unload(app: &App, caller: &Caller, name: &str) -> Result<(), ApiError> {
    let (model, loader) = (model_name(name)?, app.loader.clone());
    let (tenant, by) = (caller.tenant.clone(), caller.origin());
    if to_its_end(async move { loader.unload(&tenant, &model, &by).await }).await? { Ok(()) } else { Err(unknown(name)) }
}

fn model_name(name: &str) -> Result<ModelName, ApiError> {
    name.parse().map_err(|_| unknown(name))
}

fn unknown(name: &str) -> ApiError {
    ApiError::new(NOT_FOUND, format!("there is no model `{name}`"))
}
