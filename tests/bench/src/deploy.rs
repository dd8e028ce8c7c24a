//! Uploads to the host, over HTTP as a user does it.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::Options;
use crate::http::{self, Connection};

/// Of all plugins here, as the demo's manifests name them.
const PLUGIN_VERSION: &str = "0.1.0";

/// Parts of the form are set apart by it; it occurs in none of them.
const BOUNDARY: &str = "bulkhead-bench-7d1e0c2a9b";

/// Uploads a built plugin.
pub(crate) async fn plugin(connection: &mut Connection, options: &Options, name: &str) -> Result<()> {
    plugin_as(connection, name, &read(&options.plugin(name))?, "").await
}

/// Uploads a component with a credential: a line of the request's head.
pub(crate) async fn plugin_as(connection: &mut Connection, name: &str, component: &[u8], credential: &str) -> Result<()> {
    let path = format!("/v1/plugins/{name}/versions/{PLUGIN_VERSION}");
    let headers = format!("content-type: application/wasm\r\n{credential}");
    connection.send(&http::request_with("PUT", &path, &headers, component)).await?;
    Ok(())
}

/// A version of a model.
pub(crate) struct Model<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) manifest: &'a str,
    pub(crate) artifact: &'a [u8],
}

/// Uploads a version of a model; a predictor has no artifact.
pub(crate) async fn model(connection: &mut Connection, wanted: &Model<'_>) -> Result<()> {
    model_as(connection, wanted, "").await
}

/// The same with a credential: a line of the request's head.
pub(crate) async fn model_as(connection: &mut Connection, model: &Model<'_>, credential: &str) -> Result<()> {
    let mut form = Vec::with_capacity(model.artifact.len() + 1024);
    let parts = [("manifest", "application/toml", model.manifest.as_bytes()), ("model", "application/octet-stream", model.artifact)];
    for (name, kind, content) in parts.into_iter().filter(|(.., content)| !content.is_empty()) {
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n");
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let path = format!("/v1/models/{}/versions/{}", model.name, model.version);
    let headers = format!("content-type: multipart/form-data; boundary={BOUNDARY}\r\n{credential}");
    connection.send(&http::request_with("PUT", &path, &headers, &form)).await?;
    Ok(())
}

/// The demo model of that name: its manifest and its artifact.
pub(crate) fn demo(options: &Options, name: &str) -> Result<(String, Vec<u8>)> {
    let folder = options.demo.join(name);
    Ok((String::from_utf8(read(&folder.join("manifest.toml"))?)?, read(&folder.join("model.onnx"))?))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))
}
