//! Placements of a worker: resolves a profile with the facts that each Runtime publishes.
//!
//! The resolver runs in the sandbox of the catalogue. Facts are cached by their digest, which the status of a Runtime names, so
//! that a Runtime is asked only after its config has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use backend_api::placement::{Placement, PlacementTable};
use backend_api::refusal::{RefusedSubject, Subject};
use bundles::manifest::Manifest;
use bundles::{Authority, Capability, Digest, Need, RuntimeName, ToolSource, WorkspaceId};
use futures_util::{StreamExt, stream};
use host_policy::{Facts, Failure, ProfileSelector, Resolution};
use runtime_api::Code;
use runtime_api::worker::CreateWorkerRequest;
use worker_runtime::{ResolveError, WorkerError, shipped};

use crate::backend::{Backend, BackendError};
use crate::workers::on_runtime;

/// Maximum number of cached facts.
const MAX_CACHED_FACTS: usize = 1024;

/// Runtimes whose facts are read at the same time.
const MAX_CONCURRENT_READS: usize = 16;

/// Facts about Runtimes by their digest.
#[derive(Debug, Default)]
pub(crate) struct FactsCache(Mutex<BTreeMap<Digest, Arc<Facts>>>);

impl FactsCache {
    fn get(&self, digest: &Digest) -> Option<Arc<Facts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn insert(&self, digest: Digest, facts: Arc<Facts>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_CACHED_FACTS {
            // Facts change seldom, so it does not matter which ones are read again.
            known.pop_first();
        }
        known.insert(digest, facts);
    }
}

/// Report of a Runtime about the workspace.
#[derive(Debug, Clone, Copy)]
struct Reported {
    facts: Digest,
    resolver: Digest,
}

/// Result of a resolution: the error code if it failed, and what is missing.
type Resolved = (Option<Code>, Vec<RefusedSubject>);

impl Backend {
    /// Returns on which of the Runtimes that the workspace may use a worker of the request could run, and what the others
    /// lack. Without a bundle, a profile of the workspace is one of the desired bundle.
    pub async fn placements(
        &self,
        workspace: &WorkspaceId,
        request: &CreateWorkerRequest,
    ) -> Result<PlacementTable, BackendError> {
        let bundle = match (&request.profile, request.bundle) {
            (ProfileSelector::Bundle(_), None) => {
                let desired = self.workspace(workspace).await?.desired;
                Some(desired.ok_or_else(|| BackendError::NothingDesired(workspace.clone()))?.target.bundle)
            }
            (_, bundle) => {
                self.check_workspace(workspace)?;
                bundle
            }
        };
        // The bundle may be older than the newest one, and the catalogue has only its own resolvers.
        let request = CreateWorkerRequest { bundle, resolver: None, allow_older: true, ..request.clone() };
        let catalogue = self.catalogue().catalogue(workspace);
        let manifest = match bundle {
            Some(digest) => Some(self.manifest(workspace, digest).await?),
            None => shipped::bundle().ok().map(|bundle| bundle.manifest().clone()),
        };
        let resolver = self.catalogue().management().status([workspace]).await?;
        let resolver = resolver.workspaces.get(workspace).map_or(resolver.active_resolver, |status| status.resolver);

        let reads = stream::iter(self.allowed_runtimes(workspace)).map(|(runtime, reported)| async move {
            let facts = match reported {
                Some(reported) => self.facts(&runtime, workspace, reported.facts).await.map_err(|error| error.code()),
                None => Err(Code::RuntimeUnreachable),
            };
            (runtime, reported, facts)
        });
        let mut reads = std::pin::pin!(reads.buffered(MAX_CONCURRENT_READS));
        let (mut runtimes, mut resolved) = (Vec::new(), BTreeMap::<Digest, Resolved>::new());
        while let Some((runtime, reported, facts)) = reads.next().await {
            let (code, missing) = match (facts, reported) {
                (Ok(facts), Some(Reported { facts: digest, .. })) => match resolved.get(&digest) {
                    Some(known) => known.clone(),
                    None => {
                        let result = match catalogue.resolve_for(&request, Facts::clone(&facts)).await {
                            Ok(computed) => (None, missing(computed.resolution(), manifest.as_ref(), &facts)),
                            Err(WorkerError::Resolve(ResolveError::Failed(failure))) => failed(&failure),
                            Err(WorkerError::Content(error)) => return Err(error.into()),
                            Err(error) => (Some(error.code()), Vec::new()),
                        };
                        resolved.entry(digest).or_insert(result).clone()
                    }
                },
                (Err(code), _) => (Some(code), Vec::new()),
                (Ok(_), None) => (Some(Code::RuntimeUnreachable), Vec::new()),
            };
            let can_run = code.is_none() && missing.iter().all(|item| item.need == Need::Optional);
            let other_resolver = reported.is_some_and(|reported| reported.resolver != resolver);
            runtimes.push(Placement { runtime, can_run, code, missing, other_resolver });
        }
        Ok(PlacementTable { bundle, runtimes })
    }

