//! Wasmtime, configured once: every number below has its reason.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_registry::Digest;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::admission::{AdmissionLimits, Refused};
use super::cache::Cache;
use super::compile::Compiler;
use super::imports;
use super::imports::log::LogSource;
use super::measure;
use super::overtime::Overtime;
use super::places::{self, AllPlaces};
use super::plugin::Plugin;
use super::store::Ctx;
use crate::aside::{apart, leave_a_processor, processors};
use crate::clock::Ticker;
use crate::telemetry::metrics::SandboxMetrics;
use crate::tenants::Tenant;

/// A guest is looked at this often, and yields its thread to others then.
const TICK: Duration = Duration::from_millis(1);

/// Bytes of a guest's stack. A guest that recurses further traps.
const WASM_STACK: usize = 512 << 10;

/// Bytes of the stack that a guest and the host functions it calls share; the rest is the host functions'.
const ASYNC_STACK: usize = 1 << 20;

/// How the sandboxes are made.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Instances at one time; each may hold as many memories and core modules as the pool grants on average.
    pub instances: u32,
    /// Where compiled components are kept.
    pub cache: PathBuf,
    /// Bounds of an upload.
    pub admission: AdmissionLimits,
    /// The program that compiles: this one, with its `compile` subcommand.
    pub compiler: PathBuf,
    /// Processor seconds of one compilation.
    pub compile_seconds: u64,
}

/// Makes sandboxes; cheap to clone.
#[derive(Clone)]
pub struct Sandboxes(pub(super) Arc<Shared>);

/// What makes them.
pub(super) struct Shared {
    inner: Arc<Inner>,
    pub(super) linker: Linker<Ctx>,
    compiler: Compiler,
    cache: Cache,
    admission: AdmissionLimits,
    metrics: SandboxMetrics,
    /// One configuration at a time is made ahead of requests, so that an upload never waits for more.
    pub(super) ahead: Semaphore,
}

/// What every sandbox shares.
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) ticker: Ticker,
    pub(super) places: AllPlaces,
    pub(super) overtime: Overtime,
}

impl Sandboxes {
    /// Reserves the address space of all sandboxes and starts the clock that bounds guests.
    ///
    /// # Errors
    /// Where the system gives no address space, no thread, or no folder for the cache.
    pub fn start(options: SandboxOptions, metrics: SandboxMetrics) -> anyhow::Result<Self> {
        let mut instances = options.instances;
        let engine = pooling_engine(instances).or_else(|error| {
            // Containers with a bound on address space; a pool of an eighth serves an eighth of the requests at once.
            tracing::warn!(error = format!("{error:#}"), "no address space for {instances} sandboxes; trying an eighth");
            instances = (instances / 8).max(1);
            pooling_engine(instances)
        })?;
        let weak = engine.weak();
        let ticker = Ticker::start("bulkhead-epoch", TICK, move || {
            if let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
            }
        })
        .context("no thread for the epoch")?;
        let cache = Cache::open(&options.cache, fingerprint(&engine)).context("the cache of compiled components can't be opened")?;
        let mut linker = Linker::new(&engine);
        imports::link(&mut linker).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let overtime = Overtime::start(processors()).context("no threads for guests that take long")?;
        let inner = Inner { engine, ticker, places: AllPlaces::new(instances), overtime };
        let compiler = Compiler::new(options.compiler, options.compile_seconds);
        let (inner, admission, ahead) = (Arc::new(inner), options.admission, Semaphore::new(1));
        Ok(Self(Arc::new(Shared { inner, linker, compiler, cache, admission, metrics, ahead })))
    }

    /// Checks, compiles and tries an uploaded component.
    ///
    /// # Errors
    /// [`Refused`] says which of the rules it breaks.
    pub async fn admit(&self, tenant: &Arc<Tenant>, plugin: &str, digest: &Digest, bytes: Vec<u8>) -> Result<Plugin, Refused> {
        let admitted = self.check_and_try(tenant, plugin, digest, bytes).await;
        if let Err(refused) = &admitted {
            self.0.metrics.refused(refused.label());
        }
        admitted
    }

    async fn check_and_try(&self, tenant: &Arc<Tenant>, plugin: &str, digest: &Digest, bytes: Vec<u8>) -> Result<Plugin, Refused> {
        let limits = self.0.admission;
        let checked = apart(move || {
            leave_a_processor();
            measure::check(&bytes, limits).map(|()| bytes)
        });
        let checked = checked.await;
        let bytes = checked.map_err(|error| Refused::Host(error.to_string()))??;
        let plugin = self.load(tenant, plugin, digest, bytes).await?;
        plugin.smoke().await?;
        Ok(plugin)
    }

    /// A component that was admitted before: from the cache, or compiled once more.
    ///
    /// # Errors
    /// As [`Sandboxes::admit`].
    pub async fn load(&self, tenant: &Arc<Tenant>, plugin: &str, digest: &Digest, bytes: Vec<u8>) -> Result<Plugin, Refused> {
        let component = match self.cached(*digest).await {
            Some(component) => component,
            None => self.compile(tenant, *digest, bytes, None).await?,
        };
        let log = LogSource::new(tenant.id().to_string(), plugin.to_owned(), self.0.metrics.log_lines_dropped.clone());
        Plugin::new(Arc::clone(&self.0.inner), &self.0.linker, &component, *digest, (Arc::clone(tenant), log))
    }

    /// Compiles a component, with a configuration in it where there is one, and keeps the outcome under the digest.
    pub(super) async fn compile(&self, tenant: &Tenant, digest: Digest, bytes: Vec<u8>, config: Option<String>) -> Result<Component, Refused> {
        let is_upload = config.is_none();
        let compiled = match config {
            None => self.0.compiler.compile(tenant, &digest, bytes).await?,
            Some(config) => self.0.compiler.configure(tenant, bytes, config).await?,
        };
        let this = self.clone();
        let made = apart(move || {
            leave_a_processor();
            match this.0.cache.put(&digest, &compiled) {
                // From the file, as at the next start: its pages come as they are needed, and go as others need them.
                Ok(()) => {
                    if let Some(Ok(component)) = this.0.cached(&digest) {
                        return Ok(component);
                    }
                }
                Err(error) => tracing::warn!(%error, "a compiled component can't be kept: it will be compiled again at the next start"),
            }
            this.0.deserialize(&compiled).map_err(|error| Refused::Compile(error.to_string()))
        });
        let made = made.await.map_err(|error| Refused::Host(error.to_string()))?;
        // What does not fit into a sandbox is found here.
        if let Err(refused) = &made
            && is_upload
        {
            self.0.compiler.remember(&digest, refused);
        }
        made
    }

    /// What was compiled before.
    pub(super) async fn cached(&self, digest: Digest) -> Option<Component> {
        let this = self.clone();
        match apart(move || this.0.cached(&digest)).await.ok().flatten()? {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "a compiled component is of no use any more: compiling it again");
                None
            }
        }
    }
}

