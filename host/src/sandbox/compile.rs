//! Compiles components in a process of its own: a compiler fed with hostile input can take minutes and gigabytes, or
//! crash. The process is this program again; the system ends it when it goes over its bounds. Plugins are configured
//! there too, since that ends with compiling them once more (`snapshot.rs`). What it may do otherwise, `confine.rs` says.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bulkhead_registry::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use wasmparser::{Validator, WasmFeatures};

use super::admission::Refused;
use super::confine::{self, Bounds};
use super::{engine, snapshot};
use crate::aside::{leave_a_processor, yield_to_requests};
use crate::clock;
use crate::tenants::Tenant;

/// The hidden subcommand of this program that compiles.
pub const SUBCOMMAND: &str = "compile-component";

/// Wall-clock time of one compilation, as a multiple of its processor seconds: what those take on a busy machine.
const WALL_FACTOR: u64 = 3;

/// How long it is remembered that a component can't be compiled, and of how many: long enough that the same bytes, sent
/// again and again, hardly cost the compiler anything, and short enough for one that only had bad luck. Arbitrary.
const REFUSED_FOR: Duration = Duration::from_secs(600);
const REFUSED: u64 = 1024;

/// How the process begins to say what it has to, where it could not be confined wholly.
const NOTE: &str = "less confined: ";

/// Bytes that one compilation may allocate.
const DATA_BYTES: u64 = 3 << 30;

/// Bytes of a compiled component that are taken; an interpreter of 18 MiB makes 35.
const COMPILED_BYTES: u64 = 256 << 20;

/// What a component may be made of: what toolchains for components use. The compiler knows more, and each proposal is code
/// that a hostile component would reach.
const FEATURES: WasmFeatures =
    WasmFeatures::WASM2.union(WasmFeatures::EXTENDED_CONST).union(WasmFeatures::MULTI_MEMORY).union(WasmFeatures::COMPONENT_MODEL);

pub(super) struct Compiler {
    program: PathBuf,
    cpu_seconds: u64,
    refused: moka::sync::Cache<Digest, Refused>,
    /// One at a time: an upload may wait, requests must not.
    turn: Semaphore,
}

impl Compiler {
    /// With so many processor seconds for each component.
    pub(super) fn new(program: PathBuf, cpu_seconds: u64) -> Self {
        let refused = moka::sync::Cache::builder().max_capacity(REFUSED).time_to_live(REFUSED_FOR).build();
        Self { program, cpu_seconds, refused, turn: Semaphore::new(1) }
    }

    /// Native code of an uploaded component.
    ///
    /// # Errors
    /// Says why there is none; the same again for the same bytes, for some time.
    pub(super) async fn compile(&self, tenant: &Tenant, digest: &Digest, component: Vec<u8>) -> Result<Vec<u8>, Refused> {
        let known = || self.refused.get(digest).map_or(Ok(()), Err);
        known()?;
        let _turn = self.turn.acquire().await.map_err(|_| Refused::Host("the host is stopping".to_owned()))?;
        // Whoever had the turn before may have sent the same.
        known()?;
        let outcome = self.charged(tenant, self.run(component, None)).await;
        if let Err(refused) = &outcome {
            self.remember(digest, refused);
        }
        outcome
    }

    /// Gives the same answer when it comes again, if it is the component's fault.
    pub(super) fn remember(&self, digest: &Digest, refused: &Refused) {
        if matches!(refused, Refused::Malformed(_) | Refused::Compile(_)) {
            self.refused.insert(*digest, refused.clone());
        }
    }

    /// Native code of a component whose instances begin configured. Takes no turn: nobody waits for it, and it must not hold
    /// up an upload; those who configure take turns among themselves.
    pub(super) async fn configure(&self, tenant: &Tenant, component: Vec<u8>, config: String) -> Result<Vec<u8>, Refused> {
        self.charged(tenant, self.run(component, Some(config))).await
    }

    /// Whoever waits for its turn is not charged for that.
    async fn charged<T>(&self, tenant: &Tenant, work: impl Future<Output = T>) -> T {
        let began = clock::now();
        let outcome = work.await;
        tenant.compiled(began.elapsed());
        outcome
    }

