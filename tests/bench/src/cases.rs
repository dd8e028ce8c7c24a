//! Requests over HTTP: the host and the reference in short alternating rounds.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::http::{self, Connection};
use crate::load::Load;
use crate::process::Server;
use crate::report::{Compared, Report, Target};
use crate::stats::{Ratio, percentile};
use crate::{Options, Row, deploy, picture, progress};

/// Alone, as many as keep every core busy, and a crowd.
const CONNECTIONS: [usize; 3] = [1, 8, 64];

/// A tensor request and the same flower as a record.
const TENSORS: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}"#;
const RECORD: &str = r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#;

/// Looks at a version, ten milliseconds apart, until its sandboxes begin configured.
const PATIENCE: usize = 6_000;

const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";

/// Of a picture as a tensor.
pub(crate) const SIDE: u32 = 224;

struct Case {
    row: Row,
    title: &'static str,
    request: Vec<u8>,
    against: Vec<Against>,
    /// Requests of one round over one connection, and over several.
    requests: (usize, usize),
}

/// A route of the reference that a case is compared with.
struct Against {
    path: &'static str,
    request: Vec<u8>,
    /// Whether it answers the same as the host, and is checked for it.
    same: bool,
    cpu: Option<Target>,
    /// With more than one connection: with one, throughput is latency.
    rate: Option<Target>,
}

fn cases() -> Result<Vec<Case>> {
    let jpeg = picture::jpeg()?;
    let host = |model: &str, kind: &str, body: &[u8]| http::request("POST", &format!("/v1/models/{model}/predict"), kind, body);
    let against = |path, kind: &str, body: &[u8], same, cpu: Option<f64>| Against {
        path,
        request: http::request("POST", path, kind, body),
        same,
        cpu: cpu.map(Target::AtMost),
        rate: None,
    };
    let tensors = |cpu| against("/iris", JSON, TENSORS.as_bytes(), false, Some(cpu));
    let record = || against("/iris-record", JSON, RECORD.as_bytes(), true, None);
    Ok(vec![
        Case {
            row: Row::Plain,
            title: "no plugin, tensors in and out",
            request: host("plain", JSON, TENSORS.as_bytes()),
            against: vec![Against { same: true, rate: Some(Target::AtLeast(0.8)), ..tensors(1.25) }],
            requests: (4_000, 8_000),
        },
        Case {
            row: Row::Iris,
            title: "`tabular` + `classify`, fresh sandboxes",
            request: host("iris", JSON, RECORD.as_bytes()),
            against: vec![tensors(2.5), record()],
            requests: (2_000, 4_000),
        },
        Case {
            row: Row::IrisWarm,
            title: "`tabular` + `classify`, warm reuse",
            request: host("iris-warm", JSON, RECORD.as_bytes()),
            against: vec![tensors(1.6), record()],
            requests: (2_000, 4_000),
        },
        Case {
            row: Row::Binary,
            title: "`/v2`, a binary tensor of 1×3×224×224",
            request: picture_tensor("/v2/models/mean_color/infer"),
            against: vec![Against {
                path: "/mean-color",
                request: picture_tensor("/mean-color"),
                same: true,
                cpu: Some(Target::AtMost(1.1)),
                rate: None,
            }],
            requests: (200, 400),
        },
        Case {
            row: Row::Jpeg,
            title: "640×480 JPEG, `image` + `classify`, fresh sandboxes",
            request: host("digits", JPEG, &jpeg),
            against: vec![against("/jpeg", JPEG, &jpeg, true, Some(1.6))],
            requests: (50, 100),
        },
    ])
}

/// An infer request whose tensor of 602,112 bytes follows the JSON.
fn picture_tensor(path: &str) -> Vec<u8> {
    let values: Vec<u8> = (0..3 * SIDE * SIDE).flat_map(|at| ((at % 251) as f32 / 251.0).to_le_bytes()).collect();
    let json = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,3,{SIDE},{SIDE}],"parameters":{{"binary_data_size":{}}}}}]}}"#,
        values.len()
    );
    http::request_with("POST", path, &format!("inference-header-content-length: {}\r\n", json.len()), &[json.as_bytes(), &values].concat())
}

/// Measures the cases that are asked for.
pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut cases = cases()?;
    cases.retain(|case| options.wants(case.row));
    if cases.is_empty() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("mean_color.onnx"), bulkhead_tests::onnx::mean_color(SIDE))?;
    let reference = Server::reference(options, folder.path()).await?;
    let host = Server::host(options, &folder.path().join("host")).await?;
    deploy_all(options, &host).await?;
    for case in &cases {
        agree(case, &host, &reference).await.with_context(|| case.title.to_owned())?;
        for connections in CONNECTIONS {
            progress(&format!("{}, {connections} connections", case.title));
            let compared = compare(options, case, connections, &host, &reference).await.with_context(|| case.title.to_owned())?;
            report.compared.extend(compared);
        }
    }
    reference.stop().await?;
    host.stop().await
}

