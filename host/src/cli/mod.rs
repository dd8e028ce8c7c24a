//! The command line beside `serve`: a client of the HTTP interface, and what plugin authors need on their own machine.
//!
//! Exit codes are for scripts: 0 done, 1 refused or failed, 2 wrong usage, 3 no host answers.

mod audit;
mod client;
mod content_type;
mod doctor;
mod failure;
mod fields;
mod key;
mod lifetime;
mod local;
mod model;
mod names;
mod openapi;
mod out;
mod plugin;
mod predict;
mod revocation;
mod sign;
mod table;
mod tenant;
mod token;
mod trust_root;
mod tune;
mod upload;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::client::Client;
use self::failure::Failure;

/// Which host a command talks to.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
    /// The host to talk to
    #[arg(long, env = "BULKHEAD_URL", default_value = "http://127.0.0.1:8000", global = true, help_heading = "Host")]
    url: String,

    /// The credential to show it
    #[arg(long, env = "BULKHEAD_TOKEN", hide_env_values = true, global = true, help_heading = "Host")]
    token: Option<String>,

    /// A certificate (PEM) to trust, of a host whose own is signed by nobody that this machine knows
    #[arg(long, env = "BULKHEAD_CA_FILE", global = true, help_heading = "Host")]
    ca_file: Option<std::path::PathBuf>,

    /// In whose name to ask, where the credential may in others than its own
    #[arg(long, env = "BULKHEAD_AS_TENANT", global = true, help_heading = "Host", value_name = "TENANT")]
    as_tenant: Option<String>,
}

/// What the command line does, `serve` aside.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what this machine lacks, and the command that mends it
    Doctor(doctor::DoctorArgs),
    /// Make, build, check and upload plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Upload models, and decide which version answers
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Ask a model
    Predict(predict::PredictArgs),
    /// Measure which batches, sessions and threads suit a model on this machine
    Tune(tune::TuneArgs),
    /// Make tokens for development
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Say who the host takes the credential for
    Whoami(model::Format),
    /// Have keys issued, and revoke them
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Say what tenants are and may
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Make keys, and sign plugins and models with them
    #[command(subcommand)]
    Sign(sign::SignCommand),
    /// Say whose signatures count
    #[command(subcommand)]
    TrustRoot(trust_root::TrustRootCommand),
    /// Revoke plugins and models by their digests
    #[command(subcommand)]
    Revocation(revocation::RevocationCommand),
    /// See who did what, and check that the record is whole
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Print the host's OpenAPI document
    Openapi(openapi::OpenapiArgs),
}

/// Runs a command. Failures that have an exit code of their own are told here; the rest is the caller's to print.
///
/// # Errors
/// What went wrong, for people; exit code 1.
pub(crate) async fn run(command: Command, client: ClientOptions) -> anyhow::Result<ExitCode> {
    match dispatch(command, &client).await {
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) => {
                out::note(failure.report());
                Ok(failure.exit_code())
            }
            None => Err(error),
        },
        done => done,
    }
}

async fn dispatch(command: Command, options: &ClientOptions) -> anyhow::Result<ExitCode> {
    match command {
        Command::Doctor(args) => return doctor::run(&args, options).await,
        Command::Plugin(command) => return plugin::run(command, options).await,
        Command::Model(command) => model::run(command, &Client::new(options)?).await?,
        Command::Predict(args) => predict::run(args, &Client::new(options)?).await?,
        Command::Tune(args) => tune::run(args).await?,
        Command::Token(command) => token::run(command)?,
        Command::Whoami(format) => token::whoami(&Client::new(options)?, format).await?,
        Command::Key(command) => key::run(command, &Client::new(options)?).await?,
        Command::Tenant(command) => tenant::run(command, &Client::new(options)?).await?,
        Command::Sign(command) => sign::run(command)?,
        Command::TrustRoot(command) => trust_root::run(command, &Client::new(options)?).await?,
        Command::Revocation(command) => revocation::run(command, &Client::new(options)?).await?,
        Command::Audit(command) => audit::run(command, &Client::new(options)?).await?,
        Command::Openapi(args) => openapi::run(args, &Client::new(options)?).await?,
    }
    Ok(ExitCode::SUCCESS)
}
