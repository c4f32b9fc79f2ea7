//! Costs of a store that must not depend on its size. Local files and SQLite, every write synced.
//!
//! *Opening* locks the data folder and opens its blobs and its metadata. *Getting* reads and verifies a manifest by its
//! digest, a different one each time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bundles::{Digest, WorkspaceId};
use component_host::Sandbox;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use worker_runtime::content::PutBundle;
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::{DataFolder, Runtime};

use crate::measure::median;
use crate::{Outcome, server};

/// Ratios of the large store ÷ the small one.
pub(crate) struct StoreRatios {
    pub(crate) open: f64,
    pub(crate) get: f64,
}

/// Number of workspaces, which put their bundles concurrently.
const WORKSPACES: usize = 10;

/// Manifests that are read in one turn.
const READS_PER_TURN: usize = 200;

struct FilledStore {
    folder: PathBuf,
    digests: Vec<(WorkspaceId, Digest)>,
}

pub(crate) async fn measure(
    folder: &Path,
    sandbox: &Sandbox,
    [few, many]: [usize; 2],
    rounds: usize,
) -> Outcome<StoreRatios> {
    let mut filled = Vec::new();
    for (name, count) in [("many", many), ("few", few)] {
        filled.push(fill(folder.join(name), sandbox, count).await?);
    }
    let mut opening = [Vec::new(), Vec::new()];
    for _ in 0..=rounds {
        for (filled, seconds) in filled.iter().zip(&mut opening) {
            let started = Instant::now();
            let data = DataFolder::open(filled.folder.join("data")).await?;
            let metadata = SqliteMetadata::open(data.metadata_file()).await?;
            seconds.push(started.elapsed().as_secs_f64());
            // Closing is not measured.
            tokio::task::spawn_blocking(move || drop((data, metadata))).await?;
        }
    }
    let mut runtimes = Vec::new();
    for filled in &filled {
        let runtime = server::on_files(&filled.folder, &config(), sandbox).await?.open().await?;
        runtimes.push((runtime, &filled.digests));
    }
    let mut getting = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for ((runtime, digests), seconds) in runtimes.iter().zip(&mut getting) {
            seconds.push(get(runtime, digests, round).await?);
        }
    }
    let ratio = |[many, few]: &[Vec<f64>; 2]| {
        // The first round is a warm-up.
        median(many.iter().zip(few).skip(1).map(|(many, few)| many / few).collect())
    };
    Ok(StoreRatios { open: ratio(&opening), get: ratio(&getting) })
}

fn name(number: usize) -> String {
    format!("team-{number}")
}

fn config() -> String {
    let of = |number| format!("[workspaces.{}]\nsignatures = {{ posture = 'none' }}\n", name(number));
    (0..WORKSPACES).map(of).collect()
}

/// Creates a data folder with bundles.
async fn fill(folder: PathBuf, sandbox: &Sandbox, count: usize) -> Outcome<FilledStore> {
    std::fs::create_dir_all(&folder)?;
    let runtime = server::on_files(&folder, &config(), sandbox).await?.open().await?;
    let runtime = Arc::new(runtime);
    let of_one = |number: usize| {
        let runtime = runtime.clone();
        async move {
            let workspace: WorkspaceId = name(number).parse()?;
            let content = runtime.content(&workspace);
            let mut digests = Vec::new();
            for revision in 1..=(count / WORKSPACES) as u64 {
                let bundle = server::small_bundle(workspace.as_str(), revision, Vec::new(), &[])?;
                let put = content.put_manifest(bundle.digest(), bundle.manifest.clone().into()).await?;
                if put != (PutBundle::Stored { known: false }) {
                    return Err(format!("{put:?}").into());
                }
                digests.push((workspace.clone(), bundle.digest()));
            }
            Outcome::Ok(digests)
        }
    };
    let all: Vec<Vec<_>> = stream::iter(0..WORKSPACES).map(of_one).buffer_unordered(WORKSPACES).try_collect().await?;
    Ok(FilledStore { folder, digests: all.into_iter().flatten().collect() })
}

/// Reads manifests and returns the elapsed seconds.
async fn get(runtime: &Runtime, digests: &[(WorkspaceId, Digest)], round: usize) -> Outcome<f64> {
    // A prime step visits all manifests.
    let step = 7919;
    let picked: Vec<_> = (0..READS_PER_TURN)
        .filter_map(|turn| digests.get((round * READS_PER_TURN + turn) * step % digests.len()))
        .map(|(workspace, digest)| (runtime.content(workspace), *digest))
        .collect();
    let started = Instant::now();
    for (content, digest) in &picked {
        std::hint::black_box(content.manifest(*digest).await?);
    }
    Ok(started.elapsed().as_secs_f64())
}
