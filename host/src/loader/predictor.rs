//! A predictor: its component configured, its graphs granted, and both fitted together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_registry::{Digest, Manifest, ModelRef, PredictorUse, Runtime, TenantId, VersionRecord};

use super::build::of_world;
use super::fit;
use super::{Loader, LoaderError};
use crate::confined;
use crate::engine::{Brought, Loaded};
use crate::predict::Driver;
use crate::runner::{Load, Port, Runner, Signature};
use crate::sandbox::{Grants, LoadGrant, Ports, PredictorDescription, SandboxError, World, carries};

/// A model that a predictor may run.
pub(super) struct Granted {
    pub(super) model: Arc<dyn Loaded>,
    /// Of the model's artifact.
    pub(super) artifact: Digest,
}

impl Loader {
    /// The component and what it may run, by the names of the manifest.
    pub(super) async fn driver(
        &self,
        tenant: &TenantId,
        model: &ModelRef,
        manifest: &Manifest,
        used: &PredictorUse,
    ) -> Result<(Driver, BTreeMap<String, Granted>), LoaderError> {
        let plugin = self.plugin(tenant, &used.plugin).await?;
        of_world("/predictor", &used.plugin, &plugin, World::Predictor)?;
        let mut granted = BTreeMap::new();
        for (name, graph) in &used.grants.graphs {
            granted.insert(name.clone(), self.graph(tenant, name, graph).await?);
        }
        let options = Self::options(manifest, &used.config);
        let load = match used.grants.load_mb {
            0 => None,
            megabytes => Some(LoadGrant { max_bytes: (megabytes as usize) << 20, loader: self.brought(tenant, model)? }),
        };
        let mut signature = Signature::default();
        let grants = async |description: &PredictorDescription| {
            signature = fitted(description, &granted)?;
            let graphs = granted.iter().map(|(name, granted)| (name.clone(), Arc::clone(&granted.model) as Arc<dyn Runner>)).collect();
            Ok(Grants { graphs, load })
        };
        let predictor = self.0.sandboxes.predictor(&plugin, options, self.component(&plugin), grants).await.map_err(|error| match error {
            GrantError::Plugin(source) => LoaderError::Config { at: "/predictor".to_owned(), plugin: used.plugin.clone(), source },
            GrantError::Other(error) => error,
        })?;
        let models = granted.values().map(|granted| Arc::clone(&granted.model)).collect();
        Ok((Driver { predictor, signature, models }, granted))
    }

    /// What loads models that the component brings along, where the tenant's models run.
    fn brought(&self, tenant: &TenantId, model: &ModelRef) -> Result<Arc<dyn Load>, LoaderError> {
        let metrics = self.0.metrics.engine_apart(tenant.as_str(), model.name.as_str(), &model.version.to_string());
        Ok(match self.0.isolation.of(tenant)? {
            Some(keeper) => Arc::new(confined::Brought::new(keeper, metrics)),
            None => Arc::new(Brought::new(Arc::clone(&self.0.engine), metrics, Some(self.0.tenants.tenant(tenant)))),
        })
    }

    /// A model that the manifest grants.
    async fn graph(&self, tenant: &TenantId, name: &str, graph: &ModelRef) -> Result<Granted, LoaderError> {
        let failed = |why: String| LoaderError::Graph { name: name.to_owned(), graph: graph.clone(), why };
        let record: VersionRecord = self.store().version(tenant, graph).await?.ok_or_else(|| LoaderError::MissingGraph(graph.clone()))?;
        if record.manifest.runtime != Runtime::Onnx {
            return Err(failed(format!("its runtime is `{}`, and only models of the runtime `onnx` can be granted", record.manifest.runtime)));
        }
        let model = self.model(tenant, graph, &record.manifest, &record.digest).await.map_err(|error| match error {
            // No fault of the manifest's.
            LoaderError::Host(_) | LoaderError::Store(_) | LoaderError::Artifact(_) => error,
            error => failed(error.to_string()),
        })?;
        if let Some(port) = model.signature().inputs.iter().find(|port| !port.optional && !carries(port.datatype)) {
            return Err(failed(format!("its input `{}` is of type {}, for which `wasi:nn` has none", port.name, port.datatype)));
        }
        Ok(Granted { model, artifact: record.digest })
    }
}

/// Why a predictor can't be had.
enum GrantError {
    Plugin(SandboxError),
    Other(LoaderError),
}

impl From<SandboxError> for GrantError {
    fn from(error: SandboxError) -> Self {
        Self::Plugin(error)
    }
}

impl From<LoaderError> for GrantError {
    fn from(error: LoaderError) -> Self {
        Self::Other(error)
    }
}

/// Compares what a predictor says that it does with its graphs with the models that it was granted; gives what it takes
/// and gives itself.
fn fitted(description: &PredictorDescription, granted: &BTreeMap<String, Granted>) -> Result<Signature, LoaderError> {
    let find = |name: &str| {
        granted.get(name).map(|granted| granted.model.signature()).ok_or_else(|| {
            let have: Vec<_> = granted.keys().map(|name| format!("`{name}`")).collect();
            let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
            LoaderError::Mismatch(format!(
                "the predictor runs a graph `{name}`, and the manifest grants {have}: add `{name} = \"<model>@<version>\"` to `graphs` in `[predictor.grants]`"
            ))
        })
    };
    for graph in &description.graphs {
        let signature = find(&graph.name)?;
        let what = format!("the predictor, to the graph `{}`,", graph.name);
        for input in &graph.inputs {
            fit::check(&what, "gives", input, "the model takes", &signature.inputs)?;
        }
        for output in &graph.outputs {
            fit::check(&what, "looks for", output, "the model gives", &signature.outputs)?;
        }
        if let Some(other) = &graph.stands_for {
            fit::stands_for((&graph.name, signature), (other, find(other)?))?;
        }
    }
    let ports = |ports: &Ports, of: fn(&Signature) -> &Vec<Port>| -> Result<Vec<Port>, LoaderError> {
        Ok(match ports {
            Ports::Body => Vec::new(),
            Ports::Tensors(tensors) => tensors.iter().map(fit::port).collect(),
            // What can't be carried is not there for the predictor, nor for who asks it.
            Ports::Graph(name) => of(find(name)?).iter().filter(|port| carries(port.datatype)).cloned().collect(),
        })
    };
    Ok(Signature {
        inputs: ports(&description.takes, |signature| &signature.inputs)?,
        outputs: ports(&description.gives, |signature| &signature.outputs)?,
    })
}
