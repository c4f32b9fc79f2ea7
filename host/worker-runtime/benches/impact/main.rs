//! The impact of a change of one profile, compared with resolving all profiles with both bundles.
//!
//! `cargo bench -p worker-runtime --bench impact` prints a table and writes `bench/impact.json` in the target folder. A
//! missed target is marked; nothing fails. With `-- --quick` the benchmark runs few rounds, to check that it works.
//!
//! The bundle has 500 profiles in chains of four. *Impact* reads the records of all profiles with the old bundle from
//! their JSON, compares the manifests and resolves what can differ. *All* resolves each profile with the old and with the
//! new bundle, and compares nothing.

#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use bundles::canonical::to_canonical;
use bundles::{Acceptances, Bundle, BundleLimits, ProfileName};
use component_host::{BundleView, Resolver};
use host_policy::{Facts, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use worker_runtime::impact::{BundleSide, Impact};
use worker_runtime::{Inputs, Record, Resolutions};

use crate::support::figures::{Figure, Target};
use crate::support::generated::{self, Extent};
use crate::support::measure::{Group, timed};
use crate::support::{Outcome, figures, print, sandboxed};

const PROFILES: usize = 500;
const DEPTH: usize = 4;

fn main() -> ExitCode {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    support::exit_code(measure(if is_quick { 3 } else { 31 }))
}

/// Two bundles and the records of all profiles with the first one.
struct Scene {
    runtime: Runtime,
    resolver: Resolver,
    facts: Facts,
    requests: Vec<Request>,
    before: BundleSide,
    records: Vec<Vec<u8>>,
}

fn measure(rounds: usize) -> Outcome<()> {
    let runtime = sandboxed::runtime()?;
    let sandbox = sandboxed::sandbox(None)?;
    let resolver = sandboxed::shipped_resolver(&runtime, &sandbox)?;
    let bundle = generated::bundle(Extent::Profiles(PROFILES), DEPTH, generated::PROMPT_BYTES)?;
    let (leaf, base) = (changed(&bundle, DEPTH - 1)?, changed(&bundle, 0)?);
    let scene = Scene::new(runtime, resolver, bundle)?;

    let mut group = Group::default();
    let all = group.case(|times| timed(times, || scene.resolve_all(&leaf)));
    let known = group.case(|times| timed(times, || scene.impact(&leaf, true, 1)));
    let of_base = group.case(|times| timed(times, || scene.impact(&base, true, DEPTH)));
    let unknown = group.case(|times| timed(times, || scene.impact(&leaf, false, 1)));
    let measured = group.measure(rounds)?;
    let at_most =
        |name, case, limit| Figure { name, measured: measured.ratio(case, all), target: Target::AtMost(limit) };
    let figures = [
        at_most("impact_vs_all", known, 0.1),
        at_most("impact_of_base_vs_all", of_base, 0.1),
        at_most("without_records_vs_all", unknown, 0.7),
    ];
    print(&figures::table(&figures));
    print(&format!("resolving {PROFILES} profiles twice takes {:.1} ms", measured.seconds(all) * 1e3));
    figures::write("impact", &figures)
}

/// Returns the bundle with another setting in the profile at this depth of the first chain.
fn changed(bundle: &Bundle, depth: usize) -> Outcome<BundleSide> {
    let mut manifest: Value = serde_json::from_slice(bundle.manifest_bytes())?;
    let layer = manifest.pointer_mut(&format!("/profiles/role-0-{depth}/layers/0"));
    let layer = layer.and_then(Value::as_object_mut).ok_or("the profile has no layer")?;
    let settings = layer.entry("settings").or_insert_with(|| json!({}));
    settings.as_object_mut().ok_or("the settings are no object")?.insert("changed".to_owned(), json!(true));
    let blobs: Vec<Arc<[u8]>> = bundle.blobs().map(|(_, bytes)| bytes.clone()).collect();
    let bytes = to_canonical(&manifest)?;
    let bundle = Bundle::open(bytes.into(), blobs, &BundleLimits::default(), Acceptances::Refuse)?;
    Ok(side(bundle))
}

fn side(bundle: Bundle) -> BundleSide {
    let workspace = bundle.manifest().workspace.id.clone();
    BundleSide { view: BundleView::new(bundle), builtin: false, workspace }
}

impl Scene {
    fn new(runtime: Runtime, resolver: Resolver, bundle: Bundle) -> Outcome<Self> {
        let profiles: Vec<ProfileName> = bundle.manifest().profiles.keys().cloned().collect();
        let requests = profiles.into_iter().map(|profile| Request::new(profile, [])).collect();
        let before = side(bundle);
        let mut scene = Self { runtime, resolver, facts: generated::facts()?, requests, before, records: Vec::new() };
        for request in &scene.requests {
            let inputs = Inputs::new(scene.facts.clone(), request.clone());
            let resolutions = Resolutions::with_capacity(0);
            let resolved = resolutions.resolve(&scene.resolver, &scene.before.view, &inputs);
            let resolved = scene.runtime.block_on(resolved)?;
            scene.records.push(Record::new(&inputs, &resolved, *resolved.digests()).to_json());
        }
        Ok(scene)
    }

    fn resolve_all(&self, after: &BundleSide) -> Outcome<()> {
        let resolutions = Resolutions::with_capacity(0);
        for request in &self.requests {
            let inputs = Inputs::new(self.facts.clone(), request.clone());
            for side in [&self.before, after] {
                black_box(self.runtime.block_on(resolutions.resolve(&self.resolver, &side.view, &inputs))?);
            }
        }
        Ok(())
    }

    /// Computes the impact on all profiles, and checks the number of those that differ.
    fn impact(&self, after: &BundleSide, with_records: bool, differing: usize) -> Outcome<()> {
        let impact = Impact::new(&self.resolver, &self.before, after, None);
        let mut found = 0;
        for (request, bytes) in self.requests.iter().zip(&self.records) {
            let record = if with_records { Some(Record::from_json(bytes)?) } else { None };
            let effect = impact.of_request([&self.facts, &self.facts], request, record.as_ref());
            found += usize::from(!self.runtime.block_on(effect)?.fields.is_empty());
        }
        if found == differing { Ok(()) } else { Err(format!("{found} profiles differ instead of {differing}").into()) }
    }
}
