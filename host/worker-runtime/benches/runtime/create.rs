//! Creation of a worker compared with a bare resolution of the same bundle, without verification, enforcement and
//! records.
//!
//! Stores are in memory. Each worker requires a different set of capabilities, so the Runtime's cache of resolutions
//! never hits.

use component_host::{BundleView, Sandbox};
use host_policy::Request;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{RuntimeLimits, blob_store};

use crate::generated::{self, Extent, PROMPT_BYTES};
use crate::measure::median;
use crate::sandboxed::SandboxedCase;
use crate::{Outcome, server};

/// Depth of the resolved chain.
pub(crate) const DEPTH: usize = 4;

/// Generator of distinct requests: each number has a different set of capabilities.
pub(crate) struct DistinctRequests {
    capabilities: Vec<bundles::Capability>,
}

/// Number of capabilities. They allow 65,536 sets, more than any benchmark uses.
const BITS: usize = 16;

impl DistinctRequests {
    pub(crate) fn new() -> Outcome<Self> {
        let name = |bit| Ok(format!("cap-{bit}").parse()?);
        Ok(Self { capabilities: (0..BITS).map(name).collect::<Outcome<_>>()? })
    }

    /// Returns a config that grants everything that the generated bundles request.
    pub(crate) fn config(&self) -> String {
        let tools = (0..12).map(|number| format!("tool:tool-{number}"));
        let own = self.capabilities.iter().map(|name| name.as_str().to_owned());
        let names: Vec<String> = tools.chain(own).map(|name| format!("'{name}'")).collect();
        format!(
            "[host]\ncapabilities = [{}]\nmodels = ['local-small', 'large']\n[workspaces.acme]\nshell = true\n\
             git = 'read'\nsecrets = ['anthropic-api-key']\nsignatures = {{ posture = 'none' }}\n\
             mounts.repo = {{ path = '/', access = 'write' }}\n",
            names.join(", ")
        )
    }

    /// Returns the capabilities of a number.
    pub(crate) fn required(&self, number: usize) -> Vec<bundles::Capability> {
        let set = |(bit, name): (usize, &bundles::Capability)| (number >> bit & 1 == 1).then(|| name.clone());
        self.capabilities.iter().enumerate().filter_map(set).collect()
    }
}

/// Creates a Runtime with stores in memory and a generated bundle.
pub(crate) async fn runtime(
    requests: &DistinctRequests,
    sandbox: &Sandbox,
    limits: RuntimeLimits,
) -> Outcome<(worker_runtime::Runtime, bundles::Bundle)> {
    let mut builder = server::in_memory(&requests.config(), sandbox)?.limits(limits);
    for number in 0..12 {
        builder = builder.tool(server::function_tool(&format!("tool-{number}"), |input| input)?);
    }
    let runtime = builder.open().await?;
    let bundle = generated::bundle(Extent::Bytes(64 << 10), DEPTH, PROMPT_BYTES)?;
    let content = runtime.content(&"acme".parse()?);
    for (digest, blob) in bundle.blobs() {
        content.put_blob(*digest, blob_store::source_from(blob.to_vec()), Some(blob.len() as u64)).await?;
    }
    content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await?;
    Ok((runtime, bundle))
}

/// Returns the ratio of creating ÷ resolving.
pub(crate) async fn measure(sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    let requests = DistinctRequests::new()?;
    let (runtime, bundle) = runtime(&requests, sandbox, RuntimeLimits::default()).await?;
    let acme = "acme".parse()?;
    let catalogue = runtime.catalogue(&acme);
    let facts = runtime.management().facts(&acme);
    let resolver = sandbox.load(worker_runtime::shipped::RESOLVER).await?;
    let view = BundleView::new(bundle.clone());
    let profile = generated::profile(DEPTH);
    let mut ratios = Vec::with_capacity(rounds);
    let mut number = 0;
    for round in 0..=rounds {
        let started = std::time::Instant::now();
        for _ in 0..WORKERS_PER_TURN {
            number += 1;
            let mut request = CreateWorkerRequest::of_bundle(profile.parse()?, bundle.digest());
            request.required_capabilities = requests.required(number);
            let created = catalogue.create(format!("w{number}").parse()?, request).await?;
            assert!(created.new, "each worker is new");
        }
        let create_time = started.elapsed();
        let started = std::time::Instant::now();
        for number in number - WORKERS_PER_TURN..number {
            let request = Request::new(profile.parse()?, requests.required(number));
            SandboxedCase { resolver: &resolver, view: &view, facts: &facts, request: &request }.once().await?;
        }
        let resolve_time = started.elapsed();
        if round > 0 {
            ratios.push(create_time.as_secs_f64() / resolve_time.as_secs_f64());
        }
    }
    Ok(median(ratios))
}

/// Workers that are created in one turn.
const WORKERS_PER_TURN: usize = 20;
