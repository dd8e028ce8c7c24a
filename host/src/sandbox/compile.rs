//! Compiles components in a process of its own: a compiler fed with hostile input can take minutes and gigabytes, or
//! crash. The process is this program again; the system ends it when it goes over its bounds. Plugins are configured
//! there too, since that ends with compiling them once more (`snapshot.rs`).

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::admission::Refused;
use super::{engine, snapshot};

/// The hidden subcommand of this program that compiles.
pub const SUBCOMMAND: &str = "compile-component";

/// Processor seconds of one compilation; an interpreter of 18 MiB takes 9.
const CPU_SECONDS: u64 = 30;

/// Wall-clock time of one compilation: what the processor seconds take on a busy machine.
const WALL: Duration = Duration::from_secs(90);

/// Bytes that one compilation may allocate.
const DATA_BYTES: u64 = 3 << 30;

/// Bytes of a compiled component that are taken; an interpreter of 18 MiB makes 35.
const COMPILED_BYTES: u64 = 256 << 20;

pub(super) struct Compiler {
    program: PathBuf,
    /// One at a time: an upload may wait, requests must not.
    turn: Semaphore,
}

impl Compiler {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, turn: Semaphore::new(1) }
    }

    /// Native code of a component; with a configuration, of one whose instances begin configured with it.
    pub(super) async fn compile(&self, component: Vec<u8>, config: Option<String>) -> Result<Vec<u8>, Refused> {
        // What nobody waits for must not hold up an upload: those who configure take turns among themselves.
        let stopping = |_| Refused::Host("the host is stopping".to_owned());
        let _turn = if config.is_none() { Some(self.turn.acquire().await.map_err(stopping)?) } else { None };
        let host = |error: std::io::Error| Refused::Host(format!("the compiler's process can't be run: {error}"));
        let mut command = Command::new(&self.program);
        command.arg(SUBCOMMAND);
        if let Some(config) = &config {
            command.args(["--config-bytes", &config.len().to_string()]);
        }
        let mut child =
            command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(host)?;
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
        let status = match tokio::time::timeout(WALL, work).await {
            Ok(status) => status.map_err(host)?,
            Err(_) => return Err(Refused::Compile(format!("it takes more than {} seconds", WALL.as_secs()))),
        };
        if compiled.len() as u64 > COMPILED_BYTES {
            return Err(Refused::Compile(format!("it compiles to more than {COMPILED_BYTES} bytes")));
        }
        match status.code() {
            Some(0) => Ok(compiled),
            Some(2) => Err(Refused::Malformed(said.trim().to_owned())),
            _ => {
                let bounds = format!("{CPU_SECONDS} seconds of processor time and {} MiB of memory", DATA_BYTES >> 20);
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
pub fn run_compiler(config_bytes: Option<usize>) -> Result<(), String> {
    limit(libc::RLIMIT_CPU, CPU_SECONDS)?;
    limit(libc::RLIMIT_DATA, DATA_BYTES)?;
    limit(libc::RLIMIT_CORE, 0)?;
    // No file is opened by a compiler; the pipes are there already.
    limit(libc::RLIMIT_NOFILE, 3)?;
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
    let engine = wasmtime::Engine::new(&engine::config()).map_err(short)?;
    let compiled = engine.precompile_component(&component).map_err(short)?;
    std::io::stdout().lock().write_all(&compiled).map_err(|error| error.to_string())
}

#[expect(unsafe_code, reason = "the standard library can't set limits")]
fn limit(resource: libc::__rlimit_resource_t, value: u64) -> Result<(), String> {
    let limits = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `setrlimit` reads the struct that the reference is valid for, and nothing else.
    let outcome = unsafe { libc::setrlimit(resource, &raw const limits) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}
