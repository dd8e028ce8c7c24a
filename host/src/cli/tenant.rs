//! `tenant`: what tenants are and may.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::client::Client;
use super::failure::Failure;
use super::model::Format;
use super::table::Table;
use super::{fields, out};

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// List the tenants that the credential may see
    List(Format),
    /// Show a tenant
    Show {
        #[arg(value_name = "TENANT")]
        tenant: String,
        #[command(flatten)]
        format: Format,
    },
    /// Say what a tenant is and may; what is not said stays as it is
    Set(SetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Its models may run in the host's own process
    #[arg(long)]
    trusted: Option<bool>,
    /// Nobody of it is let in
    #[arg(long)]
    disabled: Option<bool>,
    /// Only what is signed by one of its trust roots is taken in and run; what is not stops at once
    #[arg(long)]
    require_signatures: Option<bool>,
    /// A bound, such as `requests_per_second=100`; 0 is none, `default` as the host's settings say
    #[arg(long, value_name = "QUOTA=NUMBER")]
    quota: Vec<String>,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(command: TenantCommand, client: &Client) -> anyhow::Result<()> {
    match command {
        TenantCommand::List(format) => list(client, format).await,
        TenantCommand::Show { tenant, format } => show(&client.get(&["v1", "tenants", &tenant]).await?, format),
        TenantCommand::Set(args) => set(args, client).await,
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let tenants = client.list(&["v1", "tenants"]).await?;
    if format.json {
        return out::json(&tenants);
    }
    let mut table = Table::new(&["TENANT", "TRUSTED", "DISABLED", "SIGNED", "VERSIONS", "KEPT", "QUOTAS"]);
    let none = Value::Null;
    for tenant in &tenants {
        let (text, kept) = (|field| fields::text(tenant, field), tenant.get("kept").unwrap_or(&none));
        let kept = (fields::text(kept, "versions"), fields::size(kept, "bytes"));
        table.row([text("tenant"), text("trusted"), text("disabled"), text("signatures_required"), kept.0, kept.1, text("effective_quotas")]);
    }
    out::line(table.render())
}

fn show(tenant: &Value, format: Format) -> anyhow::Result<()> {
    if format.json {
        return out::json(tenant);
    }
    let mut table = Table::bare();
    for field in ["tenant", "trusted", "disabled", "require_signatures", "signatures_required", "quotas", "effective_quotas", "kept"] {
        table.row([field.to_owned(), fields::text(tenant, field)]);
    }
    out::line(table.render())
}

async fn set(args: SetArgs, client: &Client) -> anyhow::Result<()> {
    let path = ["v1", "tenants", &args.tenant];
    let now = client.get(&path).await?;
    let mut quotas = now.get("quotas").and_then(Value::as_object).cloned().unwrap_or_default();
    for quota in &args.quota {
        change(&mut quotas, quota)?;
    }
    let or = |said: Option<bool>, field: &str| said.map(Value::Bool).or_else(|| now.get(field).cloned()).unwrap_or(Value::Bool(false));
    let said = serde_json::json!({
        "trusted": or(args.trusted, "trusted"),
        "disabled": or(args.disabled, "disabled"),
        "require_signatures": or(args.require_signatures, "require_signatures"),
        "quotas": quotas,
    });
    show(&client.json(client.request(Method::PUT, client.url(&path)).json(&said)).await?, args.format)
}

fn change(quotas: &mut Map<String, Value>, quota: &str) -> anyhow::Result<()> {
    let wrong = || Failure::Usage(format!("`--quota`: expected such as `requests_per_second=100` or `versions=default`, got `{quota}`"));
    let (name, value) = quota.split_once('=').ok_or_else(wrong)?;
    if value == "default" {
        quotas.remove(name);
    } else {
        quotas.insert(name.to_owned(), value.parse::<u32>().map_err(|_| wrong())?.into());
    }
    Ok(())
}
