//! What is signed: everything about a plugin or a version that decides what it does and where, as bytes that can be read in
//! one way only.

use std::fmt;

use bulkhead_registry::{Digest, Grants, Manifest, ModelRef, PluginRef};

/// The first part of every statement. A signature under it is one on a plugin or a model of Bulkhead's and on nothing else that
/// the same key may sign; another form of statement would have another number.
const DOMAIN: &str = "bulkhead-signature-v1";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `plugin` or `model`.
    kind: &'static str,
    name: String,
    version: String,
    /// Of the component or the artifact; a version with a predictor has its component's.
    digest: Digest,
    /// A plugin's world, a version's runtime.
    role: String,
    /// Of a version's manifest, as the text that it is.
    manifest: Option<Digest>,
    /// What the manifest grants the plugin that answers.
    grants: Grants,
}

impl Statement {
    /// About a plugin of a world.
    #[must_use]
    pub fn plugin(plugin: &PluginRef, digest: Digest, world: &str) -> Self {
        Self {
            kind: "plugin",
            name: plugin.name.to_string(),
            version: plugin.version.to_string(),
            digest,
            role: world.to_owned(),
            manifest: None,
            grants: Grants::default(),
        }
    }

    /// About a version of a model; `text` is the digest of its manifest's text.
    #[must_use]
    pub fn model(model: &ModelRef, digest: Digest, text: Digest, manifest: &Manifest) -> Self {
        Self {
            kind: "model",
            name: model.name.to_string(),
            version: model.version.to_string(),
            digest,
            role: manifest.runtime.to_string(),
            manifest: Some(text),
            grants: manifest.predictor.as_ref().map(|used| used.grants.clone()).unwrap_or_default(),
        }
    }

    /// The bytes that are signed: each part as its length in decimal, a colon, itself and a comma (a netstring), so that no
    /// part can pass for another or reach into the next.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (digest, manifest) = (self.digest.to_string(), self.manifest.map(|digest| digest.to_string()).unwrap_or_default());
        let (graphs, load_mb) = (self.grants.graphs.len().to_string(), self.grants.load_mb.to_string());
        let mut bytes = Vec::with_capacity(512);
        let mut part = |text: &str| bytes.extend_from_slice(format!("{}:{text},", text.len()).as_bytes());
        for text in [DOMAIN, self.kind, &self.name, &self.version, &digest, &self.role, &manifest, &load_mb, &graphs] {
            part(text);
        }
        // In the order of their names.
        for (name, model) in &self.grants.graphs {
            part(name);
            part(&model.to_string());
        }
        bytes
    }
}

/// For messages.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, version, digest, role, .. } = self;
        write!(f, "{kind} `{name}@{version}` ({role}, {digest}")?;
        if let Some(manifest) = self.manifest {
            write!(f, ", manifest {manifest}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out, since other programs sign too: whatever changes this makes all signatures worthless.
    #[test]
    fn the_bytes_are_those_that_are_documented() {
        let digest = Digest::of(b"");
        let hex = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let plugin = Statement::plugin(&"image@0.1.0".parse().unwrap(), digest, "transform");
        let expected = format!("21:bulkhead-signature-v1,6:plugin,5:image,5:0.1.0,71:{hex},9:transform,0:,1:0,1:0,");
        assert_eq!(String::from_utf8(plugin.bytes()).unwrap(), expected);
        let text =
            "runtime = 'predictor'\n[predictor]\nplugin = 'c@1.0.0'\ngrants = { graphs = { small = 's@1.0.0', big = 'b@2.0.0' }, load_mb = 3 }";
        let manifest = Manifest::from_toml(text).unwrap();
        let model = Statement::model(&"m@1.0.0".parse().unwrap(), digest, Digest::of(b""), &manifest);
        let expected =
            format!("21:bulkhead-signature-v1,5:model,1:m,5:1.0.0,71:{hex},9:predictor,71:{hex},1:3,1:2,3:big,7:b@2.0.0,5:small,7:s@1.0.0,");
        assert_eq!(String::from_utf8(model.bytes()).unwrap(), expected);
    }
}
