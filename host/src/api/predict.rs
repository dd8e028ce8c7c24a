//! The main job: a body in, an answer out.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::access::{Need, Routes};
use super::call::{self, Called, Target};
use super::error::{ApiError, INVALID_INPUT};
use super::extract::{Caller, Captured, Context};
use super::meter::Meter;
use super::upload;
use crate::aside::aside;
use crate::payload::Payload;
use crate::predict::{Reply, Slot, Variant};
use crate::tensor_json::{self, Answer};

pub(super) fn routes() -> Routes {
    Routes::default().post("/v1/models/{name}/predict", Need::PREDICT, production).post(
        "/v1/models/{name}/versions/{version}/predict",
        Need::PREDICT,
        pinned,
    )
}

async fn production(
    State(app): State<App>,
    caller: Caller,
    context: Context,
    Captured(name): Captured<String>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(&app, caller, context, &name, None, request).await
}

async fn pinned(
    State(app): State<App>,
    caller: Caller,
    context: Context,
    Captured((name, version)): Captured<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(&app, caller, context, &name, Some(&version), request).await
}

async fn answer(app: &App, caller: Caller, context: Context, name: &str, version: Option<&str>, request: Request) -> Result<Response, ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    let (meter, body) = Meter::of(app, &caller.tenant, &headers, (body, app.http.max_body_bytes))?;
    let target = Target { tenant: &caller.tenant, model: name, version };
    let read = async |_: &Slot| {
        let body = upload::whole("the body of a predict request", &headers, body, app.http.max_body_bytes).await?;
        Ok((payload(&headers, body)?.into(), ()))
    };
    let Called { slot, variant, reply, .. } = call::call(app, target, &context, &headers, read).await.map_err(|error| meter.said(error))?;
    respond(&slot, variant, reply)
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
    let how = (reply.timings, reply.cache);
    let (content_type, body) = match reply.payload {
        Payload::Json(text) => (HeaderValue::from_static("application/json"), Body::from(text)),
        Payload::Tensors(tensors) => {
            let answer = Answer { model: slot.model(), version: slot.version(), id: reply.id.as_deref(), outputs: &tensors, follow: &[] };
            let text = aside(tensors.iter().map(|tensor| tensor.data.len()).sum(), || tensor_json::encode(&answer))
                .map_err(|error| ApiError::new(INVALID_INPUT, error.to_string()))?;
            (HeaderValue::from_static("application/json"), Body::from(text))
        }
        Payload::Blob { content_type, data } => {
            let content_type = HeaderValue::from_str(&content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
            (content_type, Body::from(data))
        }
    };
    let mut response = body.into_response();
    call::say_who_answered(response.headers_mut(), slot, variant, how);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
