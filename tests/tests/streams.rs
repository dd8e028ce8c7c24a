//! Connections of clients that stall, say nothing, take nothing, or never hang up; mostly of gRPC. Frames are written by hand:
//! a client library sends a message whole or not at all.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bulkhead_tests::{TestHost, eventually};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// Of frames, as RFC 9113 has them.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The head of a call, each field a literal of its own (RFC 7541, 6.2.2).
fn head(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc"), ("te", "trailers")];
    let fields = fields.iter().chain(more);
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    frame(HEADERS, END_HEADERS, 1, &fields.flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect::<Vec<u8>>())
}

/// Opens a connection and calls a method, with these bytes of a message.
async fn call(host: &TestHost, path: &str, message: &[u8], flags: u8) -> TcpStream {
    call_with(host, path, &[], message, flags).await
}

async fn call_with(host: &TestHost, path: &str, more: &[(&str, &str)], message: &[u8], flags: u8) -> TcpStream {
    let mut stream = TcpStream::connect(host.grpc_address()).await.expect("a connection");
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &head(path, more), &frame(DATA, flags, 1, message)].concat();
    stream.write_all(&bytes).await.expect("an open connection");
    stream
}

/// The kind and the content of the next frame; whether the host is there is answered as it must be.
async fn next(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await?;
    if head[3] == PING && head[4] & ACK == 0 {
        stream.write_all(&frame(PING, ACK, 0, &payload)).await?;
    }
    Ok((head[3], payload))
}

