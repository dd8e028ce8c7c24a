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
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::accept::{Stream, preface};
use super::crowd::Crowd;
use super::{App, router};
use crate::auth::Memory;
use crate::tls::Tls;

/// Time for the head of a request: one who sends it byte by byte holds a connection no longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A peer that is silent for so long is asked whether it is there; one that does not answer is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// After a failed accept (no file descriptors left, mostly) others get time to close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Who answers, how connections are spoken with, and for how long.
pub struct Service {
    /// What handlers work with.
    pub app: App,
    /// The routes.
    pub router: Router,
    /// What connections speak.
    pub protocol: Protocol,
    /// Under which certificate, if it is not plain text.
    pub tls: Option<Tls>,
    /// How long peers get.
    pub patience: Patience,
    /// Connections that may be open at one time.
    pub max_connections: usize,
}

/// Serves until `stop`, then lets requests under way finish.
///
/// # Errors
/// Where TLS can't be had.
pub async fn serve(listener: TcpListener, service: Service, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let alpn = if service.protocol == Protocol::Http1 { "http/1.1" } else { "h2" };
    let tls = service.tls.as_ref().map(|tls| tls.config(alpn)).transpose()?;
    let (service, graceful) = (Arc::new(service), GracefulShutdown::new());
    let mut crowd = Crowd::new(service.max_connections, service.app.metrics.connections_refused.clone());
    let stopping = CancellationToken::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Closed at once where there is no place: whoever waited to be let in would not know for what.
                    let Some(place) = crowd.enter() else { continue };
                    let connection = Connection { service: Arc::clone(&service), tls: tls.clone(), peer: peer.ip(), _place: place };
                    tokio::spawn(connection.serve(stream, graceful.watcher(), stopping.clone()));
                }
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
    let drain = service.patience.drain;
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way did not finish within {} ms and are cut off", drain.as_millis());
    }
    Ok(())
}

/// A connection, and all that is known of it before its first byte.
struct Connection {
    service: Arc<Service>,
    tls: Option<Arc<rustls::ServerConfig>>,
    peer: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, watcher: Watcher, stopping: CancellationToken) {
        // Answers are written whole: waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection closed at once");
            return;
        }
        let Self { service, tls, peer, _place } = self;
        let stall = service.patience.stall;
        // What has not begun when the host stops never will.
        match service.protocol {
            Protocol::Http1 => {
                let opened = Stream::open(stream, tls, HEAD_TIMEOUT);
                let Some(Some(stream)) = stopping.run_until_cancelled(opened).await else { return };
                let memory = Memory::default();
                let handle = service_fn(|request| router::handle(service.router.clone(), Arc::clone(&service.app), (peer, &memory), request));
                let mut http = http1::Builder::new();
                let http = http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                ended(watcher.watch(http.serve_connection(TokioIo::new(stalling(stream, stall)), handle)).await);
            }
            Protocol::Http2 => {
                let opened = async { preface(Stream::open(stream, tls, HEAD_TIMEOUT).await?).await };
                let opened = stopping.run_until_cancelled(tokio::time::timeout(HEAD_TIMEOUT, opened)).await;
                let Some(Ok(Some(stream))) = opened else { return };
                let router = TowerToHyperService::new(service.router.clone().layer(Extension(Peer(peer))));
                let mut http = http2::Builder::new(TokioExecutor::new());
                http.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).adaptive_window(true);
                ended(watcher.watch(http.serve_connection(TokioIo::new(stalling(stream, stall)), router)).await);
            }
        }
    }
}

/// Ends where nothing of what is written leaves for so long: an answer that nobody takes is held no longer.
fn stalling<S: AsyncRead + AsyncWrite>(stream: S, stall: Duration) -> Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    Box::pin(stream)
}

fn ended<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}
