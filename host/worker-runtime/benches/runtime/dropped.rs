//! Time from a closed connection until the abandoned work has ended. The figure is the slowest of all rounds, in
//! milliseconds. The abandoned requests are:
//!
//! - a *call*, until the tool's future is dropped;
//! - an *upload* that is too large for memory, until its file is deleted;
//! - a *resolution* by a resolver that never ends, until the run permit of the workspace is released and another worker
//!   is created.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::{Authority, Digest, ToolName};
use component_host::Sandbox;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use worker_runtime::tool::{HostTool, ToolContext, ToolError};

use crate::support::hostile;
use crate::wire::{Wire, head};
use crate::{Outcome, server};

/// A tool that never ends. Sends the times of the start and the drop of a call.
#[derive(Debug)]
struct PendingTool(ToolName, mpsc::UnboundedSender<Instant>);

/// Sends the time when it is dropped.
struct SendOnDrop<'a>(&'a mpsc::UnboundedSender<Instant>);

impl Drop for SendOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Instant::now());
    }
}

#[async_trait]
impl HostTool for PendingTool {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, _: ToolContext, _: Value) -> Result<Value, ToolError> {
        let _ = self.1.send(Instant::now());
        let _guard = SendOnDrop(&self.1);
        std::future::pending().await
    }
}

pub(crate) async fn measure(folder: &Path, sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    std::fs::create_dir_all(folder)?;
    let (sender, mut times) = mpsc::unbounded_channel();
    let config = "[host]\ncapabilities = ['tool:wait']\n[workspaces.acme]\nsignatures = { posture = 'none' }";
    let builder = server::on_files(folder, config, sandbox).await?;
    let runtime = builder.tool(Arc::new(PendingTool("wait".parse()?, sender))).open().await?;
    let token = server::token(&runtime, &"acme".parse()?).await?;
    let (address, _serving) = server::serve(server::routes(&runtime, 1_000_000)).await?;
    let mut wire = Wire::connect(address).await?;
    let bundle = server::small_bundle("acme", 1, Vec::new(), &["wait"])?;
    bundle.put(&mut wire, &token).await?;
    let endless = hostile::all()
        .into_iter()
        .find(|component| component.name == "loop_in_resolve")
        .ok_or("resolver not found")?
        .bytes;
    let resolver = Digest::of(&endless);
    runtime.management().admit_resolver(resolver, endless.into()).await?;

    let mut slowest = Duration::ZERO;
    let worker = json!({ "profile": "plain", "bundle": bundle.digest() });
    for round in 0..rounds {
        let path = format!("/v1/workers/w{round}");
        let made = wire.ask_json("PUT", &path, &token, &worker.to_string()).await?;
        if made.status != 201 {
            return Err(String::from_utf8_lossy(&made.body).into_owned().into());
        }
        let call = begin(address, "POST", &format!("{path}/tools/wait"), &token, b"{\"input\":{}}", 0).await?;
        times.recv().await.ok_or("the tool was dropped")?;
        let closed = Instant::now();
        drop(call);
        slowest = slowest.max(times.recv().await.ok_or("the tool was dropped")? - closed);

        let staging = folder.join("data/staging");
        let digest = Digest::of(round.to_le_bytes());
        let half = vec![7; 3 << 20];
        let upload = begin(address, "PUT", &format!("/v1/blobs/{digest}"), &token, &half, 1 << 20).await?;
        until(|| Ok(std::fs::read_dir(&staging)?.next().is_some())).await?;
        let closed = Instant::now();
        drop(upload);
        until(|| Ok(std::fs::read_dir(&staging)?.next().is_none())).await?;
        slowest = slowest.max(closed.elapsed());

        let request = json!({ "profile": "plain", "bundle": bundle.digest(), "resolver": resolver }).to_string();
        let endless = begin(address, "PUT", "/v1/workers/endless", &token, request.as_bytes(), 0).await?;
        // The resolution has its run permit now, or receives it before the next request.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let closed = Instant::now();
        drop(endless);
        let made = wire.ask_json("PUT", &format!("/v1/workers/after{round}"), &token, &worker.to_string()).await?;
        slowest = slowest.max(closed.elapsed());
        if made.status != 201 {
            return Err(String::from_utf8_lossy(&made.body).into_owned().into());
        }
    }
    Ok(slowest.as_secs_f64() * 1e3)
}

/// Sends a request on a new connection. Its body is `body` and `missing` more bytes that are never sent.
async fn begin(
    address: std::net::SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: &[u8],
    missing: usize,
) -> Outcome<Wire> {
    let mut wire = Wire::connect(address).await?;
    wire.send(head(method, path, token, "application/json", body.len() + missing).as_bytes()).await?;
    wire.send(body).await?;
    Ok(wire)
}

/// Polls a condition every 250 µs.
async fn until(condition: impl Fn() -> Outcome<bool>) -> Outcome<()> {
    let began = Instant::now();
    while !condition()? {
        if began.elapsed() > Duration::from_secs(10) {
            return Err("the condition is still false after 10 s".into());
        }
        tokio::time::sleep(Duration::from_micros(250)).await;
    }
    Ok(())
}
