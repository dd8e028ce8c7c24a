//! The service: each method decodes, calls, and encodes.

use tonic::{Request, Response, Status, Streaming};

use super::infer::{self, Answers, Call};
use super::message::grpc_inference_service_server::GrpcInferenceService;
use super::message::model_metadata_response::TensorMetadata;
use super::message::repository_index_response::ModelIndex;
use super::message::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
    RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use super::status::status;
use crate::api::App;
use crate::api::access::{self, Need, Operation};
use crate::api::error::ApiError;
use crate::api::oip::config::Config;
use crate::api::oip::face::{Face, FacePort};
use crate::api::oip::stats::Stats;
use crate::api::oip::{EXTENSIONS, SERVER, catalog};

/// What answers.
pub(super) struct Inference(pub(super) App);

impl Inference {
    /// What became of a change: one that failed is written down, as over REST. One that was made is in the audit by then.
    async fn changed(&self, call: &Call, path: &'static str, model: &str, outcome: Result<(), ApiError>) -> Result<(), Status> {
        let Err(error) = outcome else { return Ok(()) };
        let operation = Operation { method: "grpc", path, need: Need::MODELS_WRITE };
        let (by, target) = ((&call.context.visitor, &call.context.request_id), format!("{path} {model}"));
        access::note(&self.0, by, Some(operation), ("grpc", &target), Some(&error)).await;
        Err(call.refuse(&error))
    }
}

/// An empty version is none.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

/// KServe's clients put the model's name where Triton's have the repository's.
fn model_name(repository: String, model: String) -> String {
    if model.is_empty() { repository } else { model }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.life.is_ready() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let (call, ModelReadyRequest { name, version }) = opened(request)?;
        let ready = catalog::is_ready(&self.0, &call.caller.tenant, &name, named(&version)).map_err(|error| call.refuse(&error))?;
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Result<Response<ServerMetadataResponse>, Status> {
        let extensions = EXTENSIONS.map(str::to_owned).to_vec();
        Ok(Response::new(ServerMetadataResponse { name: SERVER.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), extensions }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Result<Response<ModelMetadataResponse>, Status> {
        let (call, ModelMetadataRequest { name, version }) = opened(request)?;
        let slot = catalog::find(&self.0, &call.caller.tenant, &call.context, &name, named(&version)).await.map_err(|error| call.refuse(&error))?;
        let face = Face::of(&slot);
        let port = |port: &FacePort| TensorMetadata { name: port.name.clone(), datatype: port.datatype.name().to_owned(), shape: port.shape.clone() };
        let typed = |side: &'static str, ports: &[FacePort]| {
            let typed: Vec<_> = ports.iter().filter(|port| !port.content_types.is_empty()).collect();
            typed.into_iter().map(|port| (format!("{side}.{}.content_type", port.name), port.content_types.join(", "))).collect::<Vec<_>>()
        };
        Ok(Response::new(ModelMetadataResponse {
            name,
            versions: catalog::ready(&self.0, &call.caller.tenant, Some(slot.model())).iter().map(|slot| slot.version().to_string()).collect(),
            platform: face.platform.to_owned(),
            inputs: face.inputs.iter().map(port).collect(),
            outputs: face.outputs.iter().map(port).collect(),
            properties: typed("inputs", &face.inputs).into_iter().chain(typed("outputs", &face.outputs)).collect(),
        }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let (call, request) = opened(request)?;
        infer::infer(&self.0, &call, request).await.map(Response::new).map_err(|error| call.refuse(&error))
    }

    type ModelStreamInferStream = Answers;

    async fn model_stream_infer(&self, request: Request<Streaming<ModelInferRequest>>) -> Result<Response<Answers>, Status> {
        let (call, requests) = opened(request)?;
        Ok(Response::new(infer::stream(&self.0, call, requests)))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Result<Response<ModelConfigResponse>, Status> {
        let (call, ModelConfigRequest { name, version }) = opened(request)?;
        let slot = catalog::find(&self.0, &call.caller.tenant, &call.context, &name, named(&version)).await.map_err(|error| call.refuse(&error))?;
        Ok(Response::new(ModelConfigResponse { config: Some(Config::of(&slot).into()) }))
    }

    async fn model_statistics(&self, request: Request<ModelStatisticsRequest>) -> Result<Response<ModelStatisticsResponse>, Status> {
        let (call, ModelStatisticsRequest { name, version }) = opened(request)?;
        let slots = match named(&name) {
            None => catalog::ready(&self.0, &call.caller.tenant, None),
            Some(name) => {
                let found = catalog::pick(&self.0, &call.caller.tenant, name, named(&version));
                vec![found.map_err(|missing| call.refuse(&missing.into()))?]
            }
        };
        Ok(Response::new(ModelStatisticsResponse { model_stats: slots.iter().map(|slot| Stats::of(slot, named(&version)).into()).collect() }))
    }

    async fn repository_index(&self, request: Request<RepositoryIndexRequest>) -> Result<Response<RepositoryIndexResponse>, Status> {
        let (call, request) = opened(request)?;
        let entries = catalog::index(&self.0, &call.caller.tenant, request.ready).into_iter();
        let models =
            entries.map(|entry| ModelIndex { name: entry.name, version: entry.version, state: entry.state.to_owned(), reason: entry.reason });
        Ok(Response::new(RepositoryIndexResponse { models: models.collect() }))
    }

    async fn repository_model_load(&self, request: Request<RepositoryModelLoadRequest>) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        let (call, RepositoryModelLoadRequest { repository_name, model_name: name, parameters }) = opened(request)?;
        let name = model_name(repository_name, name);
        let loaded = catalog::load(&self.0, &call.caller, &name, parameters.keys().map(String::as_str)).await;
        self.changed(&call, "/inference.GRPCInferenceService/RepositoryModelLoad", &name, loaded).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        // `unload_dependents` means nothing here: no model depends on another.
        let (call, RepositoryModelUnloadRequest { repository_name, model_name: name, .. }) = opened(request)?;
        let name = model_name(repository_name, name);
        let unloaded = catalog::unload(&self.0, &call.caller, &name).await;
        self.changed(&call, "/inference.GRPCInferenceService/RepositoryModelUnload", &name, unloaded).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}

fn opened<T>(request: Request<T>) -> Result<(Call, T), Status> {
    let (metadata, mut extensions, message) = request.into_parts();
    let call = Call::of(metadata, extensions.remove()).map_err(|error| status(&error, ""))?;
    Ok((call, message))
}
