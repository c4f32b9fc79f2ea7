//! Swapping resolvers: repeating records compared with resolving them, creation of workers during swaps compared with
//! creation without, and creation while a tenth of the resolutions is repeated compared with creation while none is.
//!
//! Stores are in memory. Each worker requires a different set of capabilities, so no resolution is cached. The resolvers have
//! the same answers.

use std::time::{Duration, Instant};

use bundles::{Bundle, Digest};
use component_host::{BundleView, Sandbox};
use host_policy::Request;
use runtime_api::comparison::{ActivateRequest, ComparisonState};
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{Catalogue, Inputs, Management, Resolutions, Runtime, RuntimeLimits};

use crate::Outcome;
use crate::create::{self, DEPTH, DistinctRequests};
use crate::generated;
use crate::measure::median;

/// Results, all ratios.
pub(crate) struct Swap {
    /// Comparing a resolver with itself over records ÷ resolving and verifying the same requests.
    pub(crate) replay: f64,
    /// 99th percentile of a creation during 100 swaps ÷ without.
    pub(crate) during_swaps: f64,
    /// Time of creations while 10 % of the resolutions are repeated ÷ while none is.
    pub(crate) shadow: f64,
}

/// Workers that are created in one turn.
const WORKERS_PER_TURN: usize = 20;

/// Wait between two requests for the progress of a comparison.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

struct Scene<'a> {
    requests: &'a DistinctRequests,
    runtime: Runtime,
    bundle: Bundle,
    created: usize,
}

impl<'a> Scene<'a> {
    async fn new(requests: &'a DistinctRequests, sandbox: &Sandbox, records: usize) -> Outcome<Self> {
        let limits = RuntimeLimits {
            resolution_records: records as u64,
            // Repeated resolutions must not wait for the turn of a caller.
            running_calls: 2,
            ..RuntimeLimits::default()
        };
        let (runtime, bundle) = create::runtime(requests, sandbox, limits).await?;
        Ok(Self { requests, runtime, bundle, created: 0 })
    }

    fn management(&self) -> Management {
        self.runtime.management()
    }

    fn catalogue(&self) -> Outcome<Catalogue> {
        Ok(self.runtime.catalogue(&"acme".parse()?))
    }

    /// Creates workers and returns the time of each creation.
    async fn create(&mut self, count: usize) -> Outcome<Vec<f64>> {
        let catalogue = self.catalogue()?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            self.created += 1;
            let mut request = CreateWorkerRequest::of_bundle(generated::profile(DEPTH).parse()?, self.bundle.digest());
            request.required_capabilities = self.requests.required(self.created);
            let started = Instant::now();
            catalogue.create(format!("w{}", self.created).parse()?, request).await?;
            times.push(started.elapsed().as_secs_f64());
        }
        Ok(times)
    }

    /// Admits the shipped resolver with a custom section: another component with the same answers.
    async fn variant(&self) -> Outcome<Digest> {
        let mut component = worker_runtime::shipped::RESOLVER.to_vec();
        component.extend([0, 3, 2, b'v', 1]);
        let digest = Digest::of(&component);
        self.management().admit_resolver(digest, component.into()).await?;
        Ok(digest)
    }

    async fn compare(&self, with: Digest) -> Outcome<u64> {
        let management = self.management();
        let mut status = management.compare_resolver(with).await?;
        loop {
            match status.state {
                ComparisonState::Running { .. } => tokio::time::sleep(POLL_INTERVAL).await,
                ComparisonState::Finished { comparison, .. } => return Ok(comparison.cases.same),
                state => return Err(format!("{state:?}").into()),
            }
            status = management.comparison(with).await?;
        }
    }
}

pub(crate) async fn measure(sandbox: &Sandbox, rounds: usize) -> Outcome<Swap> {
    let requests = DistinctRequests::new()?;
    // 1,000 records with 61 rounds.
    let records = (rounds * 17).clamp(20, 1000);
    Ok(Swap {
        replay: replay(&requests, sandbox, records).await?,
        during_swaps: during_swaps(&requests, sandbox, records).await?,
        shadow: shadow(&requests, sandbox, rounds).await?,
    })
}

async fn replay(requests: &DistinctRequests, sandbox: &Sandbox, records: usize) -> Outcome<f64> {
    let mut scene = Scene::new(requests, sandbox, records).await?;
    scene.create(records).await?;
    let resolver = sandbox.load(worker_runtime::shipped::RESOLVER).await?;
    let (view, facts) = (BundleView::new(scene.bundle.clone()), scene.management().facts(&"acme".parse()?));
    let resolutions = Resolutions::with_capacity(0);
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        for number in 1..=records {
            let request = Request::new(generated::profile(DEPTH).parse()?, requests.required(number));
            resolutions.resolve(&resolver, &view, &Inputs::new(facts.clone(), request)).await?;
        }
        let direct = started.elapsed();
        let started = Instant::now();
        let same = scene.compare(resolver.digest()).await?;
        assert_eq!(same as usize, records, "all records are repeated");
        ratios.push(started.elapsed().as_secs_f64() / direct.as_secs_f64());
    }
    Ok(median(ratios))
}

async fn during_swaps(requests: &DistinctRequests, sandbox: &Sandbox, count: usize) -> Outcome<f64> {
    let mut scene = Scene::new(requests, sandbox, 0).await?;
    let resolvers = [scene.variant().await?, Digest::of(worker_runtime::shipped::RESOLVER)];
    scene.create(20).await?;
    let without = scene.create(count).await?;
    let management = scene.management();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let swaps = tokio::spawn(async move {
        // At least 100 swaps, and until the last worker is created.
        for (number, resolver) in resolvers.into_iter().cycle().enumerate() {
            if management.activate_resolver(resolver, ActivateRequest::UNCHECKED).await.is_err() {
                return 0;
            }
            if number >= 100 && stopped.try_recv() != Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                return number;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        0
    });
    let during = scene.create(count).await?;
    drop(stop);
    assert!(swaps.await? >= 100, "the swaps succeed");
    let percentile = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
    };
    Ok(percentile(during) / percentile(without))
}

async fn shadow(requests: &DistinctRequests, sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    let mut watched = Scene::new(requests, sandbox, 10).await?;
    let mut unwatched = Scene::new(requests, sandbox, 10).await?;
    watched.create(10).await?;
    let variant = watched.variant().await?;
    watched.compare(variant).await?;
    watched.management().activate_resolver(variant, ActivateRequest::default()).await?;
    let variant = unwatched.variant().await?;
    unwatched.management().activate_resolver(variant, ActivateRequest::UNCHECKED).await?;
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let started = Instant::now();
        watched.create(WORKERS_PER_TURN).await?;
        let time = started.elapsed();
        let started = Instant::now();
        unwatched.create(WORKERS_PER_TURN).await?;
        if round > 0 {
            ratios.push(time.as_secs_f64() / started.elapsed().as_secs_f64());
        }
    }
    Ok(median(ratios))
}
