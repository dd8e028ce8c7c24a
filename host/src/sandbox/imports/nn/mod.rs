//! `wasi:nn`: a guest's way to the models that its grants name.
//!
//! Tensors that a guest makes are kept here, counted as its memory, and move to the engine when they are computed with;
//! what comes out is copied once, into the guest, when it asks for it.

#![expect(unreachable_pub, reason = "the generated bindings hand on the types of resources")]

mod compute;
mod host;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable, ResourceTableError, ResourceType};
use wasmtime::{Result, StoreContextMut};

use crate::runner::{Load, RunTimes, Runner, Terms};
pub use compute::{carries, travels_as};

pub(in crate::sandbox) use crate::sandbox::bindings::predictor::wasi::nn::errors::ErrorCode;
use crate::sandbox::bindings::predictor::wasi::nn::{errors, graph, inference, tensor};
use crate::sandbox::errand::Errands;
use crate::sandbox::store::{Ctx, HANDLES};

/// What a predictor gets beyond log lines. Nothing by default.
#[derive(Clone, Default)]
pub struct Grants {
    /// Models that it may run, by the names that it calls them.
    pub graphs: BTreeMap<String, Arc<dyn Runner>>,
    /// Whether it may bring models along as bytes.
    pub load: Option<LoadGrant>,
}

/// The right to bring models along.
#[derive(Clone)]
pub struct LoadGrant {
    /// Bytes of all models of one request.
    pub max_bytes: usize,
    /// What loads them.
    pub loader: Arc<dyn Load>,
}

/// Bytes of an error's text. Arbitrary.
const ERROR_BYTES: usize = 1000;

/// Models that a request may bring along; each is a session with a thread. Arbitrary.
const BROUGHT: usize = 4;

/// What a guest made, or was given.
pub struct Tensor {
    dimensions: Vec<u32>,
    ty: tensor::TensorType,
    data: Bytes,
}

/// A model that a guest may run.
pub struct Graph(Arc<dyn Runner>);

/// The same: there is nothing to prepare.
pub struct Context(Arc<dyn Runner>);

/// Why the host did not do what a guest asked for.
pub struct Error {
    code: ErrorCode,
    data: String,
}

impl Error {
    /// Cut where it repeats much of what the guest said: the host keeps it.
    fn new(code: ErrorCode, data: impl Into<String>) -> Self {
        let data: String = data.into();
        Self { code, data: if data.len() <= ERROR_BYTES { data } else { data.chars().take(ERROR_BYTES).collect() } }
    }
}

/// A guest's tensors, graphs and errors.
pub(in crate::sandbox) struct Nn {
    table: ResourceTable,
    grants: Arc<Grants>,
    pub(in crate::sandbox) errands: Errands,
    /// Of the request; none where no request is served, so that nothing can be computed.
    terms: Option<Terms>,
    /// Models that this request brought along, and their bytes.
    brought: usize,
    brought_bytes: usize,
    /// Where the time of this request's runs went.
    pub(in crate::sandbox) times: RunTimes,
}

impl Nn {
    pub(in crate::sandbox) fn new(grants: Arc<Grants>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self { table, grants, errands: Errands::default(), terms: None, brought: 0, brought_bytes: 0, times: RunTimes::default() }
    }

    /// Begins with a request, or another one. Before the first nothing can be loaded or run, so that `configure` does the same
    /// whenever it is called.
    pub(in crate::sandbox) fn serve(&mut self, terms: Terms) {
        self.terms = Some(terms);
        self.times = RunTimes::default();
    }

    /// Whether the guest brought models along, which it may keep.
    pub(in crate::sandbox) fn has_brought(&self) -> bool {
        self.brought > 0
    }
}

/// Whether it belongs to this interface, of the release that is linked.
pub(in crate::sandbox) fn is_it(import: &str) -> bool {
    ["tensor", "graph", "inference", "errors"]
        .iter()
        .any(|name| import.strip_prefix("wasi:nn/").is_some_and(|rest| rest == format!("{name}@{RELEASE}")))
}

