//! WebSocket connections: messages that a server returns, and the memory of an open connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use component_host::Sandbox;
use component_host::host_api::{OutgoingConnection, WebSockets};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Outcome;
use crate::access::{self, Ratio};
use crate::measure::median;

/// Messages in one turn.
const MESSAGES: u32 = 200;

/// Starts a server that returns each text.
async fn serve() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        // Small buffers, because the memory of this process is measured.
        let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(mut socket) = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Returns the ratio of an echo through the guest ÷ by a native client, in elapsed time. Each waits for its answer.
pub(crate) async fn guest_vs_native(sandbox: &Sandbox, rounds: usize) -> Outcome<Ratio> {
    let server = serve().await?;
    let access = access::access(server)?;
    let url = format!("ws://{server}/");
    let length = url.len();
    // The handle is at 2056, and the first byte of each result is 0 for a success. `receive` waits for at most 10 s.
    let code = format!(
        "(call $open (i32.const 16) (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
           (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then unreachable))
         (loop $more
           (global.set $next (i32.const 131072))
           (call $say (i32.load (i32.const 2056)) (i32.const 0) (i32.const 16) (i32.const {length}) (i32.const 2200))
           (if (i32.load8_u (i32.const 2200)) (then unreachable))
           (call $receive (i32.load (i32.const 2056)) (i32.const 10000) (i32.const 2200))
           (if (i32.load8_u (i32.const 2200)) (then unreachable))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const {MESSAGES}))))
         (call $output (i32.const 8) (i32.const 4))"
    );
    let plugin = sandbox.load_tool(&access::guest(&url, &code)).await?;
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(&url, stream).await?;
    let (mut ratios, mut bases) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let started = Instant::now();
        for _ in 0..MESSAGES {
            socket.send(Message::text(url.clone())).await?;
            socket.next().await.ok_or("no answer")??;
        }
        let base = started.elapsed().as_secs_f64();
        let started = Instant::now();
        access::call(&plugin, &access).await?;
        let guest = started.elapsed().as_secs_f64();
        if round > 0 {
            ratios.push(guest / base);
            bases.push(base / f64::from(MESSAGES));
        }
    }
    Ok(Ratio { ratio: median(ratios), base: median(bases) })
}

/// Returns the resident bytes of this process.
fn resident_bytes() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split(' ').nth(1).ok_or("no resident pages")?.parse()?;
    Ok(pages * 4096.0)
}

/// Returns the bytes of one idle connection. Those of the server's side are in it as well.
pub(crate) async fn bytes_of_one(count: usize) -> Outcome<f64> {
    let server = serve().await?;
    let access = access::access(server)?;
    let mut open = Vec::new();
    let mut before = 0.0;
    // The first ones grow pools that later ones use.
    for number in 0..count * 2 {
        if number == count {
            before = resident_bytes()?;
        }
        let outgoing = OutgoingConnection {
            url: format!("ws://{server}/"),
            subprotocols: Vec::new(),
            credential: None,
            timeout: None,
        };
        open.push(access.open(outgoing).await.map_err(|failure| format!("{failure:?}"))?);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok((resident_bytes()? - before) / count as f64)
}
