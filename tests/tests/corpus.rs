//! Whatever the fuzz targets were given or have found, once more: `tests/fuzz/corpus/TARGET`. `make fuzz` goes on from there.

use std::fs;
use std::path::PathBuf;

use bulkhead_tests::{fixtures, wasm};

#[expect(unreachable_pub, reason = "a library elsewhere")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

fn corpus(target: &str) -> PathBuf {
    fixtures::workspace().join("tests/fuzz/corpus").join(target)
}

#[test]
fn what_is_kept_holds() {
    for (target, hold) in fuzz::TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus(target)).expect("a folder").flatten() {
            println!("{}", entry.path().display());
            hold(&fs::read(entry.path()).expect("an input"));
            inputs += 1;
        }
        assert!(inputs > 2, "{target} has {inputs} inputs");
    }
}

#[test]
fn each_target_is_there_and_named() {
    let manifest = fs::read_to_string(fixtures::workspace().join("tests/fuzz/Cargo.toml")).expect("a file");
    for (target, _) in fuzz::TARGETS {
        assert!(fixtures::workspace().join(format!("tests/fuzz/targets/{target}.rs")).is_file(), "{target}");
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
    }
}

fn keep(target: &str, name: &str, input: &[u8]) {
    fs::create_dir_all(corpus(target)).expect("a folder");
    fs::write(corpus(target).join(name), input).expect("written");
}

/// Writes what fuzzing begins with: real inputs, small ones.
#[test]
#[ignore = "writes into the source: `cargo test -p bulkhead-tests --test corpus -- --ignored`"]
fn make_seeds() {
    let manifests = ["iris", "digits", "cascade", "pages"].map(|name| (name, fixtures::demo(&format!("{name}/manifest.toml"))));
    for (name, text) in &manifests {
        keep("manifest", name, text);
        let read = bulkhead_registry::Manifest::from_toml(std::str::from_utf8(text).expect("text")).expect("a manifest");
        keep("manifest", &format!("{name}-json"), read.to_json().as_bytes());
    }
    let form = |parts: &[(&str, &[u8])]| {
        let mut form = vec![63];
        for (head, content) in parts {
            form.extend(format!("--X\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes().chain(content.iter().copied()).chain(*b"\r\n"));
        }
        form.extend(b"--X--\r\n");
        form
    };
    let (manifest, model) =
        (("name=\"manifest\"; filename=\"m.toml\"", &b"runtime = \"onnx\""[..]), ("name=\"model\"", &fixtures::model("identity_f32")[..]));
    keep("upload", "whole", &form(&[manifest, model]));
    keep("upload", "model-first", &form(&[model, manifest]));
    keep("upload", "predictor", &form(&[("name=\"manifest\"; filename=\"m.toml\"", &manifests[2].1)]));
    keep("upload", "json", &form(&[("name=\"manifest\"; filename=\"m.json\"", b"{\"runtime\":\"onnx\"}"), ("name=\"other\"", b"x")]));

    let framed = |how: u8, json: &str, bytes: &[u8]| {
        let length = u16::try_from(json.len()).expect("a short text").to_le_bytes();
        [&[how, length[0], length[1]], json.as_bytes(), bytes].concat()
    };
    let binary = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}"#;
    keep("tensors", "binary", &framed(1 | 7 << 3, binary, &[0; 8]));
    let text = r#"{"id":"1","inputs":[{"name":"s","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":9}},{"name":"i","datatype":"INT64","shape":[2],"data":[1,-2]}],"parameters":{"priority":1,"timeout":7}}"#;
    keep("tensors", "strings", &framed(1, text, b"\x01\0\0\0a\0\0\0\0"));
    keep("tensors", "json", &framed(0, r#"{"inputs":[{"name":"x","datatype":"FP64","shape":[2,1],"data":[[1.5e3],[-0.1]]}]}"#, &[]));
    keep("tensors", "raw", &framed(1, "", &[1, 2, 3, 4]));
    let mut gzip = flate2::write::GzEncoder::new(vec![3, u8::try_from(binary.len()).expect("short"), 0], flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &framed(0, binary, &[0; 8])[3..]).expect("memory");
    keep("tensors", "gzip", &gzip.finish().expect("memory"));

    keep("component", "transform", &wasm::transform(""));
    keep("component", "data", &wasm::transform("(data (i32.const 600) \"some data\")"));
    keep("component", "empty", &wasm::component("(component)"));
    keep("component", "module", &wasm::component("(module)"));
    let inner =
        "(core module (memory 3) (table 4 funcref) (func (param i32) (local i64) (block (br_table 0 0 (local.get 0)))) (data (i32.const 0) \"x\"))";
    keep("component", "nested", &wasm::component(&format!("(component {inner} (component {inner}))")));

    let claims = r#"{"iss":"issuer","aud":"bulkhead","sub":"ada","tenant":"acme","exp":4000000000,"nbf":1,"scope":"models:read models:predict","xt":["audit:read"]}"#;
    keep("token", "claims", &[b"1", claims.as_bytes()].concat());
    keep("token", "key", b"\0bhk_0123456789abcdef_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    keep("token", "hs256", b"\0eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.3lrEBmyyYPZPzPNdYnTPxGRvAsNWUVvLCUKXnMjGzCg");
    keep("token", "none", b"\0eyJhbGciOiJub25lIiwia2lkIjoiMSJ9.eyJzdWIiOiJhZGEifQ.");

    for (name, file) in [
        ("palette", "palette4.png"),
        ("interlaced", "interlaced.png"),
        ("gray-jpeg", "gray.jpg"),
        ("photo", "photo.jpg"),
        ("progressive", "progressive.jpg"),
    ] {
        // The head of a large one: what follows is pixels.
        let file = fixtures::image(file);
        keep("image", name, &[&[0], &file[..file.len().min(2500)]].concat());
    }
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 50);
    encoder.set_optimized_huffman_tables(true);
    encoder.encode(&[90; 16 * 16 * 3], 16, 16, jpeg_encoder::ColorType::Rgb).expect("a picture");
    keep("image", "small-jpeg", &[&[1], jpeg.as_slice()].concat());
}
