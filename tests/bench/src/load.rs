//! The load generator: a fixed number of requests over a fixed number of connections, each sending its next request
//! as soon as the last one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::http::Connection;

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

    /// Sends as many over each connection, each a pace after the last one, or once that is answered.
    pub(crate) async fn paced(&mut self, requests: usize, pace: Duration) -> Result<Vec<Duration>> {
        let each = requests / self.connections.len();
        let paced = async |connection: &mut Connection| -> Result<Vec<Duration>> {
            let mut clock = tokio::time::interval(pace);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut latencies = Vec::with_capacity(each);
            for _ in 0..each {
                clock.tick().await;
                let sent = Instant::now();
                connection.send(&self.request).await?;
                latencies.push(sent.elapsed());
            }
            Ok(latencies)
        };
        let all = futures_util::future::try_join_all(self.connections.iter_mut().map(paced)).await?;
        Ok(all.concat())
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

async fn drive(mut connection: Connection, request: Arc<[u8]>, left: Arc<AtomicUsize>) -> Result<(Connection, Vec<Duration>)> {
    let mut latencies = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let sent = Instant::now();
        connection.send(&request).await?;
        latencies.push(sent.elapsed());
    }
    Ok((connection, latencies))
}
