//! The protocol over HTTP: `/v2`.

mod body;
pub(in crate::api) mod document;
mod frame;
mod infer;
mod inflate;
mod model;
mod repository;
mod response;
mod server;

pub use frame::{Framed, read as read_frame};

use crate::api::access::Routes;

pub(in crate::api) fn routes() -> Routes {
    Routes::default().merge(server::routes()).merge(model::routes()).merge(infer::routes()).merge(repository::routes())
}
