//! `POST /v2/models/{name}/infer`.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::body;
use super::model::Which;
use super::response;
use crate::api::App;
use crate::api::access::{Need, Routes};
use crate::api::call::{self, Called, Target};
use crate::api::error::ApiError;
use crate::api::extract::{Caller, Captured, Context};
use crate::api::meter::Meter;
use crate::api::oip::{ask, version};
use crate::predict::Slot;
use crate::tensor_json::Wanted;

pub(super) fn routes() -> Routes {
    Routes::default().post("/v2/models/{name}/infer", Need::PREDICT, infer).post("/v2/models/{name}/versions/{version}/infer", Need::PREDICT, infer)
}

/// What a request says beside its inputs.
pub(super) struct Said {
    /// Echoed.
    pub(super) id: Option<String>,
    /// The outputs that are asked for; empty for all.
    pub(super) outputs: Vec<Wanted>,
    /// Outputs that don't say otherwise go as bytes.
    pub(super) binary_outputs: bool,
}

async fn infer(
    State(app): State<App>,
    caller: Caller,
    context: Context,
    Captured(which): Captured<Which>,
    request: Request,
) -> Result<Response, ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    let (meter, body) = Meter::of(&app, &caller.tenant, &headers, (body, app.http.max_body_bytes))?;
    let version = which.version.as_deref().map(version);
    let target = Target { tenant: &caller.tenant, model: &which.name, version: version.as_deref() };
    let read = async |slot: &Slot| body::read(slot, &headers, body, app.http.max_body_bytes, &meter).await;
    let Called { slot, variant, reply, said } = call::call(&app, target, &context, &headers, read).await.map_err(|error| meter.said(error))?;
    let how = (reply.timings, reply.cache);
    let outputs = ask::outputs(reply.payload)?;
    let mut response = response::response(&slot, &said, outputs, &headers).await?;
    call::say_who_answered(response.headers_mut(), &slot, variant, how);
    Ok(response)
}
