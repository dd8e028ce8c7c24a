//! What settings are read from where, and every mistake.

use super::*;

fn parse(text: &str, flags: Flags, variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
    Config::parse(text, Path::new("/etc/bulkhead"), flags, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn with_nothing_at_all_there_are_defaults() {
    let config = parse("", Flags::default(), &[("HOME", "/root"), ("BULKHEAD_URL", "http://127.0.0.1:1")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.grpc_listen.to_string(), "127.0.0.1:8001");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8002");
    assert_eq!(config.data_dir, Path::new("data"));
}

#[test]
fn flags_go_before_variables_before_the_file() {
    let text = "listen = \"127.0.0.1:1\"\ndata_dir = \"file\"\n[http]\nmax_body_mb = 1";
    let flags = Flags { listen: Some("127.0.0.1:3000".to_owned()), ..Flags::default() };
    let config =
        parse(text, flags, &[("BULKHEAD_LISTEN", "127.0.0.1:2"), ("BULKHEAD_DATA_DIR", "variable"), ("BULKHEAD_HTTP_MAX_BODY_MB", "2")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.grpc_listen.to_string(), "127.0.0.1:3001");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:3002");
    assert_eq!(config.data_dir, Path::new("variable"));
    assert_eq!(config.http.max_body_bytes, 2 << 20);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "
        lisen = \"x\"
        listen = \"0.0.0.0:80\"
        [http]
        max_body_mb = 0
        speed = 9
        [auth]
        mode = \"maybe\"
        [telemetry]
        filter = \"bulkhead=loud=x\"
        [[models]]
        name = \"m\"
    ";
    let mistakes = parse(text, Flags::default(), &[("BULKHEAD_SANDBOX_INSTANCES", "many"), ("BULKHEAD_COLOUR", "red")]).unwrap_err();
    let text = mistakes.to_string();
    for expected in [
        "`lisen`: there is no such setting",
        "`listen`: `0.0.0.0:80` is no loopback address",
        "`http.max_body_mb`: expected a whole number from 1 to 4096, got `0`",
        "`http.speed`: there is no such setting",
        "`auth.mode`: expected `off` or `required`, got `maybe`",
        "`models[0]`: lacks `version`, `manifest`",
        "`telemetry.filter`: expected such as `info` or `info,bulkhead::engine=debug`, got `bulkhead=loud=x`",
        "`sandbox.instances` (from BULKHEAD_SANDBOX_INSTANCES): expected a whole number from 1 to 10000, got `many`",
        "`colour` (from BULKHEAD_COLOUR): there is no such setting",
    ] {
        assert!(text.contains(expected), "{text}\nlacks: {expected}");
    }
}

#[test]
fn files_are_relative_to_the_configuration() {
    let text = "[[models]]\nname = \"m\"\nversion = \"1.0.0\"\nfile = \"m.onnx\"\nmanifest = \"/abs.toml\"";
    let config = parse(text, Flags::default(), &[]).unwrap();
    assert_eq!(config.models[0].file.as_deref(), Some(Path::new("/etc/bulkhead/m.onnx")));
    assert_eq!(config.models[0].manifest, Path::new("/abs.toml"));
}
