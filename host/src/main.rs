//! The `bulkhead` program: `serve`, and the client's commands.

use std::path::PathBuf;
use std::process::ExitCode;

use bulkhead::aside::serve_requests;
use bulkhead::config::{Config, Flags};
use bulkhead::{app, confined, sandbox, telemetry};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod cli;

/// Components make many small allocations on many threads, which is what this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A model-serving host: WebAssembly components around ONNX Runtime, each request in its own sandbox.
#[derive(Parser)]
#[command(version, name = "bulkhead")]
struct Arguments {
    #[command(flatten)]
    client: cli::ClientOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the host.
    Serve(Serve),
    /// Compile a component from standard input to standard output; the host runs this itself.
    #[command(name = sandbox::compile::SUBCOMMAND, hide = true)]
    CompileComponent {
        /// Make it a component that is configured: so many bytes of configuration come before it.
        #[arg(long)]
        config_bytes: Option<usize>,
        /// Seconds of processor time that it may take.
        #[arg(long, default_value_t = 30)]
        cpu_seconds: u64,
    },
    /// Run one tenant's models, as a host says on standard input; the host runs this itself.
    #[command(name = confined::SUBCOMMAND, hide = true)]
    EngineProcess(Confined),
    #[command(flatten)]
    Client(cli::Command),
}

#[derive(clap::Args)]
struct Serve {
    /// Where HTTP is served [default: 127.0.0.1:8000].
    #[arg(long)]
    listen: Option<String>,
    /// Where gRPC is served [default: the port after --listen].
    #[arg(long)]
    grpc_listen: Option<String>,
    /// Where probes and metrics are served too [default: two ports after --listen].
    #[arg(long)]
    admin_listen: Option<String>,
    /// Where everything is kept [default: data].
    #[arg(long)]
    data_dir: Option<String>,
    /// A configuration file.
    #[arg(long, env = "BULKHEAD_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Confined {
    /// ONNX Runtime's library.
    #[arg(long)]
    library: PathBuf,
    /// Cores that models may use.
    #[arg(long)]
    cores: usize,
    /// Bytes that may be allocated.
    #[arg(long)]
    memory_bytes: u64,
    /// Bytes of tensors that may wait.
    #[arg(long)]
    max_queued_bytes: usize,
}

fn main() -> ExitCode {
    say_nothing_of_models();
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Serve(flags) => serve(flags),
        Command::CompileComponent { config_bytes, cpu_seconds } => return inner(sandbox::compile::run_compiler(config_bytes, cpu_seconds)),
        Command::EngineProcess(Confined { library, cores, memory_bytes, max_queued_bytes }) => {
            return inner(confined::run_process(&confined::ProcessOptions { library, cores, memory_bytes, max_queued_bytes }));
        }
        Command::Client(command) => runtime().and_then(|runtime| runtime.block_on(cli::run(command, arguments.client))),
    };
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// ONNX Runtime keeps, and may send, records of how it is used, from the moment that it is loaded, unless this variable says
/// not to; what a host runs is nobody's business. A test looks for the records.
#[expect(unsafe_code, reason = "variables are read by native code, whenever it likes")]
fn say_nothing_of_models() {
    // SAFETY: the program has a single thread yet, so nobody reads or writes a variable meanwhile.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

fn serve(flags: Serve) -> anyhow::Result<ExitCode> {
    let Serve { listen, grpc_listen, admin_listen, data_dir, config } = flags;
    let config = Config::load(Flags { listen, grpc_listen, admin_listen, data_dir, config })?;
    telemetry::start(&config.telemetry)?;
    open_many_files();
    runtime()?.block_on(app::serve(config))?;
    Ok(ExitCode::SUCCESS)
}

/// Each connection is a file, and so are lanes to processes of models: as many may be open as whoever started the host allows,
/// where what is usual is far less.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "no more than {:?} files can be open", limit.current);
    }
}

/// How a process ends that a host runs.
fn inner(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::from(2)
        }
    }
}

/// Tasks that a thread runs before it looks for what sockets and timers have to say. The runtime's own default is 61: of tasks
/// of some tens of microseconds, that would be milliseconds. A look costs half a microsecond.
const LOOK_EVERY: u32 = 16;

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().event_interval(LOOK_EVERY).on_thread_start(serve_requests).enable_all().build()?)
}

#[expect(clippy::print_stderr, reason = "the last words of a program that ends")]
fn say(message: &str) {
    eprintln!("{message}");
}