    /// Returns the Runtimes that the workspace may use, ordered by name, with what they reported.
    fn allowed_runtimes(&self, workspace: &WorkspaceId) -> Vec<(RuntimeName, Option<Reported>)> {
        let names: Vec<RuntimeName> = self.0.fleet().runtimes.keys().cloned().collect();
        // Before the fleet is locked again.
        let allowed: Vec<RuntimeName> =
            names.into_iter().filter(|name| self.allowed_link(workspace, name).is_ok()).collect();
        let fleet = self.0.fleet();
        let reported = |name: &RuntimeName| {
            let status = fleet.reconciler.runtime(name)?.status.as_ref()?.workspaces.get(workspace)?;
            Some(Reported { facts: status.facts, resolver: status.resolver })
        };
        allowed.into_iter().map(|name| (name.clone(), reported(&name))).collect()
    }

    async fn facts(
        &self,
        runtime: &RuntimeName,
        workspace: &WorkspaceId,
        digest: Digest,
    ) -> Result<Arc<Facts>, BackendError> {
        if let Some(known) = self.0.facts.get(&digest) {
            return Ok(known);
        }
        let link = self.allowed_link(workspace, runtime)?;
        let facts = Arc::new(link.facts(workspace, digest).await.map_err(on_runtime(runtime))?);
        self.0.facts.insert(digest, facts.clone());
        Ok(facts)
    }
}

/// Returns the code of a failed resolution, with what the facts lack.
fn failed(failure: &Failure) -> Resolved {
    let required = |subject| RefusedSubject { subject, need: Need::Required, rule: failure.code() };
    let missing = match failure {
        Failure::UnmetCapability { capabilities } => {
            capabilities.iter().cloned().map(Subject::Capability).map(required).collect()
        }
        Failure::NoModel { models } => models.iter().cloned().map(Subject::Model).map(required).collect(),
        Failure::UnknownProfile { .. } | Failure::UnsupportedDeclaration { .. } => Vec::new(),
    };
    (Some(failure.code()), missing)
}

/// Returns what a resolution needs and the facts lack. Facts have no network targets and no plugins.
fn missing(resolution: &Resolution, manifest: Option<&Manifest>, facts: &Facts) -> Vec<RefusedSubject> {
    let capabilities: BTreeSet<&str> = facts.capabilities.iter().map(Capability::as_str).collect();
    let lacking = |authority: &Authority| match authority {
        Authority::Secret(name) => (!facts.secrets.contains(name)).then_some(Code::SecretNotGranted),
        Authority::Mount(label, _) => (!facts.mounts.contains(label)).then_some(Code::MountNotGranted),
        Authority::Shell => (!capabilities.contains("shell")).then_some(Code::ShellNotGranted),
        Authority::Git(_) => (!capabilities.contains("git")).then_some(Code::GitNotGranted),
        Authority::Egress(_) => None,
    };
    let wishes = resolution.wishes().iter().filter_map(|wish| {
        let rule = lacking(&wish.authority)?;
        Some(RefusedSubject { subject: Subject::Authority(wish.authority.clone()), need: wish.need, rule })
    });
    let tools = resolution.tools().iter().filter(|name| {
        let is_of_host =
            manifest.and_then(|manifest| manifest.tools.get(*name)).is_some_and(|tool| tool.source == ToolSource::Host);
        is_of_host && !capabilities.contains(format!("tool:{name}").as_str())
    });
    // A host refuses the worker for a selected host tool that it does not offer.
    let tools = tools.map(|name| RefusedSubject {
        subject: Subject::Tool(name.clone()),
        need: Need::Required,
        rule: Code::UnsupportedDeclaration,
    });
    wishes.chain(tools).collect()
}
