//! Settings: the only room that reads the environment and the configuration file.
//!
//! Precedence is flag, environment, file, default. A key `section.key` of the file is the variable
//! `BULKHEAD_SECTION_KEY`. Unknown keys are mistakes, and all mistakes are reported at once.

mod auth;
mod deploy;
mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use auth::{Audit, Auth, Keys, TlsFiles};
use bulkhead_registry::Quotas;
pub use deploy::{DeployModel, DeployPlugin};
use reader::Reader;
use tracing_subscriber::EnvFilter;

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where gRPC is served.
    pub grpc_listen: SocketAddr,
    /// Where probes and metrics are served too.
    pub admin_listen: SocketAddr,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// `[http]`.
    pub http: Http,
    /// `[sandbox]`.
    pub sandbox: Sandbox,
    /// `[engine]`.
    pub engine: Engine,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[auth]`.
    pub auth: Auth,
    /// `[tls]`; none speaks plain text.
    pub tls: Option<TlsFiles>,
    /// Only what is signed is taken in and run, of every tenant.
    pub require_signatures: bool,
    /// `[audit]`.
    pub audit: Audit,
    /// `[quotas]`: of a tenant about which nothing was said.
    pub quotas: Quotas,
    /// `[[plugins]]`: deployed at start.
    pub plugins: Vec<DeployPlugin>,
    /// `[[models]]`: deployed at start.
    pub models: Vec<DeployModel>,
}

/// Bounds of requests.
#[derive(Debug, Clone)]
pub struct Http {
    /// Bytes of a predict request's body.
    pub max_body_bytes: u64,
    /// Bytes of a model's artifact.
    pub max_model_bytes: u64,
    /// Bytes of a plugin.
    pub max_plugin_bytes: u64,
    /// Time for a predict request, from its head to its answer.
    pub request_timeout: Duration,
    /// Time that requests under way get when the host is stopped.
    pub drain_timeout: Duration,
    /// Predict requests at one time.
    pub max_in_flight: usize,
    /// Open connections of each listener but the one for probes.
    pub max_connections: usize,
}

/// Bounds of sandboxes.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Instances at one time.
    pub instances: u32,
    /// Processor seconds of compiling one component.
    pub compile_seconds: u64,
}

/// The runtime of models.
#[derive(Debug, Clone)]
pub struct Engine {
    /// ONNX Runtime's shared library; none looks for it.
    pub library: Option<PathBuf>,
    /// Cores that models may use.
    pub cores: usize,
    /// Bytes of tensors that requests may hold while they wait for models.
    pub max_queued_bytes: usize,
    /// Whose models run in a process of their tenant's own.
    pub isolation: Isolation,
    /// Bytes that such a process may allocate.
    pub process_memory_bytes: u64,
}

/// Whose models run in a process of their tenant's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of tenants that are not trusted, where there are tenants: where authentication is required.
    Auto,
    /// Nobody's.
    Off,
    /// Those of tenants that are not trusted.
    Process,
}

impl Isolation {
    /// Whether any are.
    #[must_use]
    pub fn confines(self, authentication: bool) -> bool {
        match self {
            Self::Auto => authentication,
            Self::Off => false,
            Self::Process => true,
        }
    }
}

/// Log lines.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Which lines, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
    /// Metrics go by Triton's names too.
    pub nv_names: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the command line says; it goes before everything else.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--listen`.
    pub listen: Option<String>,
    /// `--grpc-listen`.
    pub grpc_listen: Option<String>,
    /// `--admin-listen`.
    pub admin_listen: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
}

/// All that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("the settings have {} mistake{}:\n{}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.iter().map(|mistake| format!("  - {mistake}")).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(pub Vec<String>);

const MIB: u64 = 1 << 20;

