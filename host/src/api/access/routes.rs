//! The only way to make a route: with what it needs of whoever asks.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::gate::Guard;
use super::need::Need;
use crate::api::App;

/// A method of a path, and what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Operation {
    /// In lower case, as OpenAPI has it.
    pub(in crate::api) method: &'static str,
    pub(in crate::api) path: &'static str,
    pub(in crate::api) need: Need,
}

impl Operation {
    /// As the audit has it.
    pub(in crate::api) fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    /// It changes something: whether it fails is of interest too.
    pub(in crate::api) fn changes(&self) -> bool {
        self.method != "get" && self.need.scopes().iter().any(|scope| scope.changes())
    }
}

/// Routes, each of which asks whoever comes for something.
#[derive(Default)]
pub(in crate::api) struct Routes {
    router: Router<App>,
    operations: Vec<Operation>,
}

macro_rules! methods {
    ($($method:ident)+) => {
        $(
            /// Adds a method of a path.
            pub(in crate::api) fn $method<H, T>(self, path: &'static str, need: Need, handler: H) -> Self
            where
                H: Handler<T, App>,
                T: 'static,
            {
                let operation = Operation { method: stringify!($method), path, need };
                // Around the handler and not the route: that would be one more boxed service to clone for each request.
                self.with(operation, routing::$method(handler.layer(Guard(operation))))
            }
        )+
    };
}

impl Routes {
    methods! {
        get put post delete
    }

    fn with(mut self, operation: Operation, handler: MethodRouter<App>) -> Self {
        self.operations.push(operation);
        self.router = self.router.route(operation.path, handler);
        self
    }

    /// Adds routes that others made.
    pub(in crate::api) fn merge(mut self, others: Self) -> Self {
        self.operations.extend(others.operations);
        self.router = self.router.merge(others.router);
        self
    }

    /// Adds pages that are files.
    pub(in crate::api) fn pages(mut self, operation: Operation, pages: Router<App>) -> Self {
        self.operations.push(operation);
        self.router = self.router.merge(pages.layer(Guard(operation)));
        self
    }

    /// What there is.
    pub(in crate::api) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(in crate::api) fn router(self) -> Router<App> {
        self.router
    }
}
