//! A client of HTTP/1.1 that does only what the bench needs.
//!
//! A full client costs as much processor time for a request as the reference server does, on the same cores; that
//! would hide half of any difference in throughput.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More than any answer here has.
const HEADERS: usize = 64;

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer's status, and where in the connection's buffer its body stands.
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: Range<usize>,
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    request_with(method, path, &format!("content-type: {content_type}\r\n"), body)
}

/// The bytes of a request with these headers, each a line of its own.
pub(crate) fn request_with(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a whole request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, body) = loop {
            self.read().await?;
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < body.end {
            self.read().await?;
        }
        Ok(Answer { status, body })
    }

    /// As [`Self::exchange`], for requests that must succeed; gives the body.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<&[u8]> {
        let answer = self.exchange(request).await?;
        let body = &self.buffer[answer.body];
        if !(200..300).contains(&answer.status) {
            let line = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
            bail!("`{line}` was answered with {}: {}", answer.status, String::from_utf8_lossy(body));
        }
        Ok(body)
    }

    async fn read(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }
}

/// The status and where the body will stand; none while the head is incomplete.
fn head(buffer: &[u8]) -> Result<Option<(u16, Range<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(buffer)? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = match length {
        Some(header) => std::str::from_utf8(header.value)?.parse()?,
        None => bail!("an answer without a length"),
    };
    Ok(Some((response.code.context("an answer without a status")?, start..start + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello";
        assert_eq!(head(whole).unwrap(), Some((200, 44..49)));
        assert_eq!(head(&whole[..30]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
