//! What is measured in seconds and mebibytes: uploads, restarts, memory at rest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::http::{self, Connection};
use crate::process::Server;
use crate::report::{Absolute, Report, Target};
use crate::stats::Spread;
use crate::{Options, Row, deploy, picture, progress};

/// Versions that a restart brings back.
const VERSIONS: usize = 100;

/// After this an idle host does nothing any more.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures the rows that are asked for.
pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let times = if options.quick { 1 } else { 3 };
    if options.wants(Row::Upload) {
        progress("uploads to first predictions");
        for (title, demo) in [
            ("upload of `tabular`, `classify` and iris to its first prediction", Demo::Iris),
            ("upload of `image`, `classify` and digits to its first prediction", Demo::Digits),
        ] {
            let values = repeat(times, async || first_prediction(options, demo).await).await?;
            report.absolute.push(Absolute { title: title.to_owned(), unit: "s", value: Spread::of(values), target: Some(Target::AtMost(1.0)) });
        }
    }
    if options.wants(Row::Restart) {
        progress(&format!("restart with {VERSIONS} versions"));
        let values = restarts(options, times).await.context("restart")?;
        let title = format!("restart with {VERSIONS} versions, all loaded, to ready");
        report.absolute.push(Absolute { title, unit: "s", value: Spread::of(values), target: Some(Target::AtMost(1.0)) });
    }
    if options.wants(Row::Memory) {
        progress("memory at rest");
        let values = repeat(times, async || idle_memory(options).await).await?;
        let title = "resident memory after a start with the two demo models".to_owned();
        report.absolute.push(Absolute { title, unit: "MiB", value: Spread::of(values), target: Some(Target::AtMost(120.0)) });
    }
    Ok(())
}

async fn repeat(times: usize, measure: impl AsyncFn() -> Result<f64>) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(times);
    for _ in 0..times {
        values.push(measure().await?);
    }
    Ok(values)
}

#[derive(Clone, Copy)]
enum Demo {
    Iris,
    Digits,
}

impl Demo {
    fn name(self) -> &'static str {
        match self {
            Self::Iris => "iris",
            Self::Digits => "digits",
        }
    }

    fn plugins(self) -> [&'static str; 2] {
        match self {
            Self::Iris => ["tabular", "classify"],
            Self::Digits => ["image", "classify"],
        }
    }

    fn request(self, options: &Options) -> Result<Vec<u8>> {
        let (kind, body) = match self {
            Self::Iris => ("application/json", deploy::read(&options.demo.join("iris").join("sample.json"))?),
            Self::Digits => ("image/jpeg", picture::jpeg()?),
        };
        Ok(http::request("POST", &format!("/v1/models/{}/predict", self.name()), kind, &body))
    }

    async fn upload(self, connection: &mut Connection, options: &Options) -> Result<()> {
        for plugin in self.plugins() {
            deploy::plugin(connection, options, plugin).await?;
        }
        let (manifest, artifact) = deploy::demo(options, self.name())?;
        deploy::model(connection, &deploy::Model { name: self.name(), version: "1.0.0", manifest: &manifest, artifact: &artifact }).await
    }
}

/// On a host that has never seen the plugins: everything is compiled.
async fn first_prediction(options: &Options, demo: Demo) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let request = demo.request(options)?;
    let host = Server::host(options, &folder.path().join("host")).await?;
    let mut connection = Connection::open(host.address).await?;
    let started = Instant::now();
    demo.upload(&mut connection, options).await?;
    connection.send(&request).await?;
    let seconds = started.elapsed().as_secs_f64();
    drop(connection);
    host.stop().await?;
    Ok(seconds)
}

/// One version in production, the others in staging, which are loaded too.
async fn restarts(options: &Options, times: usize) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("host");
    let mut host = Server::host(options, &data).await?;
    let mut connection = Connection::open(host.address).await?;
    Demo::Iris.upload(&mut connection, options).await?;
    let (manifest, artifact) = deploy::demo(options, "iris")?;
    for patch in 1..VERSIONS {
        let version = format!("1.0.{patch}");
        deploy::model(&mut connection, &deploy::Model { name: "iris", version: &version, manifest: &manifest, artifact: &artifact }).await?;
    }
    drop(connection);
    let mut seconds = Vec::with_capacity(times);
    for _ in 0..times {
        host.stop().await?;
        host = Server::host(options, &data).await?;
        seconds.push(host.ready_after.as_secs_f64());
    }
    host.stop().await?;
    Ok(seconds)
}

/// Of a host that was started on what an earlier one was given, as after a restart of the machine.
async fn idle_memory(options: &Options) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("host");
    let host = Server::host(options, &data).await?;
    let mut connection = Connection::open(host.address).await?;
    for demo in [Demo::Iris, Demo::Digits] {
        demo.upload(&mut connection, options).await?;
    }
    drop(connection);
    host.stop().await?;
    let host = Server::host(options, &data).await?;
    tokio::time::sleep(SETTLE).await;
    let mib = host.resident_mib()?;
    host.stop().await?;
    Ok(mib)
}
