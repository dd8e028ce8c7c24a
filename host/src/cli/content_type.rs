//! Content types by the ending of a file's name.

use std::path::Path;

/// The content type of a request body.
pub(super) fn of_body(path: &Path) -> &'static str {
    match ending(path).as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "csv" => "text/csv",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// The content type of a manifest; TOML where the ending says nothing.
pub(super) fn of_manifest(path: &Path) -> &'static str {
    if ending(path) == "json" { "application/json" } else { "application/toml" }
}

fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_decide() {
        for (name, expected) in [
            ("a.png", "image/png"),
            ("a.JPG", "image/jpeg"),
            ("a.b.jpeg", "image/jpeg"),
            ("rows.csv", "text/csv"),
            ("x.json", "application/json"),
            ("model.onnx", "application/octet-stream"),
            ("png", "application/octet-stream"),
            ("-", "application/octet-stream"),
        ] {
            assert_eq!(of_body(Path::new(name)), expected, "{name}");
        }
        assert_eq!(of_manifest(Path::new("manifest.toml")), "application/toml");
        assert_eq!(of_manifest(Path::new("manifest.json")), "application/json");
        assert_eq!(of_manifest(Path::new("manifest")), "application/toml");
    }
}
