//! The protocol over gRPC, with the standard health service and reflection.

mod access;
mod codec;
mod config;
mod infer;
mod message;
mod paced;
mod service;
mod status;
mod tensors;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use futures_util::StreamExt as _;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use crate::api::App;
use crate::api::call;
use crate::api::error::{ApiError, DEADLINE_EXCEEDED};
use crate::api::extract::{Caller, Context};
use message::grpc_inference_service_server::GrpcInferenceServiceServer;
use paced::Paced;
use service::Inference;

/// So long after its deadline a request is given up that has not been told so itself: whoever ran it says more.
const LATE: Duration = Duration::from_millis(200);

/// Methods that are no single request: a stream goes on, and loading takes what it takes, as over REST.
const LONG: [&str; 3] = [STREAM, "/RepositoryModelLoad", "/RepositoryModelUnload"];

/// The methods whose messages hold tensors.
const INFER: &str = "/ModelInfer";
const STREAM: &str = "/ModelStreamInfer";

/// Bytes of a message of any other method. Arbitrary: it says a few words.
const WORDS_BYTES: usize = 64 << 10;

const SERVICE: &str = <GrpcInferenceServiceServer<Inference> as NamedService>::NAME;

/// All services, as a router: of a connection that speaks HTTP/2.
///
/// # Errors
/// Where the description of the services is no such thing, which the build would have seen.
pub(in crate::api) fn router(app: &App) -> anyhow::Result<Router> {
    let limit = usize::try_from(app.http.max_body_bytes).unwrap_or(usize::MAX);
    // Requests may be compressed. Answers never are: most clients say that they could read that, and few would want to wait
    // for it. The limit is also that of a message once it is inflated.
    let inference = |limit| {
        GrpcInferenceServiceServer::new(Inference(Arc::clone(app)))
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report(Arc::clone(app), reporter));
    let reflection = |descriptors| {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut tensors = add(Router::new(), inference(WORDS_BYTES));
    for method in [INFER, STREAM] {
        tensors = tensors.route_service(&format!("/{SERVICE}{method}"), inference(limit));
    }
    let inference = tensors.layer(middleware::from_fn_with_state(Arc::clone(app), admit));
    let reflections = add(Router::new(), reflection(message::DESCRIPTORS).build_v1()?);
    let reflections =
        add(reflections, reflection(message::DESCRIPTORS).build_v1alpha()?).layer(middleware::from_fn_with_state(Arc::clone(app), ending));
    let all = add(inference.merge(reflections), health).fallback(unimplemented);
    Ok(all.layer(middleware::from_fn_with_state(Arc::clone(app), access::identify)))
}

fn add<S>(router: Router, service: S) -> Router
where
    S: Service<http::Request<axum::body::Body>, Response = http::Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*rest}}", S::NAME), service)
}

/// A call's time begins before its message is read, and a `ModelInfer` has its place by then: as many as there are places
/// are read at one time, and one that stalls is given up. A stream has its place among the streams; each of its messages
/// has as long to come as a request has in all, and once it is there place and time of its own.
async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(mut context) = request.extensions().get::<Context>().cloned() else {
        return status::status(&ApiError::internal("a call without its context"), "").into_http();
    };
    let is_infer = request.uri().path().ends_with(INFER);
    let id = Arc::clone(&context.request_id);
    let refused = |error: &ApiError| status::status(error, &id).into_http::<axum::body::Body>();
    let place = || Caller::of(&context).and_then(|caller| call::place(&app, &caller.tenant));
    let (deadline, place) = match (call::deadline(&app, &context, request.headers()), is_infer.then(place).transpose()) {
        (Ok(deadline), Ok(place)) => (deadline, place),
        (Err(error), _) | (_, Err(error)) => return refused(&error),
    };
    let is_stream = request.uri().path().ends_with(STREAM);
    if is_infer || is_stream {
        let opened = Caller::of(&context).and_then(|caller| {
            let place = is_stream.then(|| call::stream_place(&app, &caller.tenant)).transpose()?;
            Ok((caller, place))
        });
        let (caller, stream_place) = match opened {
            Ok(opened) => opened,
            Err(error) => return refused(&error),
        };
        let tenants = Arc::clone(&app.tenants);
        let hold = Box::new(move || tenants.hold(&caller.tenant));
        request = request.map(|body| axum::body::Body::new(Paced::new(body, app.http.request_timeout, hold, stream_place)));
    }
    let is_long = LONG.iter().any(|method| request.uri().path().ends_with(method));
    context.has_place = place.is_some();
    request.extensions_mut().insert(context);
    let answer = next.run(request);
    if is_long {
        return answer.await;
    }
    match tokio::time::timeout_at((deadline.moment() + LATE).into(), answer).await {
        Ok(answer) => answer,
        Err(_) => refused(&ApiError::new(DEADLINE_EXCEEDED, "the request was not there in whole in time")),
    }
}

/// Questions end when the host stops, and with them the answers: it waits for nobody who might ask more.
async fn ending(State(app): State<App>, request: Request, next: Next) -> Response {
    let stops = Box::pin(async move { app.life.stops().await });
    next.run(request.map(|body| axum::body::Body::from_stream(body.into_data_stream().take_until(stops)))).await
}

/// As gRPC says that there is no such method.
async fn unimplemented() -> (StatusCode, [(&'static str, &'static str); 2]) {
    (StatusCode::OK, [("grpc-status", "12"), ("content-type", "application/grpc")])
}

/// What the health service knows.
const SERVICES: [&str; 2] = ["", SERVICE];

/// Tells the health service what `/health/ready` tells.
async fn report(app: App, mut reporter: tonic_health::server::HealthReporter) {
    let mut life = app.life.watch();
    loop {
        let status = if app.life.is_ready() { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
        if app.life.is_stopping() {
            // Ends the streams of those who watch, once they have read the last word: a host can't stop before.
            for service in SERVICES {
                reporter.clear_service_status(service).await;
            }
            return;
        }
        if life.changed().await.is_err() {
            return;
        }
    }
}
