//! What every way to a prediction has in common, whatever the protocol: a place among the requests under way, the version
//! that answers, the deadline, and the call into `predict/`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bulkhead_registry::{ModelRef, TenantId};

use super::App;
use super::error::{ApiError, DEADLINE_EXCEEDED, INVALID_INPUT, NOT_READY, OVERLOADED, TOO_MANY_REQUESTS};
use super::extract::{Context, FromPath as _, RawVersion};
use crate::clock::Deadline;
use crate::loader::LoaderError;
use crate::predict::{self, Ask, CacheEvent, CacheUse, Missing, Reply, Slot, Variant};
use crate::sandbox::RequestInfo;
use crate::telemetry::metrics::Timings;
use crate::tenants::{Exceeded, Full, Place};

const MODEL: HeaderName = HeaderName::from_static("x-bulkhead-model");
const VERSION: HeaderName = HeaderName::from_static("x-bulkhead-version");
const VARIANT: HeaderName = HeaderName::from_static("x-bulkhead-variant");
const CACHE: HeaderName = HeaderName::from_static("x-bulkhead-cache");
/// How long the caller waits, in milliseconds from the request's arrival. Longer than the host's own bound means that.
const TIMEOUT: HeaderName = HeaderName::from_static("x-bulkhead-timeout-ms");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Which model is asked.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) model: &'a str,
    /// None for the one in production.
    pub(super) version: Option<&'a str>,
}

/// An answer, who gave it, and what else the request said.
pub(super) struct Called<T> {
    pub(super) slot: Arc<Slot>,
    pub(super) variant: Variant,
    pub(super) reply: Reply,
    pub(super) said: T,
}

/// Finds the version, reads the request, and runs it.
pub(super) async fn call<T>(
    app: &App,
    target: Target<'_>,
    context: &Context,
    headers: &HeaderMap,
    read: impl AsyncFnOnce(&Slot) -> Result<(Ask, T), ApiError>,
) -> Result<Called<T>, ApiError> {
    let place = if context.has_place { None } else { Some(place(app, target.tenant)?) };
    let tenant = place.as_ref().map_or_else(|| app.tenants.tenant(target.tenant), |place| Arc::clone(place.tenant()));
    let answer = async {
        let deadline = deadline(app, context, headers)?;
        // A sender that stalls holds its place no longer than one whose model is slow.
        let found = tokio::time::timeout_at(deadline.moment().into(), pick(app, target)).await;
        let too_late = |what: &str| ApiError::new(DEADLINE_EXCEEDED, format!("{what} in time"));
        let (slot, variant) = found.map_err(|_| too_late("the version is not in memory"))??;
        let read = tokio::time::timeout_at(deadline.moment().into(), read(&slot)).await;
        let read = read.unwrap_or_else(|_| Err(too_late("the request was not there in whole")));
        let (mut ask, said) = read.inspect_err(|error| slot.metrics().failed(error.code(), context.arrived.elapsed()))?;
        if slot.is_cached() {
            ask.cache = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).map(CacheUse::of).unwrap_or_default();
        }
        let request = RequestInfo {
            id: Arc::clone(&context.request_id),
            model: slot.model().clone(),
            version: slot.version().clone(),
            headers: let_through(&slot, headers),
            deadline,
        };
        let reply = predict::run(&slot, &request, ask).await?;
        Ok(Called { slot, variant, reply, said })
    };
    // Pinned here: moved on, it would be copied.
    app.turns.in_turn(&tenant, pin!(answer)).await
}

/// A place among the requests under way, or a refusal at once.
pub(super) fn place(app: &App, tenant: &TenantId) -> Result<Place, ApiError> {
    app.tenants.enter(tenant).map_err(|full| turned_away(app, full, "predict requests are under way", "predict requests"))
}

/// A place among the open streams, or a refusal at once.
pub(super) fn stream_place(app: &App, tenant: &TenantId) -> Result<Place, ApiError> {
    app.tenants.open_stream(tenant).map_err(|full| turned_away(app, full, "streams are open", "streams"))
}

fn turned_away(app: &App, full: Full, all: &str, what: &str) -> ApiError {
    app.metrics.turned_away.inc();
    let bound = app.http.max_in_flight;
    match full {
        Full::Quota(exceeded) => exceeded.into(),
        Full::Host { share: false } => ApiError::new(OVERLOADED, format!("{bound} {all}, which is `http.max_in_flight`")),
        Full::Host { share: true } => {
            ApiError::new(OVERLOADED, format!("the tenant has its share of the {bound} places for {what}, and others want theirs"))
        }
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        let details = serde_json::json!({ "quota": exceeded.quota, "limit": exceeded.limit });
        Self::new(TOO_MANY_REQUESTS, exceeded.to_string()).with(details).after(exceeded.wait)
    }
}

