//! The composition root: builds every room once, starts, and stops.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_registry::{Artifacts, SqliteStore, Store, TenantId, garbage};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::api::{self, App, AppState, Life, Patience, Protocol};
use crate::config::{self, Config};
use crate::confined::{self, Confined};
use crate::engine::Engine;
use crate::loader::{Isolation, Loader, Parts};
use crate::predict::Slots;
use crate::sandbox::{AdmissionLimits, SandboxOptions, Sandboxes};
use crate::telemetry::metrics::Metrics;

/// What has stopped: probes are answered for as long as requests are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Not,
    Service,
    Probes,
}

/// Serves until the process is told to stop.
///
/// # Errors
/// Where something that is needed is missing: an address, a folder, ONNX Runtime.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // First: nobody waits for a load only to learn of a taken port.
    let public = api::bind(config.listen).await?;
    let grpc = api::bind(config.grpc_listen).await?;
    let admin = api::bind(config.admin_listen).await?;
    let (address, grpc_address, admin_address) = (public.local_addr()?, grpc.local_addr()?, admin.local_addr()?);
    let app = build(&config).await?;

    let (stop, stopped) = watch::channel(Stop::Not);
    let until = |stop: Stop| {
        let mut stopped = stopped.clone();
        async move {
            // The sender lives as long as this function.
            let _ = stopped.wait_for(|now| *now >= stop).await;
        }
    };
    let patience = Patience { stall: config.http.request_timeout, drain: config.http.drain_timeout };
    let at_once = Patience { drain: Duration::ZERO, ..patience };
    let probes = tokio::spawn(api::serve(admin, Protocol::Http1, api::admin(Arc::clone(&app)), until(Stop::Probes), at_once));
    let service = tokio::spawn(api::serve(public, Protocol::Http1, api::public(Arc::clone(&app)), until(Stop::Service), patience));
    let grpc_service = tokio::spawn(api::serve(grpc, Protocol::Http2, api::grpc(&app)?, until(Stop::Service), patience));
    tracing::info!(%address, grpc.address = %grpc_address, admin.address = %admin_address, version = env!("CARGO_PKG_VERSION"), "the host listens");

    let starting = tokio::spawn(start(Arc::clone(&app), config));
    told_to_stop().await?;
    tracing::info!("the host was told to stop: requests under way are answered first");
    app.life.stopping();
    stop.send_replace(Stop::Service);
    starting.abort();
    service.await.context("the listener failed")?;
    grpc_service.await.context("the listener for gRPC failed")?;
    stop.send_replace(Stop::Probes);
    probes.await.context("the admin listener failed")?;
    tracing::info!("the host has stopped");
    Ok(())
}

async fn build(config: &Config) -> anyhow::Result<App> {
    let data = &config.data_dir;
    std::fs::create_dir_all(data).with_context(|| format!("the data folder `{}` can't be made", data.display()))?;
    let lock = lock(data)?;
    let library = config::find_onnxruntime(config.engine.library.as_deref())
        .context("ONNX Runtime's library was not found: `bulkhead doctor` says how to get it")?;
    let metrics = Arc::new(Metrics::new().context("a metric is declared twice")?);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data.join("bulkhead.db")).await.context("the registry can't be opened")?);
    let artifacts = Artifacts::local(&data.join("artifacts")).context("the folder of artifacts can't be opened")?;
    artifacts.sweep().await.context("leftovers of uploads can't be removed")?;
    let removed = garbage(&*store, &artifacts).await.context("artifacts that nothing refers to can't be removed")?;
    if removed > 0 {
        tracing::info!(removed, "artifacts of uploads that were cut off were removed");
    }
    let sandboxes = Sandboxes::start(
        SandboxOptions {
            instances: config.sandbox.instances,
            cache: data.join("cache").join("components"),
            admission: AdmissionLimits { component_bytes: config.http.max_plugin_bytes, ..AdmissionLimits::default() },
            // This very program, also after the file it was started from was replaced by another build.
            compiler: PathBuf::from("/proc/self/exe"),
        },
        metrics.plugin_log_lines_dropped.clone(),
    )?;
    let engine = start_engine(&library, &config.engine)?;
    let isolation = isolation(&library, &config.engine, &engine);
    let loader = Loader::new(Parts {
        store,
        artifacts,
        engine: Arc::new(engine),
        isolation,
        sandboxes,
        slots: Arc::new(Slots::default()),
        metrics: Arc::clone(&metrics),
        models: Mutex::default(),
        plugins: Mutex::new(HashMap::new()),
        blobs: tokio::sync::RwLock::default(),
        turns: Mutex::new(HashMap::new()),
    });
    Ok(Arc::new(AppState {
        loader,
        metrics,
        in_flight: Semaphore::new(config.http.max_in_flight),
        streams: Arc::new(Semaphore::new(config.http.max_in_flight)),
        http: config.http.clone(),
        nv_names: config.telemetry.nv_names,
        life: Life::default(),
        lock,
    }))
}

/// Keeps other hosts out of the data folder: each would remove what the other is just taking in.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("`{}` can't be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another host uses the data folder `{}`: stop it, or name another with --data-dir", data.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("`{}` can't be locked", path.display())),
    }
}

fn start_engine(library: &Path, options: &config::Engine) -> anyhow::Result<Engine> {
    Engine::start(library, options.cores, options.max_queued_bytes).context("`bulkhead doctor` says how to get ONNX Runtime")
}

/// Whose models run in a process of their tenant's own.
fn isolation(library: &Path, options: &config::Engine, engine: &Engine) -> Isolation {
    // There are tenants once authentication can be required; without it there is only one.
    let confined = options.isolation.confines(false).then(|| {
        let options = confined::Options {
            // This very program, also after the file it was started from was replaced by another build.
            program: PathBuf::from("/proc/self/exe"),
            library: library.to_owned(),
            cores: options.cores,
            memory_bytes: options.process_memory_bytes,
            max_queued_bytes: options.max_queued_bytes,
        };
        Confined::new(options, engine)
    });
    Isolation::new(confined)
}

/// Loads what there is; callers are answered meanwhile, probes say `starting`.
async fn start(app: App, config: Config) {
    let began = crate::clock::now();
    let mut problems = match app.loader.restore(config.engine.cores.max(2)).await {
        Ok(problems) => problems,
        Err(error) => vec![crate::loader::Problem { what: "the registry".to_owned(), why: error.to_string() }],
    };
    problems.extend(app.loader.deploy(&TenantId::default_tenant(), &config.plugins, &config.models).await);
    let count = problems.len();
    app.life.started(problems);
    tracing::info!(ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), problems = count, "the host is ready");
    app.loader.clone().sweep().await;
}

async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
