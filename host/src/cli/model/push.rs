//! `model push`: a manifest and a model, as one multipart upload.

use anyhow::Context as _;
use bulkhead_registry::{Manifest, Runtime};
use clap::{Args, ValueEnum};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};

use super::Format;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::names::NameVersion;
use crate::cli::sign::{Parts, SignArgs};
use crate::cli::upload::Upload;
use crate::cli::{content_type, fields, out, table};

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The version to upload
    #[arg(value_name = "NAME@VERSION")]
    version: NameVersion,

    #[command(flatten)]
    parts: Parts,

    /// Keep even the first version of a model out of production
    #[arg(long, value_enum)]
    stage: Option<Stage>,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Stage {
    Staging,
}

/// Whether a manifest without mistakes is one of a version with an artifact.
fn needs_model(text: &str) -> bool {
    let read = if text.trim_start().starts_with('{') { Manifest::from_json(text) } else { Manifest::from_toml(text) };
    read.is_ok_and(|manifest| manifest.runtime == Runtime::Onnx)
}

pub(super) async fn run(args: PushArgs, client: &Client) -> anyhow::Result<()> {
    let path = &args.parts.manifest;
    let manifest = tokio::fs::read(path).await.with_context(|| format!("`{}` can't be read", path.display()))?;
    if args.parts.model.is_none() && std::str::from_utf8(&manifest).is_ok_and(needs_model) {
        return Err(Failure::Usage("its manifest's runtime needs a model: add `--model FILE`".to_owned()).into());
    }
    let manifest = Part::bytes(manifest).file_name("manifest").mime_str(content_type::of_manifest(path))?;
    // The manifest first: the host reads it before it decides where the model's bytes go.
    let mut form = Form::new().part("manifest", manifest);
    let mut bar = None;
    if let Some(path) = &args.parts.model {
        let upload = Upload::open(path).await?;
        let model = Part::stream_with_length(upload.body, upload.len).file_name("model").mime_str("application/octet-stream")?;
        form = form.part("model", model);
        bar = Some(upload.bar);
    }

    let mut url = client.url(&["v1", "models", &args.version.name, "versions", &args.version.version]);
    if let Some(Stage::Staging) = args.stage {
        url.query_pairs_mut().append_pair("stage", "staging");
    }
    let request = args.sign.put_on(client.request(Method::PUT, url), || args.parts.statement(&args.version))?;
    let sent = client.send(request.multipart(form)).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let response = sent?;
    let is_new = response.status() != StatusCode::OK;
    let version: serde_json::Value = response.json().await.unwrap_or_default();
    let failed = version.get("state").and_then(|state| state.as_str()) == Some("failed");
    if args.format.json {
        out::json(&version)?;
    } else {
        let verb = if is_new { "pushed" } else { "already there:" };
        let text = |field| table::clean(&fields::text(&version, field));
        out::line(format_args!("{verb} {} ({}, stage {}, {})", args.version, fields::size(&version, "size"), text("stage"), text("state")))?;
    }
    anyhow::ensure!(!failed, "{} failed to load: {}", args.version, table::clean(&fields::text(&version, "why")));
    Ok(())
}
