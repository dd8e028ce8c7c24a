//! `ModelInfer`, alone or many over one stream.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::message::model_infer_response::InferOutputTensor;
use super::message::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse, infer_parameter};
use super::status::status;
use super::tensors;
use crate::api::App;
use crate::api::access::{self, Need, Operation};
use crate::api::call::{self, Called, Target};
use crate::api::error::{ApiError, INVALID_INPUT};
use crate::api::extract::{Caller, Context};
use crate::api::oip::{ask, version};
use crate::api::router;
use crate::auth::Memory;
use crate::clock;
use crate::predict::{Ask, CacheUse, Slot};

/// How often an open stream's credential is looked at again. Arbitrary: a revoked key is to have ended its streams within a second.
const LOOK_AGAIN: Duration = Duration::from_millis(400);

/// Requests of one stream that are under way at one time. Arbitrary: as many as fill a batch.
const AT_ONCE: usize = 64;

/// What a call's metadata say.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) caller: Caller,
    headers: HeaderMap,
    pub(super) context: Context,
    /// Failures within a stream end it with a status.
    errors_end_streams: bool,
}

impl Call {
    /// # Errors
    /// Where nobody knows who calls, which no method gets to see.
    pub(super) fn of(metadata: MetadataMap, context: Option<Context>) -> Result<Self, ApiError> {
        let headers = metadata.into_headers();
        let errors_end_streams = headers.get("triton_grpc_error").is_some_and(|value| value == "true");
        let context = context.ok_or_else(|| ApiError::internal("a call without its context"))?;
        Ok(Self { caller: Caller::of(&context)?, headers, context, errors_end_streams })
    }

    pub(super) fn refuse(&self, error: &ApiError) -> Status {
        status(error, &self.context.request_id)
    }

    /// Of another request of the same stream, which comes now.
    fn again(&self, arrived: Instant) -> Self {
        let visitor = self.context.visitor.clone();
        let context = Context { request_id: router::mint(), arrived, deadline: self.context.deadline, has_place: false, visitor };
        Self { context, ..self.clone() }
    }

    /// Whether the credential is still good: one that was revoked, or has expired, gets no more answers.
    async fn check_again(&self, app: &App) -> Result<(), ApiError> {
        let visitor = app.access.visitor(&self.headers, self.context.visitor.source, &Memory::default()).await;
        let checked = visitor.check(Need::PREDICT);
        if let Err(error) = &checked {
            let stream = Operation { method: "grpc", path: "/inference.GRPCInferenceService/ModelStreamInfer", need: Need::PREDICT };
            Box::pin(access::note(app, (&visitor, &self.context.request_id), Some(stream), ("grpc", stream.path), Some(error))).await;
        }
        checked
    }

    /// Waits until the credential is no longer good; gives what to tell whoever brought it.
    async fn goes_bad(&self, app: &App) -> Status {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if let Err(error) = self.check_again(app).await {
                return self.refuse(&error);
            }
        }
    }
}

/// When a call that came just now is to be answered.
pub(super) fn deadline(headers: &HeaderMap, arrived: Instant) -> Option<Instant> {
    arrived.checked_add(timeout(headers.get("grpc-timeout")?.to_str().ok()?)?)
}