    async fn run(&self, component: Vec<u8>, config: Option<String>) -> Result<Vec<u8>, Refused> {
        let host = |error: std::io::Error| Refused::Host(format!("the compiler's process can't be run: {error}"));
        let mut command = Command::new(&self.program);
        command.env_clear().args([SUBCOMMAND, "--cpu-seconds", &self.cpu_seconds.to_string()]);
        if let Some(config) = &config {
            command.args(["--config-bytes", &config.len().to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(host)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(Refused::Host("the compiler's process has no pipes".to_owned()));
        };
        let feed = async move {
            // A compiler that refuses early closes its end; its own words say why.
            let _ = stdin.write_all(config.unwrap_or_default().as_bytes()).await;
            let _ = stdin.write_all(&component).await;
        };
        let (mut compiled, mut said) = (Vec::new(), String::new());
        let mut stdout = stdout.take(COMPILED_BYTES + 1);
        let mut stderr = stderr.take(4096);
        let work = async {
            let (_, out, err) = tokio::join!(feed, stdout.read_to_end(&mut compiled), stderr.read_to_string(&mut said));
            out?;
            err?;
            child.wait().await
        };
        let seconds = self.cpu_seconds.saturating_mul(WALL_FACTOR);
        let status = match tokio::time::timeout(Duration::from_secs(seconds), work).await {
            Ok(status) => status.map_err(host)?,
            // It may as well be the machine's fault.
            Err(_) => return Err(Refused::Slow(seconds)),
        };
        if compiled.len() as u64 > COMPILED_BYTES {
            return Err(Refused::Compile(format!("it compiles to more than {COMPILED_BYTES} bytes")));
        }
        let said = match said.strip_prefix(NOTE) {
            None => said.as_str(),
            Some(said) => {
                let (missing, said) = said.split_once('\n').unwrap_or((said, ""));
                tracing::warn!(missing, "the compiler's process is less confined than it should be");
                said
            }
        };
        match status.code() {
            Some(0) => Ok(compiled),
            Some(2) => Err(Refused::Malformed(said.trim().to_owned())),
            _ => {
                let bounds = format!("{} seconds of processor time and {} MiB of memory", self.cpu_seconds, DATA_BYTES >> 20);
                tracing::warn!(%status, said, "the compiler's process ended");
                Err(Refused::Compile(format!("the compiler gave up within its bounds of {bounds}")))
            }
        }
    }
}

/// The process that compiles: a component comes on standard input, after so many bytes of configuration if it is to have
/// one, and native code leaves on standard output.
///
/// # Errors
/// With what the compiler says; the exit status is 2 then.
#[expect(clippy::print_stderr, reason = "how the process talks to the host")]
pub fn run_compiler(config_bytes: Option<usize>, cpu_seconds: u64) -> Result<(), String> {
    yield_to_requests();
    leave_a_processor();
    let missing = confine::confine(&Bounds { cpu_seconds, data_bytes: DATA_BYTES })?;
    if !missing.is_empty() {
        eprintln!("{NOTE}{missing}");
    }
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).map_err(|error| error.to_string())?;
    let short = |error: wasmtime::Error| format!("{error:#}").chars().take(1000).collect::<String>();
    let component = match config_bytes {
        None => input,
        Some(bytes) => {
            let (config, component) = input.split_at_checked(bytes).ok_or("the configuration is cut off")?;
            let config = str::from_utf8(config).map_err(|error| error.to_string())?;
            // Without drivers it needs no file, of which none can be opened.
            let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
            runtime.block_on(snapshot::configured(component, config)).map_err(short)?
        }
    };
    Validator::new_with_features(FEATURES).validate_all(&component).map_err(|error| short(error.into()))?;
    let engine = wasmtime::Engine::new(&engine::config()).map_err(short)?;
    let compiled = engine.precompile_component(&component).map_err(short)?;
    std::io::stdout().lock().write_all(&compiled).map_err(|error| error.to_string())
}
