//! What it costs to know who asks, and to hold it to its quotas: the same request to two hosts.

use anyhow::{Context as _, Result};

use crate::cases::Side;
use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Pair, Report, Target};
use crate::stats::Ratio;
use crate::{Options, Row, deploy, progress};

/// Connections, and requests of one round.
const LOADS: [(usize, usize); 3] = [(1, 4_000), (8, 8_000), (64, 8_000)];

/// Bounds that are never met, and looked at with each request.
const QUOTAS: [(&str, &str); 5] = [
    // Where models run is another row.
    ("BULKHEAD_ENGINE_ISOLATION", "off"),
    ("BULKHEAD_AUTH_MODE", "required"),
    ("BULKHEAD_QUOTAS_REQUESTS_PER_SECOND", "100000000"),
    ("BULKHEAD_QUOTAS_CONCURRENT_REQUESTS", "1000000"),
    ("BULKHEAD_QUOTAS_QUEUED_MB", "100000"),
];

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Auth) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let guarded_data = folder.path().join("guarded");
    let open = Server::host(options, &folder.path().join("open")).await?;
    let guarded = Server::host_with(options, &guarded_data, &QUOTAS).await?;
    let minted =
        tokio::process::Command::new(&options.bulkhead).args(["token", "mint", "--scope", "all", "--data-dir"]).arg(&guarded_data).output().await?;
    let token = String::from_utf8(minted.stdout).context("a token")?.trim().to_owned();
    let (_, artifact) = deploy::demo(options, "iris")?;
    let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}"#;
    let mut requests = Vec::new();
    for (host, credential) in [(&guarded, format!("authorization: Bearer {token}\r\n")), (&open, String::new())] {
        let model = deploy::Model { name: "plain", version: "1.0.0", manifest: "runtime = \"onnx\"\n", artifact: &artifact };
        deploy::model_as(&mut Connection::open(host.address).await?, &model, &credential).await?;
        let headers = format!("content-type: application/json\r\n{credential}");
        requests.push(http::request_with("POST", "/v1/models/plain/predict", &headers, body.as_bytes()));
    }
    for (connections, count) in LOADS {
        progress(&format!("authentication on and off, {connections} connections"));
        let mut sides = Vec::new();
        for (server, request) in [&guarded, &open].into_iter().zip(&requests) {
            let mut load = Load::open(server.address, connections, request).await?;
            load.round(count).await?;
            sides.push((server, load, Side::default()));
        }
        for round in 0..options.rounds() {
            for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let (server, load, side) = &mut sides[at];
                side.round(server, load, count).await?;
            }
        }
        report.pairs.push(Pair {
            title: format!("iris without plugins, {connections} connections: processor time with authentication and quotas / without"),
            unit: "µs",
            numbers: Ratio::of(&sides[0].2.cpu, &sides[1].2.cpu),
            target: Some(Target::AtMost(1.1)),
        });
    }
    guarded.stop().await?;
    open.stop().await
}
