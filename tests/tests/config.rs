//! Settings that are wrong: the host says all of it, and does not start.

use std::process::{Output, Stdio};

use bulkhead_tests::{TestHost, command};

/// Runs `serve` where it is to end by itself.
fn serve(config: &str, flags: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bulkhead.toml");
    std::fs::write(&file, config).expect("a file");
    let mut command = command();
    command.current_dir(folder.path()).arg("serve").arg("--config").arg(&file).args(flags).envs(env.iter().copied());
    command.stdin(Stdio::null()).output().expect("the binary starts")
}

fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for words in words {
        assert!(said.contains(words), "{said}\ndoes not say: {words}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn all_mistakes_are_said_at_once() {
    let config = "
        lisen = \"127.0.0.1:1\"
        [http]
        max_body_mb = 0
        speed = 9
        [telemetry]
        format = \"yaml\"
        [[models]]
        name = \"m\"
    ";
    let output = serve(config, &["--listen", "nowhere"], &[("BULKHEAD_SANDBOX_INSTANCES", "many"), ("BULKHEAD_COLOUR", "red")]);
    refused(
        &output,
        &[
            "`lisen`",
            "`listen`: expected an address and port",
            "`http.max_body_mb`: expected a whole number from 1 to 4096, got `0`",
            "`http.speed`",
            "`telemetry.format`: expected `text` or `json`, got `yaml`",
            "`models[0]`",
            "BULKHEAD_SANDBOX_INSTANCES",
            "BULKHEAD_COLOUR",
        ],
    );
}

#[test]
fn a_listener_that_anybody_reaches_is_refused() {
    for flags in [["--listen", "0.0.0.0:0"], ["--listen", "[::]:0"], ["--grpc-listen", "192.0.2.1:0"], ["--admin-listen", "192.0.2.1:0"]] {
        refused(&serve("", &flags, &[]), &["no loopback address", "authentication is off", "auth.mode"]);
    }
}

#[test]
fn what_is_missing_is_named() {
    refused(&serve("listen = ", &[], &[]), &["TOML"]);
    refused(&serve("", &["--config", "absent.toml"], &[]), &[]);
    let local = ["--listen", "127.0.0.1:0"];
    refused(&serve("", &local, &[("BULKHEAD_ENGINE_LIBRARY", "absent.so")]), &["absent.so", "bulkhead doctor"]);
    refused(&serve("", &local, &[("BULKHEAD_DATA_DIR", "bulkhead.toml/data")]), &["data folder"]);
    let auth = "[auth]\nmode = \"required\"\n";
    refused(&serve(&format!("{auth}key_files = [\"absent.pem\"]"), &local, &[]), &["absent.pem"]);
    refused(&serve(&format!("{auth}key_files = [\"bulkhead.toml\"]"), &local, &[]), &["bulkhead.toml", "PEM"]);
    refused(&serve(&format!("{auth}key_files = [\"a\"]\njwks_url = \"https://x\""), &local, &[]), &["`auth.key_files` and `auth.jwks_url`"]);
    refused(&serve(&format!("{auth}jwks_url = \"http://issuer.test/keys\""), &local, &[]), &["`https://`"]);
    refused(&serve("[tls]\ncert_file = \"a.pem\"", &local, &[]), &["`tls.cert_file` and `tls.key_file`"]);
    refused(&serve("[tls]\ncert_file = \"bulkhead.toml\"\nkey_file = \"bulkhead.toml\"", &local, &[]), &["bulkhead.toml", "PEM"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let host = TestHost::start().await;
    let address = host.address().to_owned();
    let output = tokio::task::spawn_blocking(move || (serve("", &["--listen", &address], &[]), address)).await.unwrap();
    refused(&output.0, &[&output.1]);
    assert_eq!(host.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn a_data_folder_belongs_to_one_host() {
    let host = TestHost::start().await;
    let data = host.data().to_string_lossy().into_owned();
    let flags = ["--listen", "127.0.0.1:0", "--data-dir", &data].map(str::to_owned);
    let second = move || serve("", &flags.each_ref().map(String::as_str), &[]);
    let output = tokio::task::spawn_blocking(second).await.unwrap();
    refused(&output, &["another host uses the data folder"]);
    assert_eq!(host.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn settings_come_from_the_file_the_environment_and_flags() {
    let host = TestHost::setup().config("[http]\nmax_body_mb = 2\nmax_model_mb = 1").env("BULKHEAD_HTTP_MAX_BODY_MB", "1").start().await;
    host.plain(&["add_one"]).await;
    let too_long = vec![b' '; (1 << 20) + 1];
    let refusal = host.post("/v1/models/add_one/predict", "application/json", too_long).await.error(413, "payload_too_large");
    assert_eq!(refusal.details["limit_bytes"], 1 << 20);
}
