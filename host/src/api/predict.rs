//! The main job: a body in, an answer out.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing;
use bulkhead_registry::{ModelName, ModelRef};

use super::App;
use super::error::{ApiError, DEADLINE_EXCEEDED, INVALID_INPUT, NOT_READY, OVERLOADED};
use super::extract::{Caller, Context, FromPath as _, RawVersion};
use super::upload;
use crate::loader::LoaderError;
use crate::payload::Payload;
use crate::predict::{self, Missing, Reply, Slot, Variant};
use crate::sandbox::RequestInfo;
use crate::tensor_json;

const MODEL: HeaderName = HeaderName::from_static("x-bulkhead-model");
const VERSION: HeaderName = HeaderName::from_static("x-bulkhead-version");
const VARIANT: HeaderName = HeaderName::from_static("x-bulkhead-variant");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/models/{name}/predict", routing::post(production))
        .route("/v1/models/{name}/versions/{version}/predict", routing::post(pinned))
}

async fn production(
    State(app): State<App>,
    caller: Caller,
    context: Context,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(&app, caller, context, &name, None, request).await
}

async fn pinned(
    State(app): State<App>,
    caller: Caller,
    context: Context,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(&app, caller, context, &name, Some(&version), request).await
}

async fn answer(app: &App, caller: Caller, context: Context, name: &str, version: Option<&str>, request: Request) -> Result<Response, ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    let _place = app.in_flight.try_acquire().map_err(|_| {
        ApiError::new(OVERLOADED, format!("{} predict requests are under way, which is `http.max_in_flight`", app.http.max_in_flight))
    })?;
    let deadline = predict::deadline(app.http.request_timeout, context.arrived);
    // A sender that stalls holds its place no longer than one whose model is slow.
    let read = async {
        let picked = pick(app, &caller, name, version).await?;
        let body = upload::whole("the body of a predict request", &headers, body, app.http.max_body_bytes).await?;
        Ok::<_, ApiError>((picked, body))
    };
    let too_late = |_| ApiError::new(DEADLINE_EXCEEDED, "the request was not there in whole, or its version not in memory, in time");
    let ((slot, variant), body) = tokio::time::timeout_at(deadline.moment().into(), read).await.map_err(too_late)??;
    let request = RequestInfo {
        id: context.request_id,
        model: slot.model().clone(),
        version: slot.version().clone(),
        headers: let_through(&slot, &headers),
        deadline,
    };
    let reply = predict::run(&slot, &request, payload(&headers, body)?).await?;
    respond(&slot, variant, reply)
}

/// The version that answers; an archived one that is asked for by its number is loaded first.
async fn pick(app: &App, caller: &Caller, name: &str, version: Option<&str>) -> Result<(std::sync::Arc<Slot>, Variant), ApiError> {
    let tenant = caller.tenant.as_str();
    match app.loader.slots().pick(tenant, name, version) {
        Err(Missing::Unloaded(name, version)) => {
            let model = ModelRef::from_path(RawVersion::new(&name, &version)).map_err(|message| ApiError::new(INVALID_INPUT, message))?;
            match app.loader.wake(&caller.tenant, &model).await {
                Err(error @ LoaderError::NotFound(_)) => return Err(error.into()),
                Err(error) => return Err(ApiError::new(NOT_READY, format!("version `{version}` of model `{name}` could not be loaded: {error}"))),
                Ok(()) => {}
            }
            Ok(app.loader.slots().pick(tenant, ModelName::as_str(&model.name), Some(&version))?)
        }
        // What is not there yet may still be on its way.
        Err(missing @ (Missing::Model(_) | Missing::Version(..))) if !app.life.has_started() => {
            Err(ApiError::new(NOT_READY, format!("{missing}, so far: the host is starting")))
        }
        other => Ok(other?),
    }
}

fn let_through(slot: &Slot, headers: &HeaderMap) -> Vec<(String, String)> {
    let mut passed = Vec::new();
    for name in slot.headers() {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        passed.extend(values.map(|value| (name.clone(), value.to_owned())));
    }
    passed
}

fn payload(headers: &HeaderMap, body: Vec<u8>) -> Result<Payload, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    // What curl says of a body when it is told nothing; no model takes forms.
    let unsaid = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if unsaid || essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json") {
        let text = String::from_utf8(body).map_err(|_| ApiError::new(INVALID_INPUT, "the body says it is JSON, and is no UTF-8"))?;
        return Ok(Payload::Json(text));
    }
    Ok(Payload::Blob { content_type: content_type.to_owned(), data: body })
}

fn respond(slot: &Slot, variant: Variant, reply: Reply) -> Result<Response, ApiError> {
    let timing = server_timing(&reply);
    let (content_type, body) = match reply.payload {
        Payload::Json(text) => (HeaderValue::from_static("application/json"), Body::from(text)),
        Payload::Tensors(tensors) => {
            let text = tensor_json::encode(slot.model(), slot.version(), reply.id.as_deref(), &tensors)
                .map_err(|error| ApiError::new(INVALID_INPUT, error.to_string()))?;
            (HeaderValue::from_static("application/json"), Body::from(text))
        }
        Payload::Blob { content_type, data } => {
            let content_type = HeaderValue::from_str(&content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
            (content_type, Body::from(data))
        }
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    // Those below and the request's id, so that the map grows once.
    headers.reserve(6);
    headers.insert(header::CONTENT_TYPE, content_type);
    // Names and versions have a syntax that fits into headers.
    headers.insert(MODEL, HeaderValue::from_str(slot.model()).unwrap_or(HeaderValue::from_static("")));
    headers.insert(VERSION, HeaderValue::from_str(slot.version()).unwrap_or(HeaderValue::from_static("")));
    headers.insert(VARIANT, HeaderValue::from_static(variant.name()));
    headers.insert(SERVER_TIMING, timing);
    Ok(response)
}

/// Where the time went, in milliseconds, by the names of the metrics' stages.
fn server_timing(reply: &Reply) -> HeaderValue {
    let timings = reply.timings;
    let mut text = String::with_capacity(96);
    for (name, time) in [("queue", timings.queue), ("before", timings.before), ("inference", timings.inference), ("after", timings.after)] {
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
