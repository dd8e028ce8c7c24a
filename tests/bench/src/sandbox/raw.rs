//! The plain loop: what wasmtime's documentation leads to, with the pooling allocator's default settings.

use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Error, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::{Call, Trial};
use bindings::TransformPre;
use bindings::bulkhead::plugin::{log, types};

mod bindings {
    #![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from `wit/`")]

    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "transform",
        exports: { default: async },
    });
}

/// Epochs are on but nothing ticks: more than a loop could use up.
const NEVER: u64 = 1 << 40;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, _: log::Level, _: String) {}
}

pub(super) struct Loop {
    engine: Engine,
    pre: TransformPre<State>,
    config: String,
    call: Call,
}

impl Loop {
    pub(super) fn new(trial: &Trial, component: &[u8]) -> Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default()));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        types::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let component = Component::new(&engine, component)?;
        let pre = TransformPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre, config: trial.config.to_owned(), call: trial.call })
    }

    pub(super) async fn cycles(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
            let mut store = Store::new(&self.engine, state);
            store.set_epoch_deadline(NEVER);
            let instance = self.pre.instantiate_async(&mut store).await?;
            let guest = instance.bulkhead_plugin_transformer();
            let request = types::RequestInfo {
                id: "0123456789abcdef0123456789abcdef".to_owned(),
                model: "iris".to_owned(),
                version: "1.0.0".to_owned(),
                headers: Vec::new(),
                time_left_us: 60_000_000,
            };
            guest.call_configure(&mut store, &self.config).await?.map_err(refused)?;
            match self.call {
                Call::Before(record) => {
                    let payload = types::Payload::Json(record.to_owned());
                    drop(guest.call_before(&mut store, Some(&request), &payload).await?.map_err(refused)?);
                }
                Call::After(name, values) => {
                    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                    let tensor = types::Tensor { name: name.to_owned(), datatype: types::Datatype::Fp32, shape: vec![1, 3], data };
                    let payload = types::Payload::Tensors(vec![tensor]);
                    drop(guest.call_after(&mut store, Some(&request), &payload).await?.map_err(refused)?);
                }
            }
        }
        Ok(())
    }
}

fn refused(error: types::PluginError) -> Error {
    Error::msg(format!("the transform refused: {error:?}"))
}
