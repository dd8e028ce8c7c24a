//! All routes, and what happens to every request before and after its handler.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use axum::response::{IntoResponse as _, Response};
use tower::Service as _;

use super::access::{self, Operation, Routes};
use super::error::{ApiError, METHOD_NOT_ALLOWED, NOT_FOUND};
use super::extract::{Caller, Context};
use super::flowing::Flowing;
use super::unread::Unread;
use super::{App, audit, health, keys, models, oip, openapi, plugins, predict, revocations, tenants, trust_roots, versions, whoami};
use crate::auth::Memory;
use crate::clock;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a request id that a caller brings; a longer or odder one is replaced.
const REQUEST_ID_CHARS: usize = 128;

fn routes() -> Routes {
    Routes::default()
        .merge(predict::routes())
        .merge(oip::rest::routes())
        .merge(plugins::routes())
        .merge(models::routes())
        .merge(versions::routes())
        .merge(whoami::routes())
        .merge(keys::routes())
        .merge(tenants::routes())
        .merge(trust_roots::routes())
        .merge(revocations::routes())
        .merge(audit::routes())
        .merge(openapi::routes())
        .merge(health::routes())
}

/// Every method of every route, and what it needs of whoever asks.
pub(super) fn operations() -> &'static [Operation] {
    static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| routes().operations().to_vec());
    &OPERATIONS
}

/// Everything that callers reach.
pub fn public(app: App) -> Router {
    routes()
        .router()
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // Each route bounds its own body: a predict request by megabytes, an artifact by gigabytes.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// The same models over gRPC.
///
/// # Errors
/// Where the description of the services is none, which the build would have seen.
pub fn grpc(app: &App) -> anyhow::Result<Router> {
    oip::grpc::router(app)
}

/// What an operator's probes reach, on a listener of their own, so that a crowd at the other can't keep them out.
pub fn admin(app: App) -> Router {
    health::routes().router().fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(app)
}

/// Even what is not there is nobody's business but of who may come in.
async fn not_found(_: Caller, method: Method, uri: axum::http::Uri) -> ApiError {
    ApiError::new(NOT_FOUND, format!("there is no route {method} {}; /docs lists all", uri.path()))
}

async fn method_not_allowed(_: Caller, method: Method, uri: axum::http::Uri) -> ApiError {
    ApiError::new(METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// What every request passes: it gets an id and the moment of its arrival; errors get their body.
pub(super) async fn handle<B>(mut router: Router, app: App, (source, memory): (IpAddr, &Memory), request: Request<B>) -> Result<Response, Infallible>
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let arrived = clock::now();
    let mut request = request.map(Body::new);
    let unread = Unread::watch(&mut request);
    let request_id = request_id(request.headers());
    let visitor = app.access.visitor(request.headers(), Some(source), memory).await;
    let (method, uri, came) = (request.method().clone(), request.uri().clone(), visitor.clone());
    request.extensions_mut().insert(Context { request_id: Arc::clone(&request_id), arrived, deadline: None, has_place: false, visitor });
    let is_v2 = matches!(request.uri().path().as_bytes(), [b'/', b'v', b'2'] | [b'/', b'v', b'2', b'/', ..]);
    let id = Arc::clone(&request_id);
    // Streams over gRPC have bounds of their own.
    let to_the_audit = is_rest(uri.path()) && (may_change(&method, uri.path()) || came.names_a_tenant());
    if to_the_audit {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Flowing::new(body, app.http.request_timeout));
    }
    let answer = async move {
        let mut response = router.call(request).await?;
        let operation = response.extensions_mut().remove::<Operation>();
        let error = response.extensions_mut().remove::<ApiError>();
        if operation.is_some() || error.is_some() && came.who.is_err() || error.as_ref().is_some_and(ApiError::is_denial) {
            // Boxed, as in all that few requests do.
            Box::pin(access::note(&app, (&came, &id), operation, (method.as_str(), uri.path()), error.as_ref())).await;
        }
        Ok::<_, Infallible>((response, error))
    };
    // Whoever hangs up meanwhile has done it all the same.
    let (mut response, error) = if to_the_audit {
        match tokio::spawn(answer).await {
            Ok(answered) => answered?,
            Err(error) => {
                let error = ApiError::internal(error.to_string());
                (error.clone().into_response(), Some(error))
            }
        }
    } else {
        answer.await?
    };
    if let Some(error) = error {
        if let Some(unread) = unread {
            unread.linger();
        }
        let body = if is_v2 { error.plain_body(&request_id) } else { error.body(&request_id) };
        *response.body_mut() = Body::from(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

fn is_rest(path: &str) -> bool {
    path.starts_with("/v1/") || path.starts_with("/v2/")
}

/// A request that changes something, as far as its method and path tell: not one to a model.
fn may_change(method: &Method, path: &str) -> bool {
    let asks_a_model = || matches!(path.rsplit('/').next(), Some("predict" | "infer"));
    *method != Method::GET && *method != Method::HEAD && !asks_a_model()
}

/// The id that a caller brings, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_fine(id));
    given.map_or_else(mint, Arc::from)
}

fn is_fine(id: &str) -> bool {
    !id.is_empty() && id.len() <= REQUEST_ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}

/// An id that no other request of any host has: a random part for the process, then a count.
pub(super) fn mint() -> Arc<str> {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut text = [0u8; 32];
    hex(*PROCESS, &mut text[..16]);
    hex(COUNT.fetch_add(1, Ordering::Relaxed), &mut text[16..]);
    std::str::from_utf8(&text).unwrap_or_default().into()
}

fn hex(mut value: u64, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_hexadecimal() {
        let (a, b) = (mint(), mint());
        assert_ne!(a, b);
        assert!(is_fine(&a) && a.len() == 32);
    }

    #[test]
    fn odd_ids_are_not_taken() {
        for (id, fine) in [("abc-1", true), ("", false), ("a b", false), ("a\nb", false), (&"x".repeat(129), false)] {
            assert_eq!(is_fine(id), fine, "{id:?}");
        }
    }
}
