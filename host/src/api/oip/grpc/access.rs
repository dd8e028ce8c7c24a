//! Who calls, and whether it may: as over HTTP, by the table below.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::{infer, status};
use crate::api::App;
use crate::api::access::{self, Need, Operation};
use crate::api::extract::Context;
use crate::api::router;
use crate::api::serve::Peer;
use crate::auth::Memory;
use crate::clock;

/// Methods, and what they need. One that is not here needs a credential, and is found by nobody.
const METHODS: [(&str, Need); 15] = [
    ("/inference.GRPCInferenceService/ServerLive", Need::Nothing),
    ("/inference.GRPCInferenceService/ServerReady", Need::Nothing),
    ("/inference.GRPCInferenceService/ServerMetadata", Need::Credential),
    ("/inference.GRPCInferenceService/ModelReady", Need::MODELS_SEE),
    ("/inference.GRPCInferenceService/ModelMetadata", Need::MODELS_SEE),
    ("/inference.GRPCInferenceService/ModelConfig", Need::MODELS_SEE),
    ("/inference.GRPCInferenceService/ModelInfer", Need::PREDICT),
    ("/inference.GRPCInferenceService/ModelStreamInfer", Need::PREDICT),
    ("/inference.GRPCInferenceService/ModelStatistics", Need::MODELS_READ),
    ("/inference.GRPCInferenceService/RepositoryIndex", Need::MODELS_READ),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", Need::MODELS_WRITE),
    ("/inference.GRPCInferenceService/RepositoryModelUnload", Need::MODELS_WRITE),
    ("/grpc.health.v1.Health/", Need::Nothing),
    ("/grpc.reflection.v1.ServerReflection/", Need::Docs),
    ("/grpc.reflection.v1alpha.ServerReflection/", Need::Docs),
];

/// What a method needs: of a service that is there for one thing all methods do.
fn need(path: &str) -> Option<(&'static str, Need)> {
    METHODS.into_iter().find(|(name, _)| path == *name || name.ends_with('/') && path.starts_with(name))
}

/// What every call passes first: who may not is turned away before its message is read.
pub(super) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let arrived = clock::now();
    let source = request.extensions().get::<Peer>().map(|Peer(address)| *address);
    let visitor = app.access.visitor(request.headers(), source, &Memory::default()).await;
    let request_id = router::request_id(request.headers());
    let found = need(request.uri().path());
    let operation = found.map(|(path, need)| Operation { method: "grpc", path, need });
    let checked = visitor.check(found.map_or(Need::Credential, |(_, need)| need));
    let crosses = found.is_some_and(|(_, need)| visitor.crosses(need));
    if checked.is_err() || crosses {
        let path = request.uri().path();
        access::note(&app, (&visitor, &request_id), operation, ("grpc", path), checked.as_ref().err()).await;
    }
    if let Err(error) = checked {
        return status::status(&error, &request_id).into_http();
    }
    let deadline = infer::deadline(request.headers(), arrived);
    request.extensions_mut().insert(Context { request_id: Arc::clone(&request_id), arrived, deadline, has_place: false, visitor });
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_in_the_table() {
        let pool = prost_reflect_names();
        assert!(pool.len() >= 12, "{pool:?}");
        for method in pool {
            assert!(need(&method).is_some(), "{method} has no row: what does it need of whoever calls?");
        }
        assert_eq!(need("/inference.GRPCInferenceService/Other"), None);
        assert_eq!(need("/grpc.health.v1.Health/Watch").map(|(_, need)| need), Some(Need::Nothing));
    }

    /// The methods that the description of the service has.
    fn prost_reflect_names() -> Vec<String> {
        use prost::Message as _;
        let set = tonic_reflection_descriptor::FileDescriptorSet::decode(super::super::message::DESCRIPTORS).unwrap();
        let mut names = Vec::new();
        for file in set.file {
            let package = file.package.unwrap_or_default();
            for service in file.service {
                let service_name = service.name.unwrap_or_default();
                names.extend(service.method.into_iter().filter_map(|method| method.name).map(|method| format!("/{package}.{service_name}/{method}")));
            }
        }
        names
    }

    use prost_types as tonic_reflection_descriptor;
}
