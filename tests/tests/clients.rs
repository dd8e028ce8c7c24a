//! The clients that people have, unmodified: each in a process of its own, against the real binary.

use std::path::PathBuf;
use std::process::Command;

use bulkhead_tests::{TestHost, cannot_run_here, fixtures, onnx};

/// What `deploy/setup/clients.sh` fetches.
fn fetched(path: &str) -> PathBuf {
    let path = fixtures::workspace().join("target/clients").join(path);
    assert!(path.exists(), "there is no `{}`: run `deploy/setup/clients.sh` (`make setup-test` does)", path.display());
    path
}

async fn host() -> TestHost {
    let host = TestHost::start().await;
    let plain =
        ["add_one", "identity_f32", "all_types", "string_identity", "optional_rank0", "default_rank0", "two_inputs", "table", "token_sums", "slow"];
    host.plain(&plain).await;
    let batching = format!("{}\n[batching]\nmax_batch_size = 8\npreferred_batch_size = [4]", fixtures::PLAIN);
    host.deploy("batched", "1.0.0", &batching, fixtures::model("add_one")).await;
    for (datatype, element) in onnx::TYPES {
        host.deploy(&format!("identity-{}", datatype.to_lowercase()), "1.0.0", fixtures::PLAIN, onnx::identity(element)).await;
    }
    host.demo("iris").await;
    host
}

async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output().expect("a program that starts")).await.expect("a process");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{text}", output.status);
    text
}

async fn script(name: &str, address: &str) {
    let mut command = Command::new(fetched("venv/bin/python"));
    command.arg(fixtures::workspace().join("tests/clients").join(name)).arg(address);
    let said = run(command).await;
    assert!(said.contains(&format!("{name}: ok")), "{said}");
}

#[tokio::test]
async fn tritonclient_over_http() {
    let host = host().await;
    script("triton_http.py", host.address()).await;
}

#[tokio::test]
async fn tritonclient_over_http_with_asyncio() {
    let host = host().await;
    script("triton_aio.py", host.address()).await;
}

#[tokio::test]
async fn tritonclient_over_grpc() {
    let host = host().await;
    script("triton_grpc.py", host.grpc_address()).await;
}

#[tokio::test]
async fn tritonclient_over_grpc_with_asyncio() {
    let host = host().await;
    script("triton_grpc_aio.py", host.grpc_address()).await;
}

#[tokio::test]
async fn kserve_over_rest() {
    let host = host().await;
    script("kserve_rest.py", host.address()).await;
}

#[tokio::test]
async fn kserve_over_grpc() {
    let host = host().await;
    script("kserve_grpc.py", host.grpc_address()).await;
}

#[tokio::test]
async fn perf_analyzer_measures_over_both() {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return cannot_run_here("perf_analyzer is a program for Linux on x86-64");
    }
    let host = host().await;
    for (protocol, address) in [("http", host.address()), ("grpc", host.grpc_address())] {
        let program = fetched("perf/perf_analyzer");
        let mut command = Command::new(&program);
        command.env("LD_LIBRARY_PATH", program.parent().expect("a folder"));
        // Short windows, of which any will do: this is about whether it works, not about how fast.
        command.args(["-m", "batched", "-b", "2", "-i", protocol, "-u", address, "-p", "300", "--max-trials", "3", "-s", "999"]);
        command.args(["--concurrency-range", "1:4:3"]);
        let said = run(command).await;
        assert!(said.contains("Concurrency: 4, throughput: "), "{said}");
        // It read the statistics, too.
        let counts = said.lines().filter_map(|line| line.trim().strip_prefix("Inference count: ")?.parse::<u64>().ok());
        assert!(counts.max().unwrap_or(0) > 0, "{said}");
    }
}
