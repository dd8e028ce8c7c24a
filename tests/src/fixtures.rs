//! Files that tests work with. What is missing says how it is made.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::setup;

/// The manifest of a model without transforms.
pub const PLAIN: &str = "runtime = \"onnx\"";

/// The project's root.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the project")
}

/// The binary under test.
#[must_use]
pub fn bulkhead() -> PathBuf {
    let path = std::env::var_os("BULKHEAD_BIN").map_or_else(|| workspace().join("target/debug/bulkhead"), PathBuf::from);
    assert!(path.exists(), "there is no `{}`: run `cargo build -p bulkhead`, or set BULKHEAD_BIN", path.display());
    path
}

/// A component of the project's own.
#[must_use]
pub fn plugin(name: &str) -> Vec<u8> {
    let path = workspace().join(format!("target/plugins/{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("`{}`: {error}; run `make plugins` (or `make plugins-dev`)", path.display()))
}

/// A model of `deploy/demo/tests-models`; `make.py` there says what each does.
#[must_use]
pub fn model(name: &str) -> Vec<u8> {
    demo(&format!("tests-models/{name}.onnx"))
}

/// A file of `deploy/demo`.
#[must_use]
pub fn demo(path: &str) -> Vec<u8> {
    read(&workspace().join("deploy/demo").join(path))
}

/// An image of the tests of the plugin `image`.
#[must_use]
pub fn image(name: &str) -> Vec<u8> {
    read(&workspace().join("plugins/image/tests/fixtures").join(name))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// The plugin that misbehaves on request.
#[must_use]
pub fn hostile() -> Vec<u8> {
    guest("hostile")
}

/// A plugin of `guests/`, built where it is missing or older than its source.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    let source = workspace().join("tests/guests").join(name);
    let folder = workspace().join("target/guests");
    let component = folder.join(format!("{name}.wasm"));
    fs::create_dir_all(&folder).expect("a folder for what is built");
    // Tests are processes of their own: one of them builds, the others wait.
    let lock = File::create(folder.join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("the lock");
    let wit = workspace().join("wit");
    let sources = [source.join("src"), source.join("Cargo.toml"), workspace().join("sdk-guest/src"), wit.join("deps/nn"), wit];
    if is_older(&component, &sources) {
        let mut build = setup::command();
        let built = build.args(["plugin", "build"]).arg(&source).arg("--out").arg(&component).output().expect("the binary starts");
        assert!(built.status.success(), "`bulkhead plugin build {}`:\n{}", source.display(), String::from_utf8_lossy(&built.stderr));
    }
    read(&component)
}

fn is_older(file: &Path, sources: &[PathBuf]) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(made) = modified(file) else { return true };
    let newest = sources.iter().flat_map(|source| {
        let inside = fs::read_dir(source).into_iter().flatten().flatten().map(|entry| entry.path());
        inside.chain([source.clone()]).filter_map(|path| modified(&path)).max()
    });
    newest.max().unwrap_or(SystemTime::UNIX_EPOCH) > made
}
