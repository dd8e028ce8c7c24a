//! An answer that is kept, against the least that a request can be: `GET /health/live`.

use anyhow::{Result, ensure};

use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Pair, Report, Target};
use crate::stats::Ratio;
use crate::{Options, Row, deploy, progress};

const CONNECTIONS: usize = 8;

/// Of one round.
const REQUESTS: usize = 8_000;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Cache) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let host = Server::host(options, &folder.path().join("host")).await?;
    let (_, artifact) = deploy::demo(options, "iris")?;
    let model = deploy::Model { name: "kept", version: "1.0.0", manifest: "runtime = \"onnx\"\n[cache]\nttl_seconds = 3600\n", artifact: &artifact };
    deploy::model(&mut Connection::open(host.address).await?, &model).await?;
    let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}"#;
    let request = http::request("POST", "/v1/models/kept/predict", "application/json", body.as_bytes());
    let live = http::request("GET", "/health/live", "application/json", b"");
    let mut of_kept = Load::open(host.address, CONNECTIONS, &request).await?;
    let mut of_live = Load::open(host.address, CONNECTIONS, &live).await?;
    progress("answers that are kept");
    of_kept.round(REQUESTS).await?;
    of_live.round(REQUESTS).await?;
    let (mut kept, mut least) = (Vec::new(), Vec::new());
    for round in 0..options.rounds() {
        let mut both = [(&mut of_kept, &mut kept), (&mut of_live, &mut least)];
        if round % 2 == 1 {
            both.reverse();
        }
        for (load, spent) in both {
            let before = host.cpu()?;
            load.round(REQUESTS).await?;
            spent.push((host.cpu()? - before).as_secs_f64() * 1e6 / REQUESTS as f64);
        }
    }
    let metrics = http::request("GET", "/metrics", "text/plain", b"");
    let mut connection = Connection::open(host.address).await?;
    let text = String::from_utf8_lossy(connection.send(&metrics).await?).into_owned();
    ensure!(text.contains("event=\"miss\",model=\"kept\",tenant=\"default\",version=\"1.0.0\"} 1\n"), "more than one answer was made:\n{text}");
    report.pairs.push(Pair {
        title: "processor time of an answer that is kept / of `GET /health/live`".to_owned(),
        unit: "µs",
        numbers: Ratio::of(&kept, &least),
        target: Some(Target::AtMost(1.5)),
    });
    host.stop().await
}