/// `grpc-timeout`: up to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Answers one request.
pub(super) async fn infer(app: &App, call: &Call, request: ModelInferRequest) -> Result<ModelInferResponse, ApiError> {
    // As it is now that it is decoded; until then what came over the wire was counted.
    let held = app.tenants.hold(&call.caller.tenant);
    held.iter().try_for_each(|held| held.grow(request.encoded_len() as u64))?;
    let ModelInferRequest { model_name, model_version, id, parameters, inputs, outputs, raw_input_contents } = request;
    if !tensors::is_nothing(parameters.get("sequence_id")) {
        return Err(ApiError::new(INVALID_INPUT, "sequences of requests are not there in this version: each request stands by itself"));
    }
    for output in &outputs {
        tensors::check_output(output)?;
    }
    let wanted_version = Some(model_version.as_str()).filter(|text| !text.is_empty()).map(version);
    let target = Target { tenant: &call.caller.tenant, model: &model_name, version: wanted_version.as_deref() };
    let read = async |slot: &Slot| {
        let (inputs, content_type) = tensors::inputs(inputs, raw_input_contents)?;
        let ask = Ask {
            payload: ask::payload(slot, inputs, content_type)?,
            outputs: outputs.into_iter().map(|output| output.name).collect(),
            priority: tensors::number(&parameters, "priority")?.unwrap_or(0),
            timeout: tensors::number(&parameters, "timeout")?.filter(|timeout| *timeout > 0).map(Duration::from_micros),
            cache: CacheUse::Any,
        };
        Ok((ask, ()))
    };
    let Called { slot, reply, .. } = call::call(app, target, &call.context, &call.headers, read).await?;
    let mut response =
        ModelInferResponse { model_name: slot.model().to_string(), model_version: slot.version().to_string(), id, ..Default::default() };
    if asks_for_final(&parameters) {
        let is_final = InferParameter { parameter_choice: Some(infer_parameter::ParameterChoice::BoolParam(true)) };
        response.parameters.insert("triton_final_response".to_owned(), is_final);
    }
    for output in ask::outputs(reply.payload)? {
        let datatype = output.datatype.name().to_owned();
        response.outputs.push(InferOutputTensor { name: output.name, datatype, shape: output.shape, ..Default::default() });
        response.raw_output_contents.push(output.data);
    }
    Ok(response)
}

/// Clients of models that answer more than once ask to be told of the last answer; here the first is.
fn asks_for_final(parameters: &std::collections::HashMap<String, InferParameter>) -> bool {
    let choice = parameters.get("triton_enable_empty_final_response").and_then(|parameter| parameter.parameter_choice.as_ref());
    matches!(choice, Some(infer_parameter::ParameterChoice::BoolParam(true)))
}

/// The answers of a stream, in the order of its requests.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// Answers a stream of requests. A request that fails does not end it, unless the caller wants that.
pub(super) fn stream(app: &App, call: Call, requests: Streaming<ModelInferRequest>) -> Answers {
    let (app, opened) = (Arc::clone(app), call.clone());
    let guarded = app.access.authenticator.is_some().then(|| Arc::clone(&app));
    let stops = Arc::clone(&app);
    let answer = move |request: Result<ModelInferRequest, Status>| {
        let (app, call) = (Arc::clone(&app), call.again(clock::now()));
        async move {
            let request = request?;
            let (id, name) = (request.id.clone(), request.model_name.clone());
            // On a task of its own: it goes on, and ends in time, while the client does not read.
            let (task_app, task_call) = (Arc::clone(&app), call.clone());
            let task = AbortOnDropHandle::new(tokio::spawn(async move {
                task_call.check_again(&task_app).await?;
                infer(&task_app, &task_call, request).await
            }));
            let outcome = task.await.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())));
            match outcome {
                Ok(response) => Ok(ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) }),
                Err(error) if call.errors_end_streams => Err(call.refuse(&error)),
                Err(error) => Ok(ModelStreamInferResponse {
                    error_message: call.refuse(&error).message().to_owned(),
                    infer_response: Some(ModelInferResponse { model_name: name, id, ..Default::default() }),
                }),
            }
        }
    };
    // A host that stops takes no more of them, answers what it took, and says so.
    let cut = Arc::new(AtomicBool::new(false));
    let (cutting, was_cut) = (Arc::clone(&cut), cut);
    let stopping = Box::pin(async move {
        stops.life.stops().await;
        cutting.store(true, Ordering::Relaxed);
    });
    let last = stream::once(async move { was_cut.load(Ordering::Relaxed).then(|| Err(Status::unavailable("the host stops; send the rest again"))) });
    let answers = requests.take_until(stopping).map(answer).buffered(AT_ONCE).chain(last.filter_map(std::future::ready));
    let Some(app) = guarded else { return Box::pin(answers) };
    // Whose credential is no longer good is told so at once, and gets nothing of what is under way.
    let verdict = Arc::new(OnceLock::new());
    let said = Arc::clone(&verdict);
    let goes_bad = Box::pin(async move {
        let _ = verdict.set(opened.goes_bad(&app).await);
    });
    let end = stream::once(async move { said.get().cloned().map(Err) });
    Box::pin(answers.take_until(goes_bad).chain(end.filter_map(std::future::ready)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789n", None),
            ("5", None),
            ("", None),
            ("5x", None),
            ("é", None),
        ] {
            assert_eq!(timeout(text), expected, "{text}");
        }
    }
}
