//! Making a worker beside the resolution that it takes, bare: the sandboxed resolver asked about the
//! same bundle, with nothing checked, enforced or recorded.
//!
//! Stores are in memory. Each worker requires another set of capabilities, so that each is resolved
//! anew: what the Runtime remembers of earlier resolutions does not help it.

use component_host::{BundleView, Sandbox};
use host_policy::Request;
use worker_runtime::blob_store;
use worker_runtime::worker::CreateWorkerRequest;

use crate::made::{self, Extent, PROMPT_BYTES};
use crate::measure::median;
use crate::sandboxed::Asked;
use crate::{Outcome, served};

/// The chain that is resolved.
const DEPTH: usize = 4;

/// Profile and capabilities so that every number is another request.
pub(crate) struct Questions {
    capabilities: Vec<bundles::Capability>,
}

/// So many bits make more sets than any of these benchmarks asks for.
const BITS: usize = 16;

impl Questions {
    pub(crate) fn new() -> Outcome<Self> {
        let name = |bit| Ok(format!("cap-{bit}").parse()?);
        Ok(Self { capabilities: (0..BITS).map(name).collect::<Outcome<_>>()? })
    }

    /// A config that grants what the made bundles ask for.
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

    /// The capabilities of one number.
    pub(crate) fn required(&self, number: usize) -> Vec<bundles::Capability> {
        let set = |(bit, name): (usize, &bundles::Capability)| (number >> bit & 1 == 1).then(|| name.clone());
        self.capabilities.iter().enumerate().filter_map(set).collect()
    }
}

/// A Runtime with stores in memory, the made bundle in it, and that bundle's digest.
pub(crate) async fn runtime(
    questions: &Questions,
    sandbox: &Sandbox,
) -> Outcome<(worker_runtime::Runtime, bundles::Bundle)> {
    let mut builder = served::in_memory(&questions.config(), sandbox)?;
    for number in 0..12 {
        builder = builder.tool(served::answers(&format!("tool-{number}"), |input| input)?);
    }
    let runtime = builder.open().await?;
    let bundle = made::bundle(Extent::Bytes(64 << 10), DEPTH, PROMPT_BYTES)?;
    let content = runtime.content(&"acme".parse()?);
    for (digest, blob) in bundle.blobs() {
        content.put_blob(*digest, blob_store::source_from(blob.to_vec()), Some(blob.len() as u64)).await?;
    }
    content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await?;
    Ok((runtime, bundle))
}

/// Making ÷ resolving.
pub(crate) async fn measure(sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    let questions = Questions::new()?;
    let (runtime, bundle) = runtime(&questions, sandbox).await?;
    let acme = "acme".parse()?;
    let catalogue = runtime.catalogue(&acme);
    let facts = runtime.management().facts(&acme);
    let resolver = sandbox.load(worker_runtime::shipped::RESOLVER).await?;
    let view = BundleView::new(bundle.clone());
    let profile = made::profile(DEPTH);
    let mut ratios = Vec::with_capacity(rounds);
    let mut number = 0;
    for round in 0..=rounds {
        let started = std::time::Instant::now();
        for _ in 0..TOGETHER {
            number += 1;
            let mut request = CreateWorkerRequest::of_bundle(profile.parse()?, bundle.digest());
            request.required_capabilities = questions.required(number);
            let created = catalogue.create(format!("w{number}").parse()?, request).await?;
            assert!(created.new, "each is another worker");
        }
        let made = started.elapsed();
        let started = std::time::Instant::now();
        for number in number - TOGETHER..number {
            let request = Request::new(profile.parse()?, questions.required(number));
            Asked { resolver: &resolver, view: &view, facts: &facts, request: &request }.once().await?;
        }
        let resolved = started.elapsed();
        if round > 0 {
            ratios.push(made.as_secs_f64() / resolved.as_secs_f64());
        }
    }
    Ok(median(ratios))
}

/// Workers that are made in one turn.
const TOGETHER: usize = 20;
