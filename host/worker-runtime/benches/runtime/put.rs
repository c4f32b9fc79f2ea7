//! Bringing a bundle of 1 MiB over loopback.
//!
//! The bundle is 1 MiB of manifest and blobs together, and a PUT of it is all that a client does to bring
//! it: it digests each blob and sends it, then the manifest. The blobs are prompts: prose, which is scanned
//! for leaks. Each round brings a bundle that nobody has seen, on a connection that is kept, to four services
//! that take turns:
//!
//! - *verified*: the router of a Runtime with stores in memory; answered when all of it is verified;
//! - *kept*: the same on local files and SQLite; answered when all of it is verified and synced;
//! - *read*: reads each body whole and answers;
//! - *native*: reads each body, reads the manifest as canonical JSON into its types, and writes each
//!   body to a file that is synced.
//!
//! Verified ÷ read is what looking at the content costs, kept ÷ native what all of it costs beside who
//! looks at nothing but the manifest's shape, and has no records.

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
use crate::made;
use crate::measure::median;
use crate::served::{self, Made};
use crate::wire::Wire;

const BYTES: usize = 1 << 20;

/// Blobs of the bundles: the first shape is the figure's, the others are told beside it.
const SHAPES: [usize; 3] = [2, 16, 128];

/// What was found.
pub(crate) struct Found {
    pub(crate) vs_read: f64,
    pub(crate) vs_native: f64,
    pub(crate) details: String,
}

pub(crate) async fn measure(folder: &Path, sandbox: &Sandbox, rounds: usize) -> Outcome<Found> {
    std::fs::create_dir_all(folder)?;
    let config = "[workspaces.acme]\nsignatures = { posture = 'none' }";
    let in_memory = served::in_memory(config, sandbox)?.open().await?;
    let on_files = served::on_files(folder, config, sandbox).await?.open().await?;
    let workspace = "acme".parse()?;
    let tokens = [served::token(&in_memory, &workspace).await?, served::token(&on_files, &workspace).await?];
    let (verified, _serving) = served::serve(served::routes(&in_memory, 1_000_000)).await?;
    let (kept, _serving) = served::serve(served::routes(&on_files, 1_000_000)).await?;
    let (read, _serving) = served::serve(each(reads, ())).await?;
    let (native, _serving) = served::serve(each(parses_and_syncs, folder.to_owned())).await?;
    let mut wires = Vec::new();
    for address in [verified, kept, read, native] {
        wires.push(Wire::connect(address).await?);
    }
    let mut found = Found { vs_read: 0.0, vs_native: 0.0, details: String::new() };
    let mut revision = 0;
    for (shape, blobs) in SHAPES.into_iter().enumerate() {
        let mut seconds = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        // The first round opens files and threads.
        for round in 0..=rounds {
            // The last two ask for no token.
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
            (found.vs_read, found.vs_native) = (ratio(verified, read), ratio(kept, native));
        }
        let millis = |seconds: &[f64]| median(seconds.to_vec()) * 1e3;
        found.details.push_str(&format!(
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
    Ok(found)
}

/// A bundle of 1 MiB that differs from all others.
fn bundle(revision: u64, blobs: usize) -> Outcome<Made> {
    let empty = served::small("acme", revision, vec![Vec::new(); blobs], &[])?.bytes();
    let each = (BYTES - empty) / blobs - 8;
    let prompt = |number: usize| made::prose(revision * 1000 + number as u64, each).into_bytes();
    served::small("acme", revision, (0..blobs).map(prompt).collect(), &[])
}

/// Every PUT of a bundle, done in one way.
fn each<H, T, S>(handler: H, state: S) -> Router
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

async fn reads(body: Body) -> StatusCode {
    match to_bytes(body, usize::MAX).await {
        Ok(body) if !body.is_empty() => StatusCode::CREATED,
        _ => StatusCode::BAD_REQUEST,
    }
}

async fn parses_and_syncs(State(folder): State<PathBuf>, uri: axum::http::Uri, body: Body) -> StatusCode {
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST };
    let kept = tokio::task::spawn_blocking(move || {
        let (_, name) = uri.path().rsplit_once(':')?;
        if uri.path().contains("config-bundles") {
            let manifest: Manifest = read_canonical(&body, BundleLimits::default().manifest()).ok()?;
            std::hint::black_box(manifest);
        }
        let mut file = std::fs::File::create(folder.join(name)).ok()?;
        std::io::Write::write_all(&mut file, &body).ok()?;
        file.sync_all().ok()
    });
    match kept.await {
        Ok(Some(())) => StatusCode::CREATED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
