//! Connections: accepted, served, and drained within a bound.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::{Extension, Router};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::{App, router};

/// Time for the head of a request: one who sends it byte by byte holds a connection no longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer that is silent for so long is asked whether it is there; one that does not answer is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// After a failed accept (no file descriptors left, mostly) others get time to close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Of HTTP/2 (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// Listens.
///
/// # Errors
/// Where the address is taken or may not be used.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {address}: end what does, or choose another address by `listen`, `grpc_listen` and `admin_listen`, in the configuration or as BULKHEAD_LISTEN, BULKHEAD_GRPC_LISTEN and BULKHEAD_ADMIN_LISTEN")
    })
}

/// Where a connection comes from, told to who sees its requests one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// What connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 from the first byte on, as gRPC does.
    Http2,
}

/// How long peers get.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One that takes nothing of its answer for so long is gone.
    pub stall: Duration,
    /// For requests under way, once the host is to stop.
    pub drain: Duration,
}

/// Serves until `stop`, then lets requests under way finish.
pub async fn serve(listener: TcpListener, protocol: Protocol, (app, router): (App, Router), stop: impl Future<Output = ()>, patience: Patience) {
    let Patience { stall, drain } = patience;
    let graceful = GracefulShutdown::new();
    let stopping = CancellationToken::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connection((stream, protocol, stall), (Arc::clone(&app), router.clone(), peer.ip()), &graceful, &stopping),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    stopping.cancel();
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way did not finish within {} ms and are cut off", drain.as_millis());
    }
}

fn connection(
    (stream, protocol, stall): (TcpStream, Protocol, Duration),
    (app, router, peer): (App, Router, IpAddr),
    graceful: &GracefulShutdown,
    stopping: &CancellationToken,
) {
    // Answers are written whole: waiting for more to send would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection closed at once");
        return;
    }
    match protocol {
        Protocol::Http1 => {
            let service = service_fn(move |request| router::handle(router.clone(), Arc::clone(&app), peer, request));
            let mut http = http1::Builder::new();
            spawn(graceful.watch(
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).serve_connection(TokioIo::new(stalling(stream, stall)), service),
            ));
        }
        Protocol::Http2 => {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).adaptive_window(true);
            let (watcher, stopping) = (graceful.watcher(), stopping.clone());
            tokio::spawn(async move {
                let speaks = tokio::select! {
                    spoke = tokio::time::timeout(HEAD_TIMEOUT, preface(&stream)) => spoke.unwrap_or(false),
                    () = stopping.cancelled() => false,
                };
                if speaks {
                    let stream = TokioIo::new(stalling(stream, stall));
                    let router = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
                    spawn(watcher.watch(http.serve_connection(stream, router)));
                }
            });
        }
    }
}

/// Ends where nothing of what is written leaves for so long: an answer that nobody takes is held no longer.
fn stalling(stream: TcpStream, stall: Duration) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    Box::pin(stream)
}

/// Waits until the bytes are there that each connection of HTTP/2 begins with; hyper has no bound on the time for them. False
/// where the peer hangs up before.
async fn preface(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE_BYTES];
    loop {
        match stream.peek(&mut first).await {
            Ok(PREFACE_BYTES) => return true,
            // They come at once, or from somebody who is up to no good.
            Ok(1..) => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => return false,
        }
    }
}

fn spawn<E: std::fmt::Display>(connection: impl Future<Output = Result<(), E>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}