async fn deploy_all(options: &Options, host: &Server) -> Result<()> {
    let mut connection = Connection::open(host.address).await?;
    for name in ["tabular", "classify", "image"] {
        deploy::plugin(&mut connection, options, name).await?;
    }
    let (iris, iris_onnx) = deploy::demo(options, "iris")?;
    let (digits, digits_onnx) = deploy::demo(options, "digits")?;
    let warm = format!("{iris}\n[sandbox]\nreuse = \"warm\"\n");
    let mean_color = bulkhead_tests::onnx::mean_color(SIDE);
    let models = [
        ("mean_color", "runtime = \"onnx\"\n", &mean_color),
        ("plain", "runtime = \"onnx\"\n", &iris_onnx),
        ("iris", &iris, &iris_onnx),
        ("iris-warm", &warm, &iris_onnx),
        ("digits", &digits, &digits_onnx),
    ];
    for (name, manifest, artifact) in models {
        deploy::model(&mut connection, &deploy::Model { name, version: "1.0.0", manifest, artifact }).await?;
    }
    for (name, ..) in models {
        configured(&mut connection, name).await.with_context(|| format!("`{name}` is not configured ahead of requests"))?;
    }
    Ok(())
}

/// Waits until what is measured is what serves: sandboxes that begin configured.
async fn configured(connection: &mut Connection, model: &str) -> Result<()> {
    let request = http::request("GET", &format!("/v1/models/{model}/versions/1.0.0"), JSON, b"");
    for _ in 0..PATIENCE {
        let document: Value = serde_json::from_slice(connection.send(&request).await?)?;
        let sandboxes = document["sandboxes"].as_array().into_iter().flatten();
        if sandboxes.into_iter().all(|sandbox| sandbox["configured_ahead"] == true) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("it takes too long")
}

/// Sees to it that both sides do the same work.
async fn agree(case: &Case, host: &Server, reference: &Server) -> Result<()> {
    let mut connection = Connection::open(host.address).await?;
    let from_host: Value = serde_json::from_slice(connection.send(&case.request).await?)?;
    let mut connection = Connection::open(reference.address).await?;
    for against in case.against.iter().filter(|against| against.same) {
        let from_reference: Value = serde_json::from_slice(connection.send(&against.request).await?)?;
        if !equal(&from_host, &from_reference) {
            bail!("the host answers {from_host}, the reference's {} answers {from_reference}", against.path);
        }
    }
    Ok(())
}

/// Equal up to the last digits of floats, and to the names under which the two serve.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-5,
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let named = |key: &&String| !key.starts_with("model_");
            a.keys().filter(named).eq(b.keys().filter(named)) && a.iter().filter(|(key, _)| named(key)).all(|(key, value)| equal(value, &b[key]))
        }
        _ => a == b,
    }
}

/// What one side gave, round by round.
#[derive(Default)]
pub(crate) struct Side {
    /// Microseconds of processor time for each request.
    pub(crate) cpu: Vec<f64>,
    /// Requests each second.
    rate: Vec<f64>,
    /// Microseconds.
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Side {
    pub(crate) async fn round(&mut self, server: &Server, load: &mut Load, requests: usize) -> Result<()> {
        let before = server.cpu()?;
        let mut round = load.round(requests).await?;
        let spent = server.cpu()? - before;
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        self.cpu.push(micros(spent) / requests as f64);
        self.rate.push(requests as f64 / round.elapsed.as_secs_f64());
        self.p50.push(micros(percentile(&mut round.latencies, 0.5)));
        self.p99.push(micros(percentile(&mut round.latencies, 0.99)));
        Ok(())
    }
}

async fn compare(options: &Options, case: &Case, connections: usize, host: &Server, reference: &Server) -> Result<Vec<Compared>> {
    let requests = if connections == 1 { case.requests.0 } else { case.requests.1 };
    let mut sides = vec![(host, Load::open(host.address, connections, &case.request).await?, Side::default())];
    for against in &case.against {
        sides.push((reference, Load::open(reference.address, connections, &against.request).await?, Side::default()));
    }
    for (_, load, _) in &mut sides {
        load.round(requests).await?;
    }
    for round in 0..options.rounds() {
        // Forwards and backwards in turn, so that a drift of the machine favours nobody.
        let order: Vec<usize> = if round % 2 == 0 { (0..sides.len()).collect() } else { (0..sides.len()).rev().collect() };
        for at in order {
            let (server, load, side) = &mut sides[at];
            side.round(server, load, requests).await?;
        }
    }
    let (host, references) = sides.split_first().context("a case without a host")?;
    let compared = references.iter().zip(&case.against).map(|((_, _, side), against)| Compared {
        row: format!("{:?}", case.row),
        title: case.title.to_owned(),
        against: against.path.to_owned(),
        connections,
        cpu_us: Ratio::of(&host.2.cpu, &side.cpu),
        requests_per_second: Ratio::of(&host.2.rate, &side.rate),
        p50_us: Ratio::of(&host.2.p50, &side.p50),
        p99_us: Ratio::of(&host.2.p99, &side.p99),
        cpu_target: against.cpu,
        rate_target: against.rate.filter(|_| connections > 1),
    });
    Ok(compared.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::equal;

    #[test]
    fn answers_are_equal_but_for_rounding_and_names() {
        let answer = json!({ "model_name": "a", "outputs": [{ "data": [0.1, 2], "name": "x" }] });
        assert!(equal(&answer, &json!({ "model_name": "b", "outputs": [{ "data": [0.1000001, 2], "name": "x" }] })));
        assert!(!equal(&answer, &json!({ "outputs": [{ "data": [0.2, 2], "name": "x" }] })));
        assert!(!equal(&answer, &json!({ "outputs": [{ "data": [0.1], "name": "x" }] })));
        assert!(!equal(&answer, &json!({ "outputs": [], "more": 1 })));
    }
}
