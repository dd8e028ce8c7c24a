//! ONNX Runtime's shared library: that `serve` would find one.

use std::path::PathBuf;

use super::Finding;

/// 1.24 is the oldest that has the interface `serve` asks for.
const MEND: &str = "in a checkout: `deploy/setup/onnxruntime.sh`; elsewhere: \
     `pip install --target ort 'onnxruntime>=1.24' && export ORT_DYLIB_PATH=$(ls $PWD/ort/onnxruntime/capi/libonnxruntime.so.*)`";

/// `path` is what `serve` would load.
pub(super) fn check(path: Option<PathBuf>) -> Finding {
    let mut mend = MEND.to_owned();
    let found = path.and_then(|path| {
        let shown = path.display().to_string();
        if path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0) {
            return Some(shown);
        }
        // Wrongly named is another mistake than not there.
        mend = format!("`{shown}` (named by `ORT_DYLIB_PATH`, or in the cache) is no library: correct or remove it");
        None
    });
    Finding::required("onnxruntime", "serving models", found, &mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_a_file_with_something_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so.1.31.1");
        let wrong = check(Some(path.clone())).mend.unwrap();
        assert!(wrong.contains("is no library"), "{wrong}");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(check(Some(path.clone())).found, path.to_str().map(str::to_owned));
        assert_eq!(check(None).mend.as_deref(), Some(MEND));
    }
}
