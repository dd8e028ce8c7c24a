//! TLS: on every listener, renewed without a restart, and plain text refused.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{command, eventually};
use rcgen::{CertifiedKey, generate_simple_self_signed};

const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for this machine's loopback; gives its text.
fn certify(folder: &Path) -> String {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(key_file, signing_key.serialize_pem()).expect("a key");
    std::fs::write(&cert_file, cert.pem()).expect("a certificate");
    cert.pem()
}

fn client(pem: &str) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).pool_max_idle_per_host(0).build().expect("a client")
}

/// A host that ends with the test.
struct Host(std::process::Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn every_listener_speaks_tls_and_takes_a_new_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = certify(folder.path());
    let ports = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [http, grpc, admin] = ports.map(|port| port.local_addr().expect("an address"));
    let mut serve = command();
    serve.args(["serve", "--listen", &http.to_string(), "--grpc-listen", &grpc.to_string(), "--admin-listen", &admin.to_string(), "--data-dir"]);
    serve.arg(folder.path().join("data")).env("BULKHEAD_TLS_CERT_FILE", folder.path().join("cert.pem"));
    serve.env("BULKHEAD_TLS_KEY_FILE", folder.path().join("key.pem")).stdin(Stdio::null()).stderr(Stdio::null());
    let _host = Host(serve.spawn().expect("the binary starts"));

    let status = async |client: &reqwest::Client, url: String| client.get(url).send().await.ok().map(|answer| answer.status().as_u16());
    let trusting = client(&first);
    eventually("the host is ready", PATIENCE, async || status(&trusting, format!("https://{http}/health/ready")).await == Some(200)).await;
    assert_eq!(status(&trusting, format!("https://{admin}/health/live")).await, Some(200));
    assert_eq!(status(&trusting, format!("http://{http}/health/live")).await, None, "plain text is no TLS");
    // gRPC's own health, by the program that everybody has: HTTP/2 by ALPN.
    let ca = folder.path().join("cert.pem");
    let health = "import grpc,sys\nfrom grpc_health.v1 import health_pb2 as p, health_pb2_grpc as g\n\
                  c=grpc.secure_channel(sys.argv[1],grpc.ssl_channel_credentials(open(sys.argv[2],'rb').read()))\n\
                  print(g.HealthStub(c).Check(p.HealthCheckRequest(),timeout=10).status)";
    let python = bulkhead_tests::fixtures::workspace().join("target/clients/venv/bin/python");
    let output = std::process::Command::new(python).args(["-c", health, &grpc.to_string()]).arg(&ca).output().expect("python");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "{}", String::from_utf8_lossy(&output.stderr));
    // The command line.
    let listed = |ca: &Path| {
        let output =
            command().args(["model", "list", "--json", "--url", &format!("https://{http}"), "--ca-file"]).arg(ca).output().expect("the binary");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(listed(&ca), (true, "[]\n".to_owned()));

    // One that is none leaves the old one in use.
    std::fs::write(folder.path().join("cert.pem"), "no certificate").expect("a file");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(status(&trusting, format!("https://{http}/health/live")).await, Some(200));
    let second = client(&certify(folder.path()));
    eventually("the new certificate is served", PATIENCE, async || status(&second, format!("https://{http}/health/live")).await == Some(200)).await;
    // A client of its own: another would go on with the session that it has.
    assert_eq!(status(&client(&first), format!("https://{http}/health/live")).await, None, "the old one is served no more");
    // Whoever connects and says nothing keeps nobody else out.
    let silent = [(); 20].map(|()| std::net::TcpStream::connect(http).expect("a connection"));
    assert_eq!(status(&second, format!("https://{http}/health/live")).await, Some(200));
    drop(silent);
}