/// The only release: drafts are not compatible with each other.
const RELEASE: &str = "0.2.0-rc-2024-10-28";

pub(super) fn link(linker: &mut Linker<Ctx>) -> Result<()> {
    graph::add_to_linker::<_, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    inference::add_to_linker::<_, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    errors::add_to_linker::<_, HasSelf<Ctx>>(linker, |ctx| ctx)?;
    // By hand: the generated face of `data` would copy what it gives once more than the guest does.
    let mut interface = linker.instance(&format!("wasi:nn/tensor@{RELEASE}"))?;
    interface.resource("tensor", ResourceType::host::<Tensor>(), |mut store: StoreContextMut<'_, Ctx>, tensor| {
        store.data_mut().drop_tensor(&Resource::new_own(tensor))
    })?;
    interface.func_wrap("[constructor]tensor", |mut store, (dimensions, ty, data): (Vec<u32>, tensor::TensorType, Vec<u8>)| {
        Ok((store.data_mut().new_tensor(dimensions, ty, data)?,))
    })?;
    interface.func_wrap("[method]tensor.dimensions", |mut store, (tensor,): (Resource<Tensor>,)| {
        Ok((store.data_mut().tensor(&tensor)?.dimensions.clone(),))
    })?;
    interface.func_wrap("[method]tensor.ty", |mut store, (tensor,): (Resource<Tensor>,)| Ok((store.data_mut().tensor(&tensor)?.ty,)))?;
    interface.func_wrap("[method]tensor.data", |mut store, (tensor,): (Resource<Tensor>,)| Ok((store.data_mut().tensor(&tensor)?.data.clone(),)))
}

impl Ctx {
    /// The state of a guest that imports `wasi:nn`.
    fn nn(&mut self) -> Result<&mut Nn> {
        self.nn.as_deref_mut().ok_or_else(|| wasmtime::Error::msg("this guest has no wasi:nn"))
    }

    fn tensor(&mut self, tensor: &Resource<Tensor>) -> Result<&Tensor> {
        Ok(self.nn()?.table.get(tensor)?)
    }

    /// Counts a tensor as the guest's memory. One that does not fit ends the guest, since the constructor can't refuse.
    fn new_tensor(&mut self, dimensions: Vec<u32>, ty: tensor::TensorType, data: impl Into<Bytes>) -> Result<Resource<Tensor>> {
        let data = data.into();
        if !self.meter.hold(cost(&dimensions, data.len())) {
            return Err(wasmtime::Error::msg("tensors take more memory than the component is granted"));
        }
        Ok(self.nn()?.table.push(Tensor { dimensions, ty, data })?)
    }

    fn drop_tensor(&mut self, tensor: &Resource<Tensor>) -> Result<()> {
        self.take_tensor(Resource::new_own(tensor.rep())).map(drop)
    }

    /// Out of the guest's hands, and no longer its memory.
    fn take_tensor(&mut self, tensor: Resource<Tensor>) -> Result<Tensor> {
        let tensor = self.nn()?.table.delete(tensor)?;
        self.meter.release(cost(&tensor.dimensions, tensor.data.len()));
        Ok(tensor)
    }

    fn failed<T>(&mut self, error: Error) -> Result<std::result::Result<T, Resource<Error>>> {
        Ok(Err(self.push(error)?))
    }

    fn push<T: Send + 'static>(&mut self, value: T) -> Result<Resource<T>> {
        self.nn()?.table.push(value).map_err(|error: ResourceTableError| error.into())
    }
}

/// What a tensor takes of the host's memory.
fn cost(dimensions: &[u32], data_bytes: usize) -> usize {
    data_bytes.saturating_add(size_of_val(dimensions)).saturating_add(size_of::<Tensor>())
}
