//! The servers under test: started, watched and stopped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::Options;
use crate::http::{self, Connection};

/// How often a server that starts is asked whether it is ready.
const POLL: Duration = Duration::from_millis(1);

/// A server that is not ready by then never will be.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a process of its own. Dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    clock: ClockId,
    pub(crate) address: SocketAddr,
    /// From the process's start to its being ready.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// The host, with everything it keeps under `data`.
    pub(crate) async fn host(options: &Options, data: &Path) -> Result<Self> {
        Self::host_with(options, data, &[]).await
    }

    /// The same with settings, as variables.
    pub(crate) async fn host_with(options: &Options, data: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(&options.bulkhead);
        command.envs(settings.iter().copied());
        command
            .args(["serve", "--grpc-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--listen"])
            .arg(address.to_string())
            .arg("--data-dir")
            .arg(data)
            .envs(settings.iter().copied());
        Self::start(command, address, &data.with_extension("log")).await.context("the host did not start")
    }

    /// The reference: this program in its other mode.
    pub(crate) async fn reference(options: &Options, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("reference").arg("--demo").arg(&options.demo).arg("--models").arg(folder).arg("--listen").arg(address.to_string());
        Self::start(command, address, &folder.join("reference.log")).await.context("the reference did not start")
    }

    async fn start(mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let output = std::fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("`{}` can't be run", PathBuf::from(command.as_std().get_program()).display()))?;
        let pid = Pid::from_raw(i32::try_from(child.id().context("it ended at once")?)?);
        let clock = clock_getcpuclockid(pid)?;
        loop {
            if is_ready(address).await {
                return Ok(Self { child, pid, clock, address, ready_after: started.elapsed() });
            }
            if let Some(status) = child.try_wait()? {
                bail!("it ended with {status}: {}", std::fs::read_to_string(log).unwrap_or_default());
            }
            if started.elapsed() > PATIENCE {
                bail!("it was not ready within {PATIENCE:?}: {}", std::fs::read_to_string(log).unwrap_or_default());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Processor time of all its threads so far, those that ended included.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(clock_gettime(self.clock)?.into())
    }

    /// Resident memory in MiB, shared libraries included.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let kib = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).ok_or_else(|| anyhow!("the system does not tell resident memory"))
    }

    /// Stops it the way an operator would.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill(self.pid, Signal::SIGTERM)?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.context("it did not stop")??;
        Ok(())
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    let request = http::request("GET", "/health/ready", "application/json", b"");
    connection.exchange(&request).await.is_ok_and(|answer| answer.status == 200)
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
