//! The first bytes of a connection: TLS where it is on, and of HTTP/2 what each connection begins with, within a bound on time.
//! hyper has none for that.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Of HTTP/2 (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// A connection, in plain text or not.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Shakes hands, where there is TLS; none where that fails or takes too long.
    pub(super) async fn open(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, patience: Duration) -> Option<Self> {
        let Some(config) = tls else { return Some(Self::Plain(stream)) };
        match tokio::time::timeout(patience, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Some(Self::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection did not get as far as TLS");
                None
            }
            Err(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

/// A connection whose first bytes were read already, and are read again.
pub(super) struct Begun<S> {
    first: [u8; PREFACE_BYTES],
    given: usize,
    stream: S,
}

/// Waits for the bytes that each connection of HTTP/2 begins with; none where the peer hangs up before.
pub(super) async fn preface<S: AsyncRead + Unpin>(mut stream: S) -> Option<Begun<S>> {
    let mut first = [0; PREFACE_BYTES];
    stream.read_exact(&mut first).await.ok()?;
    Some(Begun { first, given: 0, stream })
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given == PREFACE_BYTES {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let end = PREFACE_BYTES.min(self.given + buffer.remaining());
        buffer.put_slice(&self.first[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_read_first_is_read_again() {
        let (mut peer, stream) = tokio::io::duplex(64);
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore").await.unwrap();
        peer.shutdown().await.unwrap();
        let mut begun = preface(stream).await.unwrap();
        // Piece by piece, however small they are.
        let mut piece = [0; 5];
        begun.read_exact(&mut piece).await.unwrap();
        assert_eq!(&piece, b"PRI *");
        let mut rest = Vec::new();
        begun.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b" HTTP/2.0\r\n\r\nSM\r\n\r\nmore");
        let (mut peer, stream) = tokio::io::duplex(64);
        peer.write_all(b"PRI").await.unwrap();
        drop(peer);
        assert!(preface(stream).await.is_none());
    }
}
