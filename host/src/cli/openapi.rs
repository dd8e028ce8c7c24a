//! `openapi`: the host's description of itself.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use reqwest::Method;

use super::client::Client;
use super::out;

#[derive(Debug, Args)]
pub(crate) struct OpenapiArgs {
    /// Write to a file in place of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(args: OpenapiArgs, client: &Client) -> anyhow::Result<()> {
    let response = client.send(client.request(Method::GET, client.url(&["openapi.json"]))).await?;
    let mut body = response.bytes().await.context("the answer broke off")?.to_vec();
    if !body.ends_with(b"\n") {
        body.push(b'\n');
    }
    match args.out {
        Some(path) => tokio::fs::write(&path, body).await.with_context(|| format!("`{}` can't be written", path.display())),
        None => out::write(&body),
    }
}
