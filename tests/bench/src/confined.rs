//! Models in a process of their tenant's own, against models in the host's.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Pair, Report, Target};
use crate::stats::{Ratio, percentile};
use crate::{Options, Row, batching, deploy, progress};

const PLAIN: &str = "runtime = \"onnx\"\n";

struct Case {
    title: &'static str,
    model: &'static str,
    artifact: Vec<u8>,
    request: Vec<u8>,
    /// Of one round.
    requests: usize,
    at_most: f64,
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Confined) {
        return Ok(());
    }
    let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}"#;
    let cases = [
        Case {
            title: "iris",
            model: "iris",
            artifact: deploy::demo(options, "iris")?.1,
            request: http::request("POST", "/v1/models/iris/predict", "application/json", body.as_bytes()),
            requests: 2_000,
            at_most: 1.6,
        },
        Case {
            title: "wide dense network",
            model: "dense",
            artifact: bulkhead_tests::onnx::dense(&batching::WIDTHS),
            request: batching::request("dense"),
            requests: 30,
            at_most: 1.05,
        },
    ];
    let folder = tempfile::tempdir()?;
    let apart = Server::host_with(options, &folder.path().join("apart"), &[("BULKHEAD_ENGINE_ISOLATION", "process")]).await?;
    let within = Server::host_with(options, &folder.path().join("within"), &[("BULKHEAD_ENGINE_ISOLATION", "off")]).await?;
    for case in &cases {
        report.pairs.push(compare(options, case, &apart, &within).await?);
    }
    apart.stop().await?;
    within.stop().await
}

async fn compare(options: &Options, case: &Case, apart: &Server, within: &Server) -> Result<Pair> {
    progress(&format!("{}, in a process of its tenant's own", case.title));
    let mut answers = Vec::new();
    for host in [apart, within] {
        let mut connection = Connection::open(host.address).await?;
        let model = deploy::Model { name: case.model, version: "1.0.0", manifest: PLAIN, artifact: &case.artifact };
        deploy::model(&mut connection, &model).await?;
        answers.push(connection.send(&case.request).await?.to_vec());
    }
    ensure!(answers[0] == answers[1], "the two answer differently");
    let mut sides =
        [(Load::open(apart.address, 1, &case.request).await?, Vec::new()), (Load::open(within.address, 1, &case.request).await?, Vec::new())];
    for (load, _) in &mut sides {
        load.round(case.requests).await?;
    }
    for round in 0..options.rounds() {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for at in order {
            let (load, medians) = &mut sides[at];
            let mut round = load.round(case.requests).await?;
            medians.push(micros(percentile(&mut round.latencies, 0.5)));
        }
    }
    let [(_, apart), (_, within)] = sides;
    Ok(Pair {
        title: format!("{}: latency with the model in its tenant's process / in the host's, 1 connection", case.title),
        unit: "µs",
        numbers: Ratio::of(&apart, &within),
        target: Some(Target::AtMost(case.at_most)),
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
