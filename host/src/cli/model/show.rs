//! `model show`: a model with its versions, or one version with its signature.

use serde_json::{Value, json};

use super::Format;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::names::NameVersion;
use crate::cli::table::{self, Table};
use crate::cli::{fields, out};

pub(super) async fn model(client: &Client, name: &str, format: Format) -> anyhow::Result<()> {
    let model = client.get(&["v1", "models", name]).await?;
    let versions = client.list(&["v1", "models", name, "versions"]).await?;
    if format.json {
        return out::json(&json!({ "model": model, "versions": versions }));
    }
    out::line(lines(&model, &["name", "production", "latest", "state"]))?;
    out::line("")?;
    let mut table = Table::new(&["VERSION", "STAGE", "STATE", "RUNTIME", "SIZE", "DIGEST", "UPLOADED", "WHY"]);
    for version in &versions {
        let text = |field| fields::text(version, field);
        let size = fields::size(version, "size");
        let why = version.get("why").and_then(Value::as_str).unwrap_or_default();
        table.row([
            text("version"),
            text("stage"),
            text("state"),
            text("runtime"),
            size,
            fields::digest(version, "digest"),
            fields::time(version, "created_at"),
            why.to_owned(),
        ]);
    }
    out::line(table.render())
}

pub(super) async fn version(client: &Client, version: &NameVersion, format: Format) -> anyhow::Result<()> {
    let shown = client.get(&["v1", "models", &version.name, "versions", &version.version]).await;
    let shown = match shown {
        // Whose version is not there is often looking for another: say which there are.
        Err(error) if error.downcast_ref().is_some_and(Failure::is_not_found) => {
            return Err(with_others(client, version, error).await);
        }
        shown => shown?,
    };
    if format.json {
        return out::json(&shown);
    }
    out::line(lines(&shown, &["name", "version", "stage", "state", "why", "runtime", "digest"]))?;
    out::line(format_args!("size        {}", fields::size(&shown, "size")))?;
    if let Some(signers) = shown.get("signed_by").and_then(Value::as_array) {
        let one = |signer: &Value| {
            let revoked = if signer.get("revoked") == Some(&Value::Bool(true)) { ", revoked" } else { "" };
            format!("{} ({}{revoked})", fields::text(signer, "id"), fields::text(signer, "name"))
        };
        out::line(format_args!("signed by   {}", table::clean(&signers.iter().map(one).collect::<Vec<_>>().join(", "))))?;
    }
    let empty = Value::Null;
    let signature = shown.get("signature").unwrap_or(&empty);
    for (side, title) in [("inputs", "INPUT"), ("outputs", "OUTPUT")] {
        let Some(tensors) = signature.get(side).and_then(Value::as_array) else { continue };
        let mut table = Table::new(&[title, "DATATYPE", "SHAPE"]);
        for tensor in tensors {
            let shape = tensor.get("shape").map(Value::to_string).unwrap_or_default();
            table.row([fields::text(tensor, "name"), fields::text(tensor, "datatype"), shape]);
        }
        out::line(format_args!("\n{}", table.render()))?;
    }
    if let Some(manifest) = shown.get("manifest").filter(|manifest| !manifest.is_null()) {
        out::line(format_args!("\nMANIFEST\n{manifest}"))?;
    }
    Ok(())
}

async fn with_others(client: &Client, version: &NameVersion, error: anyhow::Error) -> anyhow::Error {
    if let Ok(versions) = client.list(&["v1", "models", &version.name, "versions"]).await {
        let known: Vec<_> = versions.iter().map(|version| fields::text(version, "version")).collect();
        if !known.is_empty() {
            out::note(format_args!("versions of `{}`: {}", version.name, known.join(", ")));
        }
    }
    error
}

/// One field a line; those that are not there are left out.
fn lines(item: &Value, names: &[&str]) -> String {
    let mut table = Table::bare();
    for &name in names {
        if item.get(name).is_some_and(|value| !value.is_null()) {
            table.row([format!("{name:<10}"), fields::text(item, name)]);
        }
    }
    table.render()
}
