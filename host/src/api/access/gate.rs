//! Stands before each route: who may not is turned away before anything of the request is read.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use tower::{Layer, Service};

use super::routes::Operation;
use crate::api::error::ApiError;
use crate::api::extract::Context;

/// Puts a gate before a route.
#[derive(Clone, Copy)]
pub(super) struct Guard(pub(super) Operation);

impl<S> Layer<S> for Guard {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { operation: self.0, inner }
    }
}

/// A route behind its gate.
#[derive(Clone)]
pub(in crate::api) struct Gate<S> {
    operation: Operation,
    inner: S,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>;

impl<S> Service<Request> for Gate<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Either<Ready<Result<Response, S::Error>>, Answer<S::Error>>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let operation = self.operation;
        let context = request.extensions().get::<Context>();
        let checked =
            context.map_or_else(|| Err(ApiError::internal("a request without its context")), |context| context.visitor.check(operation.need));
        if let Err(error) = checked {
            let mut response = error.into_response();
            response.extensions_mut().insert(operation);
            return Either::Right(Either::Left(ready(Ok(response))));
        }
        let crosses = context.is_some_and(|context| context.visitor.crosses(operation.need));
        let answer = self.inner.call(request);
        if !crosses && !operation.changes() {
            return Either::Left(answer);
        }
        // Whoever writes the audit is told which it was.
        Either::Right(Either::Right(Box::pin(async move {
            let mut response = answer.await?;
            response.extensions_mut().insert(operation);
            Ok(response)
        })))
    }
}
