//! Uploads: plugins, models, and the demo's.

use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::{Answer, TestHost, fixtures};

impl TestHost {
    /// Uploads a component.
    pub async fn put_plugin(&self, name: &str, version: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        self.put(&format!("/v1/plugins/{name}/versions/{version}"), bytes).await
    }

    /// Uploads plugins of the project, as version 0.1.0.
    pub async fn plugins(&self, names: &[&str]) {
        for name in names {
            let answer = self.put_plugin(name, "0.1.0", fixtures::plugin(name)).await;
            assert!(matches!(answer.status, 200 | 201), "{name}: {}", answer.text());
        }
    }

    /// Uploads a version; `at` is `name/versions/version`, and may have a query.
    pub async fn put_version(&self, at: &str, manifest: &str, model: impl Into<Vec<u8>>) -> Answer {
        let manifest = Part::text(manifest.to_owned()).file_name("manifest.toml");
        let form = Form::new().part("manifest", manifest).part("model", Part::bytes(model.into()).file_name("model.onnx"));
        self.put_form(at, form).await
    }

    /// Uploads whatever form.
    pub async fn put_form(&self, at: &str, form: Form) -> Answer {
        self.send(self.request(Method::PUT, &format!("/v1/models/{at}")).multipart(form)).await
    }

    /// Uploads a version, which must succeed.
    pub async fn deploy(&self, name: &str, version: &str, manifest: &str, model: impl Into<Vec<u8>>) {
        let answer = self.put_version(&format!("{name}/versions/{version}"), manifest, model).await;
        assert_eq!(answer.status, 201, "{name}@{version}: {}", answer.text());
    }

    /// Deploys test models as they are, without transforms, each under its own name.
    pub async fn plain(&self, models: &[&str]) {
        for model in models {
            self.deploy(model, "1.0.0", fixtures::PLAIN, fixtures::model(model)).await;
        }
    }

    /// Deploys a model of the demo with its plugins.
    pub async fn demo(&self, name: &str) {
        let plugins: &[&str] = match name {
            "iris" => &["tabular", "classify"],
            _ => &["image", "classify"],
        };
        self.plugins(plugins).await;
        let manifest = String::from_utf8(fixtures::demo(&format!("{name}/manifest.toml"))).expect("a manifest");
        self.deploy(name, "1.0.0", &manifest, fixtures::demo(&format!("{name}/model.onnx"))).await;
    }

    /// Puts a version in production.
    pub async fn promote(&self, name: &str, version: &str) -> Answer {
        self.post_json(&format!("/v1/models/{name}/promote"), &serde_json::json!({ "version": version })).await
    }

    /// A version's state: `ready`, `unloaded` or `failed`.
    pub async fn state(&self, name: &str, version: &str) -> String {
        let document = self.get(&format!("/v1/models/{name}/versions/{version}")).await.ok();
        document["state"].as_str().unwrap_or_default().to_owned()
    }
}