/// When it must be answered, by the host's bound and the caller's.
pub(super) fn deadline(app: &App, context: &Context, headers: &HeaderMap) -> Result<Deadline, ApiError> {
    let mut deadline = predict::deadline(app.http.request_timeout, context.arrived);
    if let Some(sooner) = context.deadline {
        deadline = deadline.or_sooner(Deadline::at(sooner));
    }
    if let Some(timeout) = timeout(headers)? {
        deadline = deadline.or_sooner(predict::deadline(timeout, context.arrived));
    }
    Ok(deadline)
}

/// The version that answers; an archived one that is asked for by its number is loaded first.
pub(super) async fn pick(app: &App, Target { tenant, model: name, version }: Target<'_>) -> Result<(Arc<Slot>, Variant), ApiError> {
    match app.loader.slots().pick(tenant.as_str(), name, version) {
        Err(Missing::Unloaded(name, version)) => {
            let model = ModelRef::from_path(RawVersion::new(&name, &version)).map_err(|message| ApiError::new(INVALID_INPUT, message))?;
            // Boxed, as in all that few requests do: each would carry its state around else.
            match Box::pin(app.loader.wake(tenant, &model)).await {
                Err(error @ LoaderError::NotFound(_)) => return Err(error.into()),
                Err(LoaderError::Barred(why)) => return Err(Missing::Barred(name, version, why).into()),
                Err(error) => return Err(ApiError::new(NOT_READY, format!("version `{version}` of model `{name}` could not be loaded: {error}"))),
                Ok(()) => {}
            }
            Ok(app.loader.slots().pick(tenant.as_str(), &name, Some(&version))?)
        }
        // What is not there yet may still be on its way.
        Err(missing @ (Missing::Model(_) | Missing::Version(..))) if !app.life.has_started() => {
            Err(ApiError::new(NOT_READY, format!("{missing}, so far: the host is starting")))
        }
        other => Ok(other?),
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let millis = value.to_str().ok().filter(|text| text.len() <= 9).and_then(|text| text.parse::<u32>().ok());
    let refused = || ApiError::new(INVALID_INPUT, format!("`{TIMEOUT}`: expected whole milliseconds such as `250`, got `{}`", shown(value)));
    Ok(Some(Duration::from_millis(millis.ok_or_else(refused)?.into())))
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(40).collect()
}

fn let_through(slot: &Slot, headers: &HeaderMap) -> Vec<(String, String)> {
    let mut passed = Vec::new();
    for name in slot.headers() {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        passed.extend(values.map(|value| (name.clone(), value.to_owned())));
    }
    passed
}

/// Adds the headers that say which version answered, and where the time went.
pub(super) fn say_who_answered(headers: &mut HeaderMap, slot: &Slot, variant: Variant, (timings, cache): (Timings, Option<CacheEvent>)) {
    // Those below, type and length of the body and the request's id, so that the map grows once.
    headers.reserve(8);
    // Names and versions have a syntax that fits into headers.
    headers.insert(MODEL, HeaderValue::from_str(slot.model()).unwrap_or(HeaderValue::from_static("")));
    headers.insert(VERSION, HeaderValue::from_str(slot.version()).unwrap_or(HeaderValue::from_static("")));
    headers.insert(VARIANT, HeaderValue::from_static(variant.name()));
    // An answer that was kept spent none.
    if cache != Some(CacheEvent::Hit) {
        headers.insert(SERVER_TIMING, server_timing(timings));
    }
    if let Some(event) = cache {
        headers.insert(CACHE, HeaderValue::from_static(event.name()));
    }
}

/// Where the time went, in milliseconds, by the names of the metrics' stages.
fn server_timing(timings: Timings) -> HeaderValue {
    let mut text = String::with_capacity(96);
    let stages = [
        ("queue", timings.queue),
        ("before", timings.before),
        ("predict", timings.predict),
        ("inference", timings.inference),
        ("after", timings.after),
    ];
    for (name, time) in stages {
        // Only predictors have it.
        if name == "predict" && time.is_zero() {
            continue;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        text.push_str(name);
        text.push_str(";dur=");
        text.push_str(itoa::Buffer::new().format(micros / 1000));
        text.push('.');
        let thousandths = itoa::Buffer::new().format(1000 + micros % 1000).to_owned();
        text.push_str(&thousandths[1..]);
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
