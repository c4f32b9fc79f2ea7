//! Upload of a bundle of 1 MiB over loopback.
//!
//! Manifest and blobs together have 1 MiB. The client hashes and sends each blob, and then the manifest. The blobs are
//! prompts, so they are scanned for leaks. Each round uploads a new bundle on a persistent connection to four services
//! in turn:
//!
//! - *verified*: the router of a Runtime with stores in memory, which verifies everything;
//! - *kept*: the same on local files and SQLite, which verifies and syncs everything;
//! - *read*: reads each body and responds;
//! - *native*: reads each body, parses the manifest as canonical JSON, and writes each body to a synced file.
//!
//! Verified ÷ read is the cost of the verification. Kept ÷ native is the cost of a durable upload, compared with a
//! service that only parses the manifest and has no metadata.

use std::path::{Path, PathBuf};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::put;
use bundles::canonical::read_canonical;
use bundles::{BundleLimits, Manifest};
use component_host::Sandbox;

use crate::Outcome;
use crate::generated;
use crate::measure::median;
use crate::server::{self, BundleUpload};
use crate::wire::Wire;

/// Size of manifest and blobs in bytes.
const BYTES: usize = 1 << 20;

/// Numbers of blobs. The figures are of the first; the others are only printed.
const BLOB_COUNTS: [usize; 3] = [2, 16, 128];

/// Ratios, and a text with all medians.
pub(crate) struct PutResult {
    pub(crate) vs_read: f64,
    pub(crate) vs_native: f64,
    pub(crate) details: String,
}

pub(crate) async fn measure(folder: &Path, sandbox: &Sandbox, rounds: usize) -> Outcome<PutResult> {
    std::fs::create_dir_all(folder)?;
    let config = "[workspaces.acme]\nsignatures = { posture = 'none' }";
    let in_memory = server::in_memory(config, sandbox)?.open().await?;
    let on_files = server::on_files(folder, config, sandbox).await?.open().await?;
    let workspace = "acme".parse()?;
    let tokens = [server::token(&in_memory, &workspace).await?, server::token(&on_files, &workspace).await?];
    let (verified, _serving) = server::serve(server::routes(&in_memory, 1_000_000)).await?;
    let (kept, _serving) = server::serve(server::routes(&on_files, 1_000_000)).await?;
    let (read, _serving) = server::serve(upload_routes(read_body, ())).await?;
    let (native, _serving) = server::serve(upload_routes(parse_and_sync, folder.to_owned())).await?;
    let mut wires = Vec::new();
    for address in [verified, kept, read, native] {
        wires.push(Wire::connect(address).await?);
    }
    let mut result = PutResult { vs_read: 0.0, vs_native: 0.0, details: String::new() };
    let mut revision = 0;
    for (shape, blobs) in BLOB_COUNTS.into_iter().enumerate() {
        let mut seconds = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        // The first round is a warm-up, which opens files and starts threads.
        for round in 0..=rounds {
            // The last two services need no token.
            let tokens = tokens.iter().map(String::as_str).chain([""; 2]);
            for ((wire, token), seconds) in wires.iter_mut().zip(tokens).zip(&mut seconds) {
                revision += 1;
                let bundle = bundle(revision, blobs)?;
                let started = Instant::now();
                bundle.put(wire, token).await?;
                if round > 0 {
                    seconds.push(started.elapsed().as_secs_f64());
                }
            }
        }
        let [verified, kept, read, native] = &seconds;
        let ratio = |of: &[f64], to: &[f64]| median(of.iter().zip(to).map(|(of, to)| of / to).collect());
        if shape == 0 {
            (result.vs_read, result.vs_native) = (ratio(verified, read), ratio(kept, native));
        }
        let millis = |seconds: &[f64]| median(seconds.to_vec()) * 1e3;
        result.details.push_str(&format!(
            "1 MiB in {blobs:>3} blobs: verified {:.2} ms, kept {:.2} ms, read {:.2} ms, native {:.2} ms; \
             verified ÷ read {:.2}, kept ÷ native {:.2}, kept ÷ read {:.2}\n",
            millis(verified),
            millis(kept),
            millis(read),
            millis(native),
            ratio(verified, read),
            ratio(kept, native),
            ratio(kept, read),
        ));
    }
    Ok(result)
}

/// Generates a bundle of 1 MiB that differs from all others.
fn bundle(revision: u64, blobs: usize) -> Outcome<BundleUpload> {
    let empty = server::small_bundle("acme", revision, vec![Vec::new(); blobs], &[])?.bytes();
    let each = (BYTES - empty) / blobs - 8;
    let prompt = |number: usize| generated::prose(revision * 1000 + number as u64, each).into_bytes();
    server::small_bundle("acme", revision, (0..blobs).map(prompt).collect(), &[])
}

/// Returns routes that handle all PUT requests of an upload with one handler.
fn upload_routes<H, T, S>(handler: H, state: S) -> Router
where
    H: axum::handler::Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/v1/blobs/{digest}", put(handler.clone()))
        .route("/v1/config-bundles/{digest}", put(handler))
        .with_state(state)
}

async fn read_body(body: Body) -> StatusCode {
    match to_bytes(body, usize::MAX).await {
        Ok(body) if !body.is_empty() => StatusCode::CREATED,
        _ => StatusCode::BAD_REQUEST,
    }
}

async fn parse_and_sync(State(folder): State<PathBuf>, uri: axum::http::Uri, body: Body) -> StatusCode {
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST };
    let write = tokio::task::spawn_blocking(move || {
        let (_, name) = uri.path().rsplit_once(':')?;
        if uri.path().contains("config-bundles") {
            let manifest: Manifest = read_canonical(&body, BundleLimits::default().manifest()).ok()?;
            std::hint::black_box(manifest);
        }
        let mut file = std::fs::File::create(folder.join(name)).ok()?;
        std::io::Write::write_all(&mut file, &body).ok()?;
        file.sync_all().ok()
    });
    match write.await {
        Ok(Some(())) => StatusCode::CREATED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
