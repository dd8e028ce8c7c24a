//! A host that runs: the real binary, on ports and in a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Answer, Setup, eventually};

/// A host that runs. It is killed when this is dropped; a test that panics shows its log.
pub struct TestHost {
    setup: Setup,
    folder: TempDir,
    child: Child,
    log: Log,
    http: reqwest::Client,
    address: String,
    grpc_address: String,
    admin_address: String,
    credential: Mutex<Option<String>>,
}

type Log = Arc<Mutex<Vec<String>>>;

/// A connection that nobody has used for so long is not used again.
const IDLE: Duration = Duration::from_secs(10);

/// Bounds that only a broken host meets, on however busy a machine.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(120);

impl TestHost {
    /// A host as it is without any settings.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// A host that lets nobody in without a credential.
    pub async fn guarded() -> Self {
        Setup::default().env("BULKHEAD_AUTH_MODE", "required").start().await
    }

    /// A host with settings.
    #[must_use]
    pub fn setup() -> Setup {
        Setup::default()
    }

    pub(crate) async fn start_in(folder: TempDir, setup: Setup) -> Self {
        // The client insists on one, though it speaks plain HTTP here. Fails only where one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The host hangs up on who is silent for half a minute: a connection that is about to be closed is not used again.
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST).pool_idle_timeout(IDLE).build().expect("a client");
        let child = setup.spawn(folder.path());
        let mut host = Self {
            setup,
            folder,
            child,
            log: Log::default(),
            http,
            address: String::new(),
            grpc_address: String::new(),
            admin_address: String::new(),
            credential: Mutex::default(),
        };
        host.wait_until_ready().await;
        host
    }

    async fn wait_until_ready(&mut self) {
        self.log = follow(self.child.stderr.take().expect("standard error"));
        let (log, child) = (Arc::clone(&self.log), &mut self.child);
        let mut addresses = None;
        eventually("the host listens", START, async || {
            addresses = listening(&log);
            let ended = child.try_wait().expect("the state of the process");
            assert!(addresses.is_some() || ended.is_none(), "the host ended with {ended:?}:\n{}", shown(&log));
            addresses.is_some()
        })
        .await;
        [self.address, self.grpc_address, self.admin_address] = addresses.expect("addresses");
        let ready = async || self.get("/health/ready").await.status == 200;
        eventually("the host is ready", START, ready).await;
    }

    /// Where it listens, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it serves gRPC, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn grpc_address(&self) -> &str {
        &self.grpc_address
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.setup.data(self.folder.path())
    }

    /// A request, to be built further.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bearing(self.http.request(method, format!("http://{}{path}", self.address)))
    }

    /// The same with a credential of its own.
    pub fn request_as(&self, credential: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address)).bearer_auth(credential)
    }

    fn bearing(&self, request: RequestBuilder) -> RequestBuilder {
        match &*self.credential.lock().expect("the credential") {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    /// From now on requests bring this credential; an empty one is none. Gives the one until now.
    pub fn bear(&self, credential: &str) -> String {
        let credential = Some(credential.to_owned()).filter(|credential| !credential.is_empty());
        std::mem::replace(&mut *self.credential.lock().expect("the credential"), credential).unwrap_or_default()
    }

    /// A token of the host's own secret for development.
    #[must_use]
    pub fn token(&self, tenant: &str, scopes: &str) -> String {
        self.mint(&["--tenant", tenant, "--user", "ann", "--scope", scopes])
    }

    /// A token, with whatever arguments `token mint` takes.
    #[must_use]
    pub fn mint(&self, arguments: &[&str]) -> String {
        let output = crate::command().args(["token", "mint", "--data-dir"]).arg(self.data()).args(arguments).output().expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Sends a request and reads its answer; a broken connection is a failed test.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        Answer::read(response).await
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `GET` of the admin listener.
    pub async fn admin_get(&self, path: &str) -> Answer {
        self.send(self.bearing(self.http.get(format!("http://{}{path}", self.admin_address)))).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// `PUT` of bytes.
    pub async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(self.request(Method::PUT, path).body(body.into())).await
    }

    /// `POST` of a body of some type.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(self.request(Method::POST, path).header("content-type", content_type).body(body.into())).await
    }

    /// `POST` of JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// Predicts with the version in production, JSON in.
    pub async fn predict(&self, model: &str, body: &Value) -> Answer {
        self.post_json(&format!("/v1/models/{model}/predict"), body).await
    }

    /// Waits until fresh instances of all of a version's transforms begin configured.
    pub async fn configured_ahead(&self, model: &str, version: &str) {
        eventually("the plugins are configured ahead of requests", STOP, async || {
            let document = self.get(&format!("/v1/models/{model}/versions/{version}")).await.ok();
            let sandboxes = document["sandboxes"].as_array().cloned().unwrap_or_default();
            !sandboxes.is_empty() && sandboxes.iter().all(|sandbox| sandbox["configured_ahead"] == true)
        })
        .await;
    }

    /// Log lines so far, as JSON; lines that are none are left out.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().expect("the log").iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Kilobytes of memory that the process holds.
    #[must_use]
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
        line.trim().trim_end_matches(" kB").parse().expect("kilobytes")
    }

    /// Asks the host to stop; it goes on answering what is under way.
    pub fn terminate(&self) {
        // The shell's own `kill` is there where no package brings one.
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(status.expect("a shell").success());
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        eventually("the host ends", STOP, async || {
            status = child.try_wait().expect("the state of the process");
            status.is_some()
        })
        .await;
        status.expect("a status")
    }

    /// Kills the host at once, as a power cut would.
    pub fn kill9(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("a process that was killed");
    }

    /// Starts a host that has ended again, in the same folder.
    pub async fn start_again(&mut self) {
        self.child = self.setup.spawn(self.folder.path());
        self.wait_until_ready().await;
    }

    /// Stops the host in order, and starts it again.
    pub async fn restart(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{status}");
        self.start_again().await;
    }

    /// Files below a folder of the data folder, with their paths relative to it, sorted.
    #[must_use]
    pub fn files(&self, folder: &str) -> Vec<String> {
        let root = self.data().join(folder);
        let mut files = Vec::new();
        walk(&root, &mut files);
        let mut names: Vec<_> = files.iter().map(|file| file.strip_prefix(&root).unwrap_or(file).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the host's log:\n{}", shown(&self.log));
        }
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// Reads the log on a thread of its own: a pipe that nobody reads would stop the host.
fn follow(stderr: ChildStderr) -> Log {
    let log = Log::default();
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            kept.lock().expect("the log").push(line);
        }
    });
    log
}

/// Where HTTP, gRPC and probes are served.
fn listening(log: &Log) -> Option<[String; 3]> {
    log.lock().expect("the log").iter().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let address = |key: &str| Some(line.get(key)?.as_str()?.to_owned());
        Some([address("address")?, address("grpc.address")?, address("admin.address")?])
    })
}

fn shown(log: &Log) -> String {
    const LAST: usize = 60;
    let log = log.lock().expect("the log");
    log[log.len().saturating_sub(LAST)..].join("\n")
}