/// Reads frames until one is of this kind and ends so.
async fn heard(stream: &mut TcpStream, kind: u8, end: &[u8]) {
    let read = async {
        loop {
            let (of, payload) = next(stream).await.expect("another frame");
            if of == kind && payload.ends_with(end) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the frame in time");
}

/// Reads on until the headers that end a call say this status, in the code that HPACK has for digits (RFC 7541, appendix B).
async fn ends_with(stream: &mut TcpStream, status: &[u8]) {
    let read = async {
        loop {
            let (of, payload) = next(stream).await.expect("another frame");
            if of == HEADERS && payload.windows(status.len()).any(|window| window == status) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the status in time");
}

/// 16: UNAUTHENTICATED. 7: PERMISSION_DENIED. 5: NOT_FOUND.
const UNAUTHENTICATED: &[u8] = &[0x82, 0x0b, 0x9f];
const PERMISSION_DENIED: &[u8] = &[0x81, 0x77];
const NOT_FOUND: &[u8] = &[0x81, 0x6f];

#[tokio::test]
async fn a_stream_ends_with_its_credential() {
    let host = TestHost::guarded().await;
    let key = async |tenant: &str| {
        host.bear(&host.token(tenant, "all"));
        let made = host.post_json("/v1/keys", &json!({ "name": "ci", "scopes": ["models:predict", "models:write"] })).await.expect(201).json();
        (made["id"].as_str().expect("an id").to_owned(), made["key"].as_str().expect("a key").to_owned())
    };
    let path = "/inference.GRPCInferenceService/ModelStreamInfer";
    let open = async |key: &str| {
        // A request for a model that there is not, which ends no stream.
        let mut stream = call_with(&host, path, &[("x-api-key", key)], b"\0\0\0\0\x06\x0a\x04none", 0).await;
        heard(&mut stream, DATA, b"").await;
        stream
    };
    let ((id, revoked), (_, shut), (_, stays)) = (key("acme").await, key("shut").await, key("other").await);
    let (mut one, mut two, mut three) = (open(&revoked).await, open(&shut).await, open(&stays).await);
    host.bear(&host.token("acme", "all"));
    host.delete(&format!("/v1/keys/{id}")).await.ok();
    let began = Instant::now();
    ends_with(&mut one, UNAUTHENTICATED).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    host.bear(&host.mint(&["--tenant", "ops", "--scope", "all", "--across", "all"]));
    host.send(host.request(reqwest::Method::PUT, "/v1/tenants/shut").json(&json!({ "disabled": true }))).await.ok();
    ends_with(&mut two, PERMISSION_DENIED).await;
    three.write_all(&frame(DATA, 0, 1, b"\0\0\0\0\x06\x0a\x04none")).await.unwrap();
    heard(&mut three, DATA, b"").await;
    let rows = host.get("/v1/audit?all_tenants=true&result=denied").await.ok();
    let reasons: Vec<_> = rows["items"].as_array().unwrap().iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["tenant_disabled", "key_revoked"]);
    // A change that fails is written down, by whichever protocol it was asked for.
    for method in ["RepositoryModelLoad", "RepositoryModelUnload"] {
        let path = format!("/inference.GRPCInferenceService/{method}");
        let mut stream = call_with(&host, &path, &[("x-api-key", &stays)], b"\0\0\0\0\x06\x12\x04none", END_STREAM).await;
        ends_with(&mut stream, NOT_FOUND).await;
    }
    let rows = host.get("/v1/audit?all_tenants=true&result=failed").await.ok();
    let rows: Vec<_> = rows["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["action"].as_str().unwrap(),
                row["target"].as_str().unwrap().ends_with(" none"),
                row["reason"].as_str().unwrap(),
                row["target_tenant"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows.iter()
            .all(|(action, named, reason, tenant)| action.contains("RepositoryModel") && *named && *reason == "not_found" && *tenant == "other"),
        "{rows:?}"
    );
}

#[tokio::test]
async fn a_crowd_of_connections_is_bounded_and_keeps_no_probe_out() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_MAX_CONNECTIONS", "4").start().await;
    let is_closed = async |stream: &mut TcpStream| {
        let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut [0; 1])).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    };
    for (address, most) in [(host.address().to_owned(), 4), (host.grpc_address().to_owned(), 4)] {
        let mut open = Vec::new();
        let refused = async {
            loop {
                let mut stream = TcpStream::connect(&address).await.expect("a connection");
                if is_closed(&mut stream).await {
                    return;
                }
                open.push(stream);
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.expect("one too many");
        assert!((1..=most).contains(&open.len()), "{}", open.len());
        assert!(host.admin_get("/health/ready").await.status == 200);
        // One that hangs up makes room.
        drop(open);
        eventually("there is room again", PATIENCE, async || {
            let mut stream = TcpStream::connect(&address).await.expect("a connection");
            !is_closed(&mut stream).await
        })
        .await;
    }
    let metrics = host.admin_get("/metrics").await.text();
    let refused = metrics.lines().find_map(|line| line.strip_prefix("bulkhead_connections_refused_total ")).expect("a metric");
    assert!(refused.parse::<u32>().unwrap() >= 2, "{refused}");
    assert!(host.log().iter().any(|line| line.to_string().contains("http.max_connections")));
}

/// Listens on until the host hangs up.
fn listens(mut stream: TcpStream) {
    tokio::spawn(async move { while next(&mut stream).await.is_ok() {} });
}

#[tokio::test]
async fn a_message_that_stalls_has_its_place_and_its_time() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_MAX_IN_FLIGHT", "1").env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "4000").start().await;
    host.plain(&["add_one"]).await;
    let row = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    assert_eq!(host.predict("add_one", &row).await.status, 200);
    // A message of 1000 bytes, of which ten come; called again where the place was just taken by who looks.
    let mut stalled = Vec::new();
    let mut began = Instant::now();
    eventually("the place is taken before the message is there", PATIENCE, async || {
        began = Instant::now();
        stalled.push(call(&host, "/inference.GRPCInferenceService/ModelInfer", b"\0\0\0\x03\xe8aaaaaaaaaa", 0).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = host.predict("add_one", &row).await;
        answer.status == 503 && answer.header("retry-after") == "1"
    })
    .await;
    eventually("the place is free again", PATIENCE, async || host.predict("add_one", &row).await.status == 200).await;
    assert!(began.elapsed() >= Duration::from_secs(4), "it had its time: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_host_that_stops_waits_for_nobody_who_only_listens() {
    let mut host = TestHost::setup().env("BULKHEAD_HTTP_DRAIN_TIMEOUT_MS", "600000").start().await;
    let mut silent = TcpStream::connect(host.grpc_address()).await.unwrap();
    let mut hesitant = TcpStream::connect(host.grpc_address()).await.unwrap();
    hesitant.write_all(b"P").await.unwrap();
    // An empty message asks for the whole host.
    let mut watch = call(&host, "/grpc.health.v1.Health/Watch", &[0; 5], END_STREAM).await;
    // SERVING is a message of two bytes: field 1 is 1.
    heard(&mut watch, DATA, &[0, 0, 0, 0, 2, 8, 1]).await;
    let mut open = call(&host, "/inference.GRPCInferenceService/ModelStreamInfer", &[], 0).await;
    heard(&mut open, HEADERS, &[]).await;
    let mut curious = Vec::new();
    for version in ["v1", "v1alpha"] {
        // Field 7 asks for the list of services, whatever it says.
        let asked = b"\0\0\0\0\x03\x3a\x01*";
        let mut stream = call(&host, &format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"), asked, 0).await;
        heard(&mut stream, DATA, &[]).await;
        curious.push(stream);
    }
    listens(watch);
    listens(open);
    curious.into_iter().for_each(listens);
    host.terminate();
    assert!(host.ended().await.success());
    for stream in [&mut silent, &mut hesitant] {
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn a_stream_may_be_silent_between_its_messages_and_not_within_one() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "1500").start().await;
    host.plain(&["add_one"]).await;
    let path = "/inference.GRPCInferenceService/ModelStreamInfer";
    let mut silent = call(&host, path, &[], 0).await;
    let mut stalls = call(&host, path, b"\0\0\0\x03\xe8aaaaaaaaaa", 0).await;
    let began = Instant::now();
    // Headers once, and once more where its answers would have ended.
    heard(&mut stalls, HEADERS, &[]).await;
    heard(&mut stalls, HEADERS, &[]).await;
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    // The other has said nothing for longer, and is answered: a request for a model that there is not.
    silent.write_all(&frame(DATA, 0, 1, b"\0\0\0\0\x06\x0a\x04none")).await.unwrap();
    heard(&mut silent, DATA, b"").await;
}

#[tokio::test]
async fn messages_that_would_grow_are_refused_before_they_do() {
    let host = TestHost::start().await;
    let before = host.resident_kb();
    // Two bytes each; in the second case behind a group, which a decoder passes over.
    let inputs = [0x2a, 0].repeat(8 << 20);
    for message in [inputs.clone(), [&[0xa3, 0x06, 0xa4, 0x06][..], &inputs].concat()] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&message).unwrap();
        let small = gzip.finish().unwrap();
        let framed = [&[1][..], &u32::try_from(small.len()).unwrap().to_be_bytes(), &small].concat();
        let mut stream = TcpStream::connect(host.grpc_address()).await.unwrap();
        let head = head("/inference.GRPCInferenceService/ModelInfer", &[("grpc-encoding", "gzip")]);
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &head].concat()).await.unwrap();
        for piece in framed.chunks(16 << 10) {
            stream.write_all(&frame(DATA, 0, 1, piece)).await.unwrap();
        }
        stream.write_all(&frame(DATA, END_STREAM, 1, &[])).await.unwrap();
        heard(&mut stream, HEADERS, &[]).await;
    }
    let grown = host.resident_kb().saturating_sub(before);
    assert!(grown < 300_000, "{grown} KiB more");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_held_no_longer_than_a_request_may_last() {
    let host = TestHost::setup().env("BULKHEAD_HTTP_REQUEST_TIMEOUT_MS", "1500").start().await;
    host.plain(&["identity_f32"]).await;
    let elements = 8 << 20;
    let json = json!({ "parameters": { "binary_data_output": true }, "inputs": [
        { "name": "x", "datatype": "FP32", "shape": [1, elements], "parameters": { "binary_data_size": elements * 4 } }
    ] });
    let json = json.to_string();
    let length = json.len() + elements * 4;
    let head = format!(
        "POST /v2/models/identity_f32/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\ninference-header-content-length: {}\r\n\r\n{json}",
        json.len()
    );
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; elements * 4]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut taken = Vec::new();
    // The connection broke, or ends: either way most of the answer never came.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut taken)).await.expect("an end");
    assert!(taken.len() < elements * 4, "{} bytes", taken.len());
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_in_time_and_told_so_at_once() {
    let host = TestHost::start().await;
    host.plain(&["identity_f32"]).await;
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    let head = "POST /v1/models/identity_f32/predict HTTP/1.1\r\nhost: a\r\nx-bulkhead-timeout-ms: 300\r\ncontent-length: 1000000\r\n\r\n{";
    let began = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").expect("in whole");
    assert_eq!(&answer, b"HTTP/1.1 504");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
