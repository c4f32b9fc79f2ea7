//! How soon nothing is left of what a client gives up: from closing its connection in the middle of it
//! until the work has ended. The slowest of all rounds, in milliseconds.
//!
//! - a *call*, until the tool's future is gone;
//! - an *upload* of which more has come than is held in memory, until its file is gone;
//! - a *resolution* by a resolver that never answers, until its workspace has its turn back and
//!   another worker is made in it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::{Authority, Digest, ToolName};
use component_host::Sandbox;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use worker_runtime::tool::{HostTool, ToolContext, ToolError};

use crate::furniture::hostile;
use crate::wire::{Wire, head};
use crate::{Outcome, served};

/// Waits for ever, and tells when it begins and when it is gone.
#[derive(Debug)]
struct Waits(ToolName, mpsc::UnboundedSender<Instant>);

/// Tells when it is dropped.
struct Told<'a>(&'a mpsc::UnboundedSender<Instant>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Instant::now());
    }
}

#[async_trait]
impl HostTool for Waits {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, _: ToolContext, _: Value) -> Result<Value, ToolError> {
        let _ = self.1.send(Instant::now());
        let _told = Told(&self.1);
        std::future::pending().await
    }
}

pub(crate) async fn measure(folder: &Path, sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    std::fs::create_dir_all(folder)?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let config = "[host]\ncapabilities = ['tool:wait']\n[workspaces.acme]\nsignatures = { posture = 'none' }";
    let builder = served::on_files(folder, config, sandbox).await?;
    let runtime = builder.tool(Arc::new(Waits("wait".parse()?, tell))).open().await?;
    let token = served::token(&runtime, &"acme".parse()?).await?;
    let (address, _serving) = served::serve(served::routes(&runtime, 1_000_000)).await?;
    let mut wire = Wire::connect(address).await?;
    let bundle = served::small("acme", 1, Vec::new(), &["wait"])?;
    bundle.put(&mut wire, &token).await?;
    let endless = hostile::all().into_iter().find(|one| one.name == "loop_in_resolve").ok_or("no such resolver")?.bytes;
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
        told.recv().await.ok_or("the tool is gone")?;
        let closed = Instant::now();
        drop(call);
        slowest = slowest.max(told.recv().await.ok_or("the tool is gone")? - closed);

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
        // It has its turn, or will have it before the next one has.
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

/// A request on a connection of its own, whose body is `body` and so many bytes that do not come.
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

/// Looks again and again, a quarter of a millisecond apart.
async fn until(is_so: impl Fn() -> Outcome<bool>) -> Outcome<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > Duration::from_secs(10) {
            return Err("it does not end".into());
        }
        tokio::time::sleep(Duration::from_micros(250)).await;
    }
    Ok(())
}
