//! GET requests of 1 KiB over loopback: by the host call inside a live instance, and by a hyper client. Both use a new plain
//! connection for each request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use component_host::Sandbox;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;
use crate::access::{self, Ratio};
use crate::measure::median;

/// Requests in one turn.
const REQUESTS: u32 = 64;

/// Starts a server that answers with 1 KiB.
async fn serve() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let body = Bytes::from(vec![b'x'; 1024]);
        while let Ok((stream, _)) = listener.accept().await {
            let body = body.clone();
            let answer = service_fn(move |_| {
                let body = body.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(address)
}

async fn native(server: SocketAddr) -> Outcome<()> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let task = tokio::spawn(connection);
    let request = Request::get("/").header("host", server.to_string()).body(Empty::<Bytes>::new())?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    task.abort();
    if body.len() == 1024 { Ok(()) } else { Err("another body".into()) }
}

/// Returns the ratio of a request through the guest ÷ by a native client, in elapsed time.
pub(crate) async fn guest_vs_native(sandbox: &Sandbox, rounds: usize) -> Outcome<Ratio> {
    let server = serve().await?;
    let access = access::access(server)?;
    let url = format!("http://{server}/");
    // Memory of a response is free for the next one. The first byte of the result is 0 for a success.
    let code = format!(
        "(loop $more
           (global.set $next (i32.const 131072))
           (call $send (i32.const 0) (i32.const 16) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0)
             (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
           (if (i32.load8_u (i32.const 2048)) (then unreachable))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const {REQUESTS}))))
         (call $output (i32.const 8) (i32.const 4))",
        url.len()
    );
    let plugin = sandbox.load_tool(&access::guest(&url, &code)).await?;
    let (mut ratios, mut bases) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let started = Instant::now();
        for _ in 0..REQUESTS {
            native(server).await?;
        }
        let base = started.elapsed().as_secs_f64();
        let started = Instant::now();
        access::call(&plugin, &access).await?;
        let guest = started.elapsed().as_secs_f64();
        if round > 0 {
            ratios.push(guest / base);
            bases.push(base / f64::from(REQUESTS));
        }
    }
    Ok(Ratio { ratio: median(ratios), base: median(bases) })
}
