//! A WebSocket server over plain TCP. It is written by hand, so that it can violate the protocol.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::PATIENCE;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Answer that accepts a handshake, without the empty line at its end. [`Wire::answer`] fills in the key.
pub const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: <accept>\r\n";

/// One frame. Its payload is unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub rsv: u8,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

/// Function that serves one connection.
type Script = Arc<dyn Fn(Wire) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A running server. Dropping it ends the server and all of its connections.
pub struct WsPeer {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    heard: UnboundedReceiver<Option<Frame>>,
    task: JoinHandle<()>,
}

impl Drop for WsPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WsPeer {
    /// Starts a server that reads the head of each request and hands the connection to a script.
    pub async fn scripted<F, R>(script: F) -> Self
    where
        F: Fn(Wire) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let script: Script =
            Arc::new(move |wire: Wire| -> Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(script(wire)) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (accepted, heads) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (report, heard) = unbounded_channel();
        let task = tokio::spawn(serve(listener, script, accepted.clone(), heads.clone(), report));
        Self { address, accepted, heads, heard, task }
    }

    /// Starts a server that accepts the handshake, writes bytes, and listens until the client closes.
    pub async fn sends(writes: Vec<Vec<u8>>) -> Self {
        Self::scripted(move |mut wire| {
            let writes = writes.clone();
            async move {
                wire.accept().await;
                for bytes in &writes {
                    wire.write(bytes).await;
                }
                wire.listen().await;
            }
        })
        .await
    }

    /// Starts a server that echoes messages, and answers pings and the close.
    pub async fn echo() -> Self {
        Self::echo_in(usize::MAX, usize::MAX).await
    }

    /// Starts a server that echoes messages in fragments and in writes of a size.
    pub async fn echo_in(fragment: usize, write: usize) -> Self {
        Self::scripted(move |mut wire| async move {
            wire.accept().await;
            wire.echo(fragment, write).await;
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Returns the number of TCP connections.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Returns the heads of the requests.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("heads").clone()
    }

    /// Waits for the next frame that a script reads. Returns `None` for the end of a connection.
    pub async fn heard(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.heard.recv()).await.expect("a frame or an end").expect("a running server")
    }

    /// Waits for the next close frame that a script reads. Returns `None` if the connection ends without one.
    pub async fn close_heard(&mut self) -> Option<Frame> {
        loop {
            match self.heard().await {
                Some(frame) if frame.opcode != CLOSE => {}
                end => return end,
            }
        }
    }
}

async fn serve(
    listener: TcpListener,
    script: Script,
    accepted: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    report: UnboundedSender<Option<Frame>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        let (script, heads, report) = (script.clone(), heads.clone(), report.clone());
        connections.spawn(async move {
            if let Some(wire) = Wire::open(stream, number, report).await {
                heads.lock().expect("heads").push(wire.head.clone());
                script(wire).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The server's side of a connection. Writes return `false` if the client is gone.
pub struct Wire {
    /// Number of connections that were accepted before.
    pub number: usize,
    /// Head of the request.
    pub head: String,
    pub reader: WireReader,
    pub writer: WireWriter,
}

pub struct WireReader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
    report: UnboundedSender<Option<Frame>>,
}

pub struct WireWriter {
    half: OwnedWriteHalf,
}

impl Wire {
    /// Reads the head of the request. Returns `None` if it does not arrive.
    async fn open(stream: TcpStream, number: usize, report: UnboundedSender<Option<Frame>>) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        let (half, writer) = stream.into_split();
        let mut reader = WireReader { half, buffer: Vec::new(), report };
        let end = loop {
            if let Some(place) = reader.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break place + 4;
            }
            let more = reader.buffer.len() + 1;
            if !reader.fill(more).await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&reader.buffer[..end]).into_owned();
        reader.buffer.drain(..end);
        Some(Self { number, head, reader, writer: WireWriter { half: writer } })
    }

    /// Returns a template with the right value in the place of `<accept>`.
    pub fn answer(&self, template: &str) -> String {
        let key = header(&self.head, "sec-websocket-key").unwrap_or_default();
        template.replace("<accept>", &accept_value(key))
    }

    /// Accepts the handshake.
    pub async fn accept(&mut self) -> bool {
        self.accept_with(&[]).await
    }

    /// Accepts the handshake with additional header lines.
    pub async fn accept_with(&mut self, lines: &[&str]) -> bool {
        let mut template = SWITCH.to_owned();
        for line in lines {
            template.push_str(line);
            template.push_str("\r\n");
        }
        template.push_str("\r\n");
        let answer = self.answer(&template);
        self.write(answer.as_bytes()).await
    }

    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.writer.write(bytes).await
    }

    pub async fn frame(&mut self, fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> bool {
        self.writer.frame(fin, rsv, opcode, payload).await
    }

    /// Writes a masked frame, which a server must not do.
    pub async fn masked_frame(&mut self, fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> bool {
        self.write(&encode(fin, rsv, opcode, payload, Some([1, 2, 3, 4]))).await
    }

    pub async fn read_frame(&mut self) -> Option<Frame> {
        self.reader.read_frame().await
    }

    /// Reads until the client closes, and closes the TCP connection.
    pub async fn listen(mut self) {
        while self.read_frame().await.is_some_and(|frame| frame.opcode != CLOSE) {}
    }

    /// Echoes messages in fragments and in writes of a size. Answers pings and the close.
    pub async fn echo(&mut self, fragment: usize, write: usize) {
        let (mut kind, mut message) = (BINARY, Vec::new());
        while let Some(frame) = self.read_frame().await {
            let reply = match frame.opcode {
                PING => encode(true, 0, PONG, &frame.payload, None),
                PONG => continue,
                CLOSE => {
                    self.frame(true, 0, CLOSE, &frame.payload).await;
                    return;
                }
                opcode => {
                    if opcode != CONTINUATION {
                        kind = opcode;
                        message.clear();
                    }
                    message.extend_from_slice(&frame.payload);
                    if !frame.fin {
                        continue;
                    }
                    fragments(kind, &message, fragment)
                }
            };
            for part in reply.chunks(write) {
                if !self.write(part).await {
                    return;
                }
            }
        }
    }

    /// Closes the TCP connection.
    pub async fn close(mut self) {
        // Fails if the client has closed it before.
        let _ = self.writer.half.shutdown().await;
    }
}

impl WireReader {
    /// Reads until the buffer has a number of bytes. Returns `false` if the connection ends before.
    async fn fill(&mut self, count: usize) -> bool {
        while self.buffer.len() < count {
            self.buffer.reserve(64 << 10);
            match self.half.read_buf(&mut self.buffer).await {
                Ok(read) if read > 0 => {}
                _ => return false,
            }
        }
        true
    }

    /// Reads a frame, and reports it to [`WsPeer::heard`].
    pub async fn read_frame(&mut self) -> Option<Frame> {
        let frame = self.next_frame().await;
        // Fails only when the server ends.
        let _ = self.report.send(frame.clone());
        frame
    }

    async fn next_frame(&mut self) -> Option<Frame> {
        if !self.fill(2).await {
            return None;
        }
        let (first, second) = (self.buffer[0], self.buffer[1]);
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & 0x80 != 0;
        let mask = 2 + extended;
        let start = mask + if masked { 4 } else { 0 };
        if !self.fill(start).await {
            return None;
        }
        let length = match extended {
            0 => usize::from(second & 0x7f),
            _ => self.buffer[2..mask].iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte)),
        };
        if !self.fill(start + length).await {
            return None;
        }
        let mut payload = self.buffer[start..start + length].to_vec();
        if masked {
            let key: [u8; 4] = self.buffer[mask..start].try_into().expect("4 bytes");
            apply(key, &mut payload);
        }
        self.buffer.drain(..start + length);
        Some(Frame { fin: first & 0x80 != 0, rsv: (first >> 4) & 7, opcode: first & 15, masked, payload })
    }
}

impl WireWriter {
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.half.write_all(bytes).await.is_ok()
    }

