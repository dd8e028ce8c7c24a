//! The composition root: builds every room once, starts, and stops.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_registry::{Artifacts, Origin, SqliteStore, Store, TenantId, garbage};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api::{self, Access, App, AppState, Life, Patience, Protocol, Service};
use crate::aside::{Lane, processors};
use crate::audit::AuditLog;
use crate::auth::{Authenticator, Expected, Keys, Source, development};
use crate::config::{self, Config};
use crate::confined::{self, Confined};
use crate::engine::Engine;
use crate::identity::{Identity, KeyBounds};
use crate::loader::{Blobs, Isolation, Loader, Parts};
use crate::predict::Slots;
use crate::sandbox::{AdmissionLimits, SandboxOptions, Sandboxes};
use crate::telemetry::metrics::Metrics;
use crate::tenants::{Tenants, Turns};
use crate::tls::Tls;
use crate::trust::Trust;

/// Connections to the admin listener at one time. Arbitrary: more than any number of probes keeps open.
const PROBES: usize = 1024;

/// How often what is too old is looked for.
const RETAIN: Duration = Duration::from_secs(3600);

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
    // Probes are answered, and metrics told, however busy requests keep all other threads.
    let lane = Lane::start("bulkhead-probes").context("no thread for probes")?;
    let admin = lane.spawn(api::bind(config.admin_listen))?.await??;
    let (address, grpc_address, admin_address) = (public.local_addr()?, grpc.local_addr()?, admin.local_addr()?);
    let tls = config.tls.as_ref().map(|files| Tls::open(&files.cert, &files.key)).transpose()?;
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
    let max_connections = config.http.max_connections;
    let service = |router, protocol, patience| Service { app: Arc::clone(&app), router, protocol, tls: tls.clone(), patience, max_connections };
    // A crowd at the others keeps no probe out.
    let probes = Service { max_connections: PROBES, ..service(api::admin(Arc::clone(&app)), Protocol::Http1, at_once) };
    let probes = lane.spawn(api::serve(admin, probes, until(Stop::Probes)))?;
    let public_service = service(api::public(Arc::clone(&app)), Protocol::Http1, patience);
    let public_service = tokio::spawn(api::serve(public, public_service, until(Stop::Service)));
    let grpc_service = service(api::grpc(&app)?, Protocol::Http2, patience);
    let grpc_service = tokio::spawn(api::serve(grpc, grpc_service, until(Stop::Service)));
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.keep_fresh());
    }
    tracing::info!(%address, grpc.address = %grpc_address, admin.address = %admin_address, version = env!("CARGO_PKG_VERSION"), "the host listens");

    let starting = tokio::spawn(start(Arc::clone(&app), config));
    told_to_stop().await?;
    tracing::info!("the host was told to stop: requests under way are answered first");
    app.life.stopping();
    stop.send_replace(Stop::Service);
    starting.abort();
    public_service.await.context("the listener failed")??;
    grpc_service.await.context("the listener for gRPC failed")??;
    app.access.audit.close().await;
    stop.send_replace(Stop::Probes);
    probes.await.context("the admin listener failed")??;
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
            compile_seconds: config.sandbox.compile_seconds,
        },
        metrics.sandboxes(),
    )?;
    let engine = start_engine(&library, &config.engine)?;
    let tenants = Arc::new(Tenants::new(config.quotas, config.http.max_in_flight));
    let isolation = isolation(&library, config, &engine, &tenants);
    let authenticator = authenticator(config).await?.map(Arc::new);
    let bounds = KeyBounds { per_minute: config.auth.keys_per_minute, per_tenant: config.auth.keys_per_tenant };
    let identity = Identity::open(Arc::clone(&store), authenticator.clone(), Arc::clone(&tenants), bounds);
    let identity = identity.await.context("keys and tenants can't be read")?;
    let trust = Trust::open(Arc::clone(&store), Arc::clone(&tenants), config.require_signatures).await;
    let trust = Arc::new(trust.context("trust roots and revocations can't be read")?);
    let audit = AuditLog::start(Arc::clone(&store), metrics.audit_rows_lost.clone());
    let loader = Loader::new(Parts {
        store,
        artifacts,
        engine: Arc::new(engine),
        isolation,
        sandboxes,
        slots: Arc::new(Slots::default()),
        metrics: Arc::clone(&metrics),
        tenants: Arc::clone(&tenants),
        trust,
        models: Mutex::default(),
        plugins: Mutex::new(HashMap::new()),
        blobs: Blobs::default(),
        turns: Mutex::new(HashMap::new()),
    });
    // One is left to who has less than others.
    let turns = Turns::new(processors() - 1);
    Ok(Arc::new(AppState {
        loader,
        metrics,
        access: Access { authenticator, open_docs: config.auth.open_docs, audit, tenants: Arc::clone(&tenants) },
        identity,
        tenants,
        turns,
        http: config.http.clone(),
        nv_names: config.telemetry.nv_names,
        life: Life::default(),
        lock,
    }))
}

/// What checks credentials, where they are required.
async fn authenticator(config: &Config) -> anyhow::Result<Option<Authenticator>> {
    let auth = &config.auth;
    if !auth.required {
        return Ok(None);
    }
    let source = match &auth.keys {
        config::Keys::Development => {
            let secret = development::secret(&config.data_dir).context("a secret for development can't be made")?;
            tracing::warn!(
                data = %config.data_dir.display(),
                "tokens are signed with a secret of the data folder, which is for development: set `auth.key_files` or `auth.jwks_url`"
            );
            Source::Secret(secret)
        }
        config::Keys::Files(files) => Source::Files(files.clone()),
        config::Keys::Url(url) => Source::Url(url.clone()),
    };
    let expected = Expected { issuer: auth.issuer.clone(), audience: auth.audience.clone() };
    Ok(Some(Authenticator::new(Keys::open(source).await?, expected, auth.failed_per_minute)))
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
fn isolation(library: &Path, config: &Config, engine: &Engine, tenants: &Arc<Tenants>) -> Isolation {
    let options = &config.engine;
    let confined = options.isolation.confines(config.auth.required).then(|| {
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
    Isolation::new(confined, Arc::clone(tenants))
}

/// Loads what there is; callers are answered meanwhile, probes say `starting`.
async fn start(app: App, config: Config) {
    let began = crate::clock::now();
    let mut problems = match app.loader.restore(config.engine.cores.max(2)).await {
        Ok(problems) => problems,
        Err(error) => vec![crate::loader::Problem { tenant: None, what: "the registry".to_owned(), why: error.to_string() }],
    };
    problems.extend(app.loader.deploy(&TenantId::default_tenant(), &config.plugins, &config.models).await);
    let count = problems.len();
    app.life.started(problems);
    tracing::info!(ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), problems = count, "the host is ready");
    tokio::join!(app.loader.clone().sweep(), retain(&app, config.audit.retention));
}

/// Takes off the audit what is older than is kept.
async fn retain(app: &App, retention: Option<Duration>) {
    let Some(retention) = retention else { return };
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    loop {
        match app.loader.store().retain_audit(crate::clock::unix_ms().saturating_sub(retention), &Origin::host()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "rows of the audit are older than is kept, and gone"),
            Err(error) => tracing::error!(%error, "the audit could not be shortened"),
        }
        tokio::time::sleep(RETAIN).await;
    }
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