impl Shared {
    fn cached(&self, digest: &Digest) -> Option<wasmtime::Result<Component>> {
        let mut file = self.cache.get(digest)?;
        // A file of a folder that is mounted without the right to execute can't be mapped; its content can be used.
        Some(self.map(&file).or_else(|_| self.deserialize(&Cache::bytes(&mut file)?)))
    }

    #[expect(unsafe_code, reason = "wasmtime runs what it is given here")]
    fn deserialize(&self, compiled: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the bytes come from our own compiler, over a pipe or from a file as in `map`.
        unsafe { Component::deserialize(&self.inner.engine, compiled) }
    }

    #[expect(unsafe_code, reason = "wasmtime runs what it is given here")]
    fn map(&self, file: &File) -> wasmtime::Result<Component> {
        // The very file that was authenticated, whatever its name stands for by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the cache gives only what it can authenticate as having come from our own compiler (`cache.rs`; tested
        // there with flipped bits and swapped files). It lies in a folder for this user only, and is replaced or removed
        // there, never written to.
        unsafe { Component::deserialize_file(&self.inner.engine, path) }
    }
}

/// What every engine, the one that compiles and the one that runs, must agree on.
pub(super) fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // The concurrency of WASI 0.3, which no world here uses: it doubles the cost of a call.
    config.concurrency_support(false);
    config.max_wasm_stack(WASM_STACK);
    config.async_stack_size(ASYNC_STACK);
    // Proposals that no toolchain for components needs; each is code that a hostile component would reach. Multiple
    // memories stay on: components that are made of several modules need them.
    config.gc_support(false);
    config.wasm_gc(false);
    config.wasm_tail_call(false);
    config.wasm_relaxed_simd(false);
    config.wasm_memory64(false);
    // Only the cause of a trap reaches anybody; a guest chooses its function names.
    config.wasm_backtrace_max_frames(NonZeroUsize::new(8));
    config
}

/// Core instances of a component.
const CORE_INSTANCES: u32 = 64;

/// An engine for so many instances that serve, and those that are kept warm beside them.
fn pooling_engine(serving: u32) -> anyhow::Result<Engine> {
    let instances = serving + places::idle(serving);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances);
    // A Rust component is one core module, a Python one 38. They are merely counted: none is refused while there are places.
    pool.total_core_instances(instances.saturating_mul(CORE_INSTANCES));
    // A memory takes 4 GiB of address space, so that its bounds need no checks; JavaScript components have three. Who has more
    // than these takes more places.
    pool.total_memories(instances.saturating_mul(places::MEMORIES));
    pool.total_tables(instances.saturating_mul(places::TABLES));
    pool.total_stacks(instances);
    pool.max_core_instances_per_component(CORE_INSTANCES);
    pool.max_memories_per_component(4);
    pool.max_tables_per_component(8);
    // Metadata of a Python component is about 1 MiB.
    pool.max_component_instance_size(2 << 20);
    pool.max_core_instance_size(1 << 20);
    // The largest honest table seen, StarlingMonkey's, has 7,688 elements.
    pool.table_elements(20_000);
    // The most that a manifest may grant.
    pool.max_memory_size(256 << 20);
    // Slots that keep their pages for the next instance of the same component.
    pool.max_unused_warm_slots(64);
    // Pages that stay mapped between requests, so that a fresh instance does not begin with page faults: they are
    // zeroed or restored instead, and with `pagemap_scan` only where they were written. Together these are worth a
    // third of a fresh instance's cost (README, performance).
    pool.linear_memory_keep_resident(512 << 10);
    pool.async_stack_keep_resident(64 << 10);
    pool.table_keep_resident(64 << 10);
    pool.pagemap_scan(Enabled::Auto);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// Changes with everything that makes compiled code unusable: version, settings, processor features.
fn fingerprint(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
