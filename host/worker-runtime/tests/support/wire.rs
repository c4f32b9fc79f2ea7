//! A client over TCP with a persistent connection, for tests and benchmarks. It supports the part of HTTP/1.1 that this
//! service uses, and can stop in the middle of a request.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Host name of the service in tests.
pub(crate) const HOST: &str = "runtime.test";

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// Received bytes that belong to no response yet.
    read: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Formats the head of a request with a body of `bytes` bytes. An empty token sends no authorization.
pub(crate) fn head(method: &str, path: &str, token: &str, kind: &str, bytes: usize) -> String {
    let token = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n{token}content-type: {kind}\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends raw bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request and waits for the complete response.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut request = head(method, path, token, kind, body.len()).into_bytes();
        // A small request is sent in one write, because two would wait for each other's acknowledgement.
        if body.len() < 16 << 10 {
            request.extend_from_slice(body);
            self.send(&request).await?;
        } else {
            self.send(&request).await?;
            self.send(body).await?;
        }
        self.answer().await
    }

    /// Sends a request with a JSON body.
    pub(crate) async fn ask_json(&mut self, method: &str, path: &str, token: &str, body: &str) -> io::Result<Answer> {
        self.ask(method, path, token, "application/json", body.as_bytes()).await
    }

    /// Waits for a complete response.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(self.read.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let field = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let bytes: usize = field.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
        while self.read.len() < end + bytes {
            self.more().await?;
        }
        let body = self.read.get(end..end + bytes).unwrap_or_default().to_vec();
        self.read.drain(..end + bytes);
        Ok(Answer { status, body })
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
