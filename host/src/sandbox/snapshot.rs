//! An instance as its configuration left it, made into a component of its own: instances of that begin configured, and
//! share the pages that configuring wrote until they write to them themselves.
//!
//! The guest runs here in the compiler's process (`compile.rs`), under that process's bounds and those of a trial. It may
//! do something else than it did when its configuration was tried: whatever comes out is checked like an upload.

use std::time::Duration;

use wasmtime::component::{Component, ComponentExportIndex, HasSelf, Instance, Lift, Linker, WasmList};
use wasmtime::{Engine, OptLevel, Result, Store, error::Context as _};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::bindings::bulkhead::plugin::types::PluginError;
use super::bindings::bulkhead::plugin::{log, types};
use super::engine;
use super::limits::{MEMORIES, Meter};
use super::plugin::TRIAL;
use super::world::World;

/// Bytes of a component with a configuration in it; with more, reading the configuration at each request is cheaper.
const LARGEST: usize = 32 << 20;

/// What the instrumentation adds to a memory each time it reads it, twice.
const READING_BYTES: usize = 2 * (64 << 10);

/// Wall-clock time for what took less than [`TRIAL`] in a sandbox: badly compiled as it is here, on a busy machine.
const CONFIGURE: Duration = Duration::from_secs(10);

/// How often the bound on time is looked at.
const TICK: Duration = Duration::from_millis(10);

/// The host's side of a guest that is being configured. What it logs was logged when the configuration was tried.
struct Silent(Meter);

impl log::Host for Silent {
    fn write(&mut self, _: log::Level, _: String) -> Result<()> {
        Ok(())
    }
}

impl types::Host for Silent {}

/// The component with the state that `configure` leaves.
///
/// # Errors
/// Where the component can't be copied (it changes its tables, say) or refuses the configuration.
pub(super) async fn configured(component: &[u8], config: &str) -> Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    // All exports stay as they are: without this, one of a certain name is dropped, and others may take its number.
    wizer.keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(component)?;
    let mut settings = engine::config();
    // It runs once: compiling it well would take longer than running it.
    settings.cranelift_opt_level(OptLevel::None);
    // Images of memory for further instances would be files, of which the process may open none.
    settings.memory_init_cow(false);
    let engine = Engine::new(&settings)?;
    let mut store = Store::new(&engine, Silent(Meter::new(TRIAL.memory_bytes + MEMORIES * READING_BYTES)));
    store.limiter(|silent| &mut silent.0);
    // A memory is read as a whole.
    store.set_hostcall_fuel(usize::MAX);
    let mut linker = Linker::new(&engine);
    types::add_to_linker::<_, HasSelf<_>>(&mut linker, |silent: &mut Silent| silent)?;
    log::add_to_linker::<_, HasSelf<_>>(&mut linker, |silent: &mut Silent| silent)?;
    let component = Component::new(&engine, &instrumented)?;
    // No graph can be loaded while a plugin is configured: what asks for one can't be copied.
    linker.define_unknown_imports_as_traps(&component)?;
    // From here on: compiling takes longer than configuring may.
    store.set_epoch_deadline(CONFIGURE.as_millis().div_ceil(TICK.as_millis()) as u64);
    let ticking = engine.clone();
    // Ends with the process.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK);
            ticking.increment_epoch();
        }
    });
    let instance = linker.instantiate_async(&mut store, &component).await?;
    let configure = World::ALL
        .iter()
        .find_map(|world| component.get_export_index(None, world.interface()))
        .and_then(|interface| component.get_export_index(Some(&interface), "configure"))
        .context("it has no `configure`")?;
    let configure = instance.get_typed_func::<(&str,), (Result<(), PluginError>,)>(&mut store, configure)?;
    let (outcome,) = configure.call_async(&mut store, (config,)).await?;
    outcome.map_err(|error| wasmtime::Error::msg(format!("it refuses the configuration: {error:?}")))?;
    let mut reader = Reader { store, instance, failure: None };
    let snapshot = wizer.snapshot_component(&context, &mut reader).await?;
    match reader.failure {
        Some(failure) => Err(failure),
        None if snapshot.len() > LARGEST => Err(wasmtime::Error::msg(format!("it has {} bytes once configured", snapshot.len()))),
        None => Ok(snapshot),
    }
}

/// Reads the state of an instance by the functions that the instrumentation gave it.
struct Reader {
    store: Store<Silent>,
    instance: Instance,
    /// The first; what is read after it means nothing.
    failure: Option<wasmtime::Error>,
}

impl Reader {
    async fn read<T: Lift + Send + Sync + 'static, U>(
        &mut self,
        interface: &str,
        name: &str,
        with: impl FnOnce(&Store<Silent>, T) -> U,
    ) -> Option<U> {
        let read = self.call(interface, name).await;
        match read {
            Ok(value) => Some(with(&self.store, value)),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    async fn call<T: Lift + Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> Result<T> {
        let function = self.find(interface, name).with_context(|| format!("the instrumentation has no `{name}`"))?;
        let function = self.instance.get_typed_func::<(), (T,)>(&mut self.store, function)?;
        let (value,) = function.call_async(&mut self.store, ()).await?;
        Ok(value)
    }

    fn find(&mut self, interface: &str, name: &str) -> Option<ComponentExportIndex> {
        let interface = self.instance.get_export_index(&mut self.store, None, interface)?;
        self.instance.get_export_index(&mut self.store, Some(&interface), name)
    }
}

impl ComponentInstanceState for Reader {
    async fn call_func_ret_list_u8(&mut self, interface: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.read(interface, name, |store, list: WasmList<u8>| contents(list.as_le_slice(store))).await;
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.read(interface, name, |_, value| value).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.read(interface, name, |_, value| value).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.read(interface, name, |_, value: f32| value.to_bits()).await.unwrap_or_default()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.read(interface, name, |_, value: f64| value.to_bits()).await.unwrap_or_default()
    }
}
