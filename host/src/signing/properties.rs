//! Whatever is stated: what differs has other bytes, so that a signature of one thing never fits to another.

use std::collections::BTreeMap;

use bulkhead_registry::{Digest, Grants, Manifest, PredictorUse, Runtime};
use proptest::prelude::*;

use super::{SecretKey, Statement};

/// What a statement says, as parts: those of two statements are equal exactly where the statements are.
type Parts = (bool, String, String, u8, u8, BTreeMap<String, (String, u8)>, u32);

fn parts() -> impl Strategy<Value = Parts> {
    // Few letters, and those that the encoding itself has, so that parts often look like each other.
    let name = "[a1][0-9ab._-]{0,5}";
    let graph = "[0-9:,a@. ]{1,6}";
    let graphs = proptest::collection::btree_map(graph, (name, any::<u8>()), 0..4);
    (any::<bool>(), name, "[0-9]{1}\\.[1-9]{1,2}\\.0(-[a-z]{1,3})?", 0..3u8, 0..3u8, graphs, 0..3u32)
}

fn statement(parts: &Parts) -> Statement {
    let (is_plugin, name, version, digest, other, graphs, load_mb) = parts.clone();
    let reference = format!("{name}@{version}");
    let digest = Digest::of(&[digest]);
    if is_plugin {
        return Statement::plugin(&reference.parse().unwrap(), digest, ["transform", "predictor", "router"][usize::from(other)]);
    }
    let graphs = graphs.into_iter().map(|(local, (name, minor))| (local, format!("{name}@1.{minor}.0").parse().unwrap())).collect();
    let grants = Grants { graphs, load_mb };
    let predictor = PredictorUse { plugin: "p@1.0.0".parse().unwrap(), config: serde_json::Map::new(), grants };
    let mut manifest = Manifest::from_toml("runtime = 'onnx'").unwrap();
    (manifest.runtime, manifest.predictor) = (Runtime::Predictor, Some(predictor));
    Statement::model(&reference.parse().unwrap(), digest, Digest::of(&[other, 1]), &manifest)
}

/// A plugin has no grants.
fn meant(mut parts: Parts) -> Parts {
    if parts.0 {
        (parts.5, parts.6) = (BTreeMap::new(), 0);
    }
    parts
}

/// Reads the bytes back into parts.
fn read(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
        let (part, rest) = bytes[colon + 1..].split_at_checked(length)?;
        parts.push(part.to_vec());
        bytes = rest.strip_prefix(b",")?;
    }
    Some(parts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn different_statements_have_different_bytes(one in parts(), other in parts()) {
        let (one, other) = (meant(one), meant(other));
        prop_assert_eq!(statement(&one).bytes() == statement(&other).bytes(), one == other);
    }

    #[test]
    fn bytes_are_read_back_in_one_way(parts in parts()) {
        let parts = meant(parts);
        let read = read(&statement(&parts).bytes()).expect("netstrings to the end");
        let texts: Vec<_> = read.iter().map(|part| std::str::from_utf8(part).unwrap()).collect();
        prop_assert_eq!(&texts[..4], &["bulkhead-signature-v1", if parts.0 { "plugin" } else { "model" }, &*parts.1, &*parts.2]);
        prop_assert_eq!(texts.len(), 9 + 2 * parts.5.len());
    }

    #[test]
    fn a_signature_fits_to_what_was_signed_alone(one in parts(), other in parts(), bit in 0..512usize) {
        let (one, other) = (meant(one), meant(other));
        let key = SecretKey::generate().unwrap();
        let signature = key.sign(&statement(&one));
        prop_assert!(key.public().signed(&statement(&one), &signature));
        prop_assert_eq!(key.public().signed(&statement(&other), &signature), one == other);
        let mut bytes = *signature.bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!key.public().signed(&statement(&one), &super::Signature::new(signature.key().clone(), bytes)));
    }
}
