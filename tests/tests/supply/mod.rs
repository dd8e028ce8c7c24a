//! Uploads with signatures, and the smallest plugin that answers.

use std::time::Duration;

use bulkhead::signing::Signature;
use bulkhead_tests::{Answer, TestHost, eventually, wasm};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A manifest with that plugin.
pub(crate) const ODD: &str = "runtime = \"onnx\"\ntransforms = [{ plugin = \"odd@1.0.0\" }]";

pub(crate) fn body() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] })
}

/// One that answers 1, whatever is asked; `note` makes its bytes others.
pub(crate) fn odd(note: u8) -> Vec<u8> {
    let component = wasm::transform_that_tells(wasm::Teller::Before, true);
    [component.as_slice(), &[0, 2, 1, b'A' + note]].concat()
}

pub(crate) async fn put_plugin(host: &TestHost, name: &str, bytes: &[u8], signatures: &[Signature]) -> Answer {
    let (name, version) = name.split_once('@').expect("a plugin");
    let mut request = host.request(Method::PUT, &format!("/v1/plugins/{name}/versions/{version}"));
    for signature in signatures {
        request = request.header("x-bulkhead-signature", signature.to_string());
    }
    host.send(request.body(bytes.to_vec())).await
}

pub(crate) async fn put_version(host: &TestHost, name: &str, manifest: &str, bytes: &[u8], signatures: &[Signature]) -> Answer {
    let (name, version) = name.split_once('@').expect("a version");
    let mut form = Form::new().part("manifest", Part::text(manifest.to_owned()).file_name("manifest.toml"));
    if !bytes.is_empty() {
        form = form.part("model", Part::bytes(bytes.to_vec()).file_name("model.onnx"));
    }
    let mut request = host.request(Method::PUT, &format!("/v1/models/{name}/versions/{version}"));
    if !signatures.is_empty() {
        let all = signatures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        request = request.header("x-bulkhead-signature", all);
    }
    host.send(request.multipart(form)).await
}

/// Waits until a model answers.
pub(crate) async fn answers(host: &TestHost, model: &str) {
    eventually("the model answers", SOON, async || host.predict(model, &body()).await.status == 200).await;
}