    pub async fn frame(&mut self, fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> bool {
        self.write(&frame(fin, rsv, opcode, payload)).await
    }
}

/// Returns the bytes of an unmasked frame.
pub fn frame(fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    encode(fin, rsv, opcode, payload, None)
}

/// Returns the bytes of a message in fragments of a size.
pub fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let count = payload.len().div_ceil(size).max(1);
    let mut bytes = Vec::new();
    for place in 0..count {
        let start = place * size;
        let end = payload.len().min(start.saturating_add(size));
        let opcode = if place == 0 { opcode } else { CONTINUATION };
        bytes.extend_from_slice(&frame(place + 1 == count, 0, opcode, &payload[start..end]));
    }
    bytes
}

/// Returns the payload of a close frame.
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

/// Returns the value of a header in the head of a request.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn encode(fin: bool, rsv: u8, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![(u8::from(fin) << 7) | (rsv << 4) | opcode];
    if payload.len() <= 125 {
        bytes.push(masked | payload.len() as u8);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        bytes.push(masked | 126);
        bytes.extend_from_slice(&length.to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    let Some(key) = mask else {
        bytes.extend_from_slice(payload);
        return bytes;
    };
    bytes.extend_from_slice(&key);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply(key, &mut bytes[start..]);
    bytes
}

/// Masks or unmasks a payload.
fn apply(key: [u8; 4], payload: &mut [u8]) {
    for (place, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[place % 4];
    }
}

/// Returns the value of `Sec-WebSocket-Accept` for a key.
fn accept_value(key: &str) -> String {
    STANDARD.encode(sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().expect("4 bytes"));
        }
        for place in 16..80 {
            let mixed = words[place - 3] ^ words[place - 8] ^ words[place - 14] ^ words[place - 16];
            words[place] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (place, word) in words.into_iter().enumerate() {
            let (mixed, constant): (u32, u32) = match place / 20 {
                0 => ((b & c) | (!b & d), 0x5A82_7999),
                1 => (b ^ c ^ d, 0x6ED9_EBA1),
                2 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e);
            let next = next.wrapping_add(constant).wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[test]
fn accept_value_is_that_of_the_example_in_rfc_6455() {
    assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