impl Config {
    /// Reads flags, environment and file.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(flags: Flags) -> Result<Self, Mistakes> {
        let folder = flags.config.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        let text = match &flags.config {
            Some(path) => std::fs::read_to_string(path).map_err(|error| Mistakes(vec![format!("`{}` can't be read: {error}", path.display())]))?,
            None => String::new(),
        };
        // Those that are no text can't be ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(&text, &folder, flags, variables)
    }

    fn parse(text: &str, folder: &Path, flags: Flags, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(text)?;
        reader.environment(environment);
        for (key, value) in
            [("listen", flags.listen), ("grpc_listen", flags.grpc_listen), ("admin_listen", flags.admin_listen), ("data_dir", flags.data_dir)]
        {
            if let Some(value) = value {
                reader.set(key, value);
            }
        }
        let listen = reader.address("listen", SocketAddr::from(([127, 0, 0, 1], 8000)));
        let further = |ports: u16| SocketAddr::new(listen.ip(), if listen.port() == 0 { 0 } else { listen.port().saturating_add(ports) });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = Self {
            listen,
            grpc_listen: reader.address("grpc_listen", further(1)),
            admin_listen: reader.address("admin_listen", further(2)),
            data_dir: PathBuf::from(reader.text("data_dir", "data")),
            http: Http {
                max_body_bytes: reader.number("http.max_body_mb", 1..=4096, 64) * MIB,
                max_model_bytes: reader.number("http.max_model_mb", 1..=1 << 20, 4096) * MIB,
                max_plugin_bytes: reader.number("http.max_plugin_mb", 1..=1024, 32) * MIB,
                request_timeout: Duration::from_millis(reader.number("http.request_timeout_ms", 1..=3_600_000, 60_000)),
                drain_timeout: Duration::from_millis(reader.number("http.drain_timeout_ms", 0..=3_600_000, 30_000)),
                max_in_flight: reader.number("http.max_in_flight", 1..=1 << 20, 1024) as usize,
                max_connections: reader.number("http.max_connections", 1..=1 << 20, 8192) as usize,
            },
            sandbox: Sandbox {
                instances: reader.number("sandbox.instances", 1..=10_000, 512) as u32,
                compile_seconds: reader.number("sandbox.compile_seconds", 1..=3600, 30),
            },
            engine: Engine {
                library: reader.optional_text("engine.library").map(PathBuf::from),
                cores: reader.number("engine.cores", 1..=4096, cores as u64) as usize,
                max_queued_bytes: (reader.number("engine.max_queued_mb", 1..=1 << 20, 1024) * MIB) as usize,
                isolation: reader.choice(
                    "engine.isolation",
                    &[("auto", Isolation::Auto), ("off", Isolation::Off), ("process", Isolation::Process)],
                    Isolation::Auto,
                ),
                process_memory_bytes: reader.number("engine.process_memory_mb", 64..=1 << 20, 2048) * MIB,
            },
            telemetry: Telemetry {
                filter: reader.text("telemetry.filter", "info"),
                format: reader.choice("telemetry.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)], LogFormat::Text),
                nv_names: reader.boolean("telemetry.nv_metrics", false),
            },
            auth: auth::auth(&mut reader, folder),
            tls: auth::tls(&mut reader, folder),
            require_signatures: reader.boolean("require_signatures", false),
            audit: auth::audit(&mut reader),
            quotas: auth::quotas(&mut reader),
            plugins: deploy::plugins(&mut reader, folder),
            models: deploy::models(&mut reader, folder),
        };
        if let Err(error) = EnvFilter::try_new(&config.telemetry.filter) {
            reader.mistake(format!(
                "`telemetry.filter`: expected such as `info` or `info,bulkhead::engine=debug`, got `{}`: {error}",
                config.telemetry.filter
            ));
        }
        for (key, address) in [("listen", config.listen), ("grpc_listen", config.grpc_listen), ("admin_listen", config.admin_listen)] {
            if !config.auth.required && !address.ip().is_loopback() {
                reader.mistake(format!(
                    "`{key}`: `{address}` is no loopback address, and authentication is off: anybody could upload code; set `auth.mode = \"required\"` (BULKHEAD_AUTH_MODE), or listen on 127.0.0.1"
                ));
            }
        }
        reader.finish()?;
        Ok(config)
    }
}

/// A folder that a variable names; an empty one names none.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where cargo keeps the sources of dependencies.
#[must_use]
pub fn cargo_home() -> Option<PathBuf> {
    variable("CARGO_HOME").or_else(|| Some(variable("HOME")?.join(".cargo")))
}

/// Where the cache of things that were fetched lies, ONNX Runtime among them.
fn cache_dirs() -> Vec<PathBuf> {
    let own = variable("BULKHEAD_CACHE_DIR");
    let user = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache"))).map(|cache| cache.join("bulkhead"));
    own.or(user).into_iter().collect()
}

/// ONNX Runtime's library: where the settings, `ORT_DYLIB_PATH` or the cache have it.
#[must_use]
pub fn find_onnxruntime(setting: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = setting {
        return Some(path.to_owned());
    }
    if let Some(path) = variable("ORT_DYLIB_PATH") {
        return Some(path);
    }
    let mut found = Vec::new();
    for cache in cache_dirs() {
        for folder in std::fs::read_dir(cache).into_iter().flatten().flatten() {
            if !folder.file_name().to_string_lossy().starts_with("onnxruntime-") {
                continue;
            }
            for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if file.file_name().to_string_lossy().starts_with("libonnxruntime.so") {
                    found.push(file.path());
                }
            }
        }
    }
    // The newest, should there be several; the GPU build has to be asked for.
    found.retain(|path| !path.to_string_lossy().contains("gpu"));
    found.sort();
    found.pop()
}

#[cfg(test)]
mod tests;
