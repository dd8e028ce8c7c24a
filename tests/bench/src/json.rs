//! A tensor of 150,528 floats as JSON: the host's whole request against simd-json's reading of the same text.

use anyhow::{Result, anyhow};
use nix::time::{ClockId, clock_gettime};

use crate::cases::SIDE;
use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Pair, Report, Target};
use crate::stats::Ratio;
use crate::{Options, Row, deploy, progress};

/// Of one round.
const REQUESTS: usize = 40;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(Row::Json) {
        return Ok(());
    }
    let text = text();
    let folder = tempfile::tempdir()?;
    let host = Server::host(options, &folder.path().join("host")).await?;
    let artifact = bulkhead_tests::onnx::mean_color(SIDE);
    let model = deploy::Model { name: "mean_color", version: "1.0.0", manifest: "runtime = \"onnx\"\n", artifact: &artifact };
    deploy::model(&mut Connection::open(host.address).await?, &model).await?;
    let request = http::request("POST", "/v2/models/mean_color/infer", "application/json", text.as_bytes());
    let mut load = Load::open(host.address, 1, &request).await?;
    progress("150,528 floats as JSON");
    load.round(REQUESTS).await?;
    parse(&text)?;
    let (mut of_host, mut of_parser) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        let before = host.cpu()?;
        load.round(REQUESTS).await?;
        of_host.push((host.cpu()? - before).as_secs_f64() * 1e6 / REQUESTS as f64);
        of_parser.push(parse(&text)?);
    }
    report.pairs.push(Pair {
        title: format!(
            "`/v2`, {} floats as JSON ({} kB): processor time of the whole request / of simd-json's reading the text",
            3 * SIDE * SIDE,
            text.len() / 1000
        ),
        unit: "µs",
        numbers: Ratio::of(&of_host, &of_parser),
        target: Some(Target::AtMost(2.0)),
    });
    host.stop().await
}

/// As clients in Python write it: the shortest digits that make each number.
fn text() -> String {
    let values: Vec<String> = (0..3 * SIDE * SIDE).map(|at| ((at % 251) as f32 / 251.0).to_string()).collect();
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,3,{SIDE},{SIDE}],"data":[{}]}}]}}"#, values.join(","))
}

/// Microseconds of this thread's processor time for each reading. The parser works in the text, so each gets a copy,
/// which is not counted.
fn parse(text: &str) -> Result<f64> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(std::time::Duration::from);
    let mut spent = std::time::Duration::ZERO;
    for _ in 0..REQUESTS {
        let mut copy = text.as_bytes().to_vec();
        let before = now()?;
        let tape = simd_json::to_tape(&mut copy).map_err(|error| anyhow!("{error}"))?;
        std::hint::black_box(&tape);
        spent += now()? - before;
    }
    Ok(spent.as_secs_f64() * 1e6 / REQUESTS as f64)
}
