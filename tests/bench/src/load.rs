//! The load generator: a fixed number of requests over a fixed number of connections, each sending its next request
//! as soon as the last one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use thread_priority::{RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};

use crate::http::Connection;

/// Of a connection of a steady load, so many requests come before those that count. Arbitrary.
const FIRST: usize = 5;

/// Connections to one server that send one kind of request.
pub(crate) struct Load {
    connections: Vec<Connection>,
    request: Arc<[u8]>,
}

/// What one round gave.
pub(crate) struct Round {
    pub(crate) elapsed: Duration,
    /// Of each request.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    pub(crate) async fn open(address: SocketAddr, connections: usize, request: &[u8]) -> Result<Self> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(Connection::open(address).await?);
        }
        Ok(Self { connections: open, request: request.into() })
    }

    /// Sends `requests` in all: a connection whose answers come sooner sends more of them, so that none waits at the
    /// end while others still work.
    pub(crate) async fn round(&mut self, requests: usize) -> Result<Round> {
        let left = Arc::new(AtomicUsize::new(requests));
        let started = Instant::now();
        let tasks: Vec<_> =
            self.connections.drain(..).map(|connection| tokio::spawn(drive(connection, Arc::clone(&self.request), Arc::clone(&left)))).collect();
        let mut latencies = Vec::with_capacity(requests);
        for task in tasks {
            let (connection, measured) = task.await??;
            self.connections.push(connection);
            latencies.extend(measured);
        }
        Ok(Round { elapsed: started.elapsed(), latencies })
    }
}

/// A steady load: over each connection a request of so many, each a pace after the last one, or once that is answered.
#[derive(Clone)]
pub(crate) struct Steady {
    pub(crate) address: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) request: Arc<[u8]>,
    pub(crate) each: usize,
    pub(crate) pace: Duration,
}

impl Steady {
    /// Sends it from a thread that goes before all others of this machine, where the system allows it: a client that must wait
    /// for a processor once its answer is there would be what is measured. The first few of each connection don't count.
    pub(crate) async fn latencies(&self) -> Result<Vec<Duration>> {
        let (done, latencies) = tokio::sync::oneshot::channel();
        let load = self.clone();
        std::thread::Builder::new().name("steady".to_owned()).spawn(move || {
            let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
            if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
                crate::progress(&format!("the neighbour's client can't go before others: {error}"));
            }
            // Who asked may have gone.
            let _ = done.send(load.send());
        })?;
        latencies.await?
    }

    fn send(&self) -> Result<Vec<Duration>> {
        let one = async |at: u32| -> Result<Vec<Duration>> {
            let mut connection = Connection::open(self.address).await?;
            for _ in 0..FIRST {
                connection.send(&self.request).await?;
            }
            // One connection's requests come between the others'.
            let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + self.pace * at / self.connections, self.pace);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut latencies = Vec::with_capacity(self.each);
            for _ in 0..self.each {
                clock.tick().await;
                let sent = Instant::now();
                connection.send(&self.request).await?;
                latencies.push(sent.elapsed());
            }
            Ok(latencies)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let all = runtime.block_on(futures_util::future::try_join_all((0..self.connections).map(one)))?;
        Ok(all.concat())
    }
}

async fn drive(mut connection: Connection, request: Arc<[u8]>, left: Arc<AtomicUsize>) -> Result<(Connection, Vec<Duration>)> {
    let mut latencies = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let sent = Instant::now();
        connection.send(&request).await?;
        latencies.push(sent.elapsed());
    }
    Ok((connection, latencies))
}
