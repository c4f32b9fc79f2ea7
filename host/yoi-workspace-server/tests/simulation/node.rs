//! A simulated Runtime. It decides like a Runtime of `worker-runtime` (`simulated_runtime_decides_like_a_real_one` compares
//! them), uses the verifier of `bundles`, and keeps its content in maps. Opening a real one starts threads, and 1,000 of them
//! would not be deterministic.

use std::collections::{BTreeMap, BTreeSet};

use bundles::{Digest, Revision, WorkspaceId};
use bytes::Bytes;
use jiff::Timestamp;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle, Generation};
use runtime_api::runtime::{RuntimeId, RuntimeStatus, WorkspaceStatus};
use yoi_workspace_server::LinkError;
use yoi_workspace_server::runtime_link::SignedManifest;

use super::bundle_pool::{admit, complete};
use super::network::{Reply, Request, Response};

/// Conduct of a simulated Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Does what a Runtime does.
    Honest,
    /// Never answers.
    Silent,
    /// Reports slightly higher generations than it acknowledged, for another bundle.
    ForeignGenerations,
    /// Reports generations that are as high as possible.
    HugeGenerations,
    /// Asks for blobs that do not belong to the bundle.
    AsksForForeignBlobs,
    /// Asks for the same blobs again and again.
    AsksForever,
    /// Acknowledges decisions and stores nothing.
    StoresNothing,
    /// Acknowledges other decisions than those that it gets.
    AcknowledgesOthers,
    /// Accepts everything, and reports a status without workspaces.
    HidesWorkspaces,
    /// Has another id in each status.
    ChangesId,
    /// Gives answers to other questions.
    Nonsense,
}

impl Conduct {
    /// All kinds of lies.
    pub const LIES: [Self; 9] = [
        Self::ForeignGenerations,
        Self::HugeGenerations,
        Self::AsksForForeignBlobs,
        Self::AsksForever,
        Self::StoresNothing,
        Self::AcknowledgesOthers,
        Self::HidesWorkspaces,
        Self::ChangesId,
        Self::Nonsense,
    ];
}

#[derive(Debug, Clone, Default)]
struct Content {
    blobs: BTreeMap<Digest, Bytes>,
    bundles: BTreeMap<Digest, Revision>,
    revisions: BTreeMap<Revision, Digest>,
    acknowledged: Option<AcknowledgedBundle>,
}

/// Everything that a Runtime stores.
#[derive(Debug, Clone)]
pub struct Data {
    id: RuntimeId,
    workspaces: BTreeMap<WorkspaceId, Content>,
}

/// A simulated Runtime.
#[derive(Debug)]
pub struct Node {
    pub conduct: Conduct,
    /// Workspaces that the config of the Runtime names.
    pub served: BTreeSet<WorkspaceId>,
    pub data: Data,
    /// Digests that a lying Runtime asks for.
    pub foreign: Vec<Digest>,
}

fn refused(code: Code) -> LinkError {
    LinkError::Refused { code, acknowledged: None, details: Box::default() }
}

impl Data {
    /// Returns empty data with a new id.
    pub fn empty(random: &mut fastrand::Rng) -> Self {
        Self { id: RuntimeId::from(random.u128(..).to_be_bytes()), workspaces: BTreeMap::new() }
    }
}

impl Node {
    /// Returns the decision that the Runtime really acknowledged.
    pub fn acknowledged(&self, workspace: &WorkspaceId) -> Option<AcknowledgedBundle> {
        self.data.workspaces.get(workspace)?.acknowledged
    }

    /// Handles a request.
    pub fn handle(&mut self, request: &Request, time: Timestamp, random: &mut fastrand::Rng) -> Reply {
        if let Some(lie) = self.lie(request, time, random) {
            return lie;
        }
        match request {
            Request::Status => Ok(Response::Status(Box::new(self.status()))),
            Request::HasBlob(workspace, digest) => {
                let content = self.data.workspaces.get(workspace);
                Ok(Response::HasBlob(content.is_some_and(|content| content.blobs.contains_key(digest))))
            }
            Request::PutBlob(workspace, digest, content) => {
                self.check_served(workspace)?;
                if Digest::of(content) != *digest {
                    return Err(refused(Code::DigestMismatch));
                }
                self.content(workspace).blobs.insert(*digest, content.clone());
                Ok(Response::BlobStored)
            }
            Request::PutManifest(workspace, manifest) => self.put_manifest(workspace, manifest),
            Request::SetDesired(workspace, desired) => self.set_desired(workspace, desired, time),
        }
    }

    /// Forgets all decisions. No Runtime does this.
    pub fn forget_acknowledgements(&mut self) {
        for content in self.data.workspaces.values_mut() {
            content.acknowledged = None;
        }
    }

    fn content(&mut self, workspace: &WorkspaceId) -> &mut Content {
        self.data.workspaces.entry(workspace.clone()).or_default()
    }

    fn check_served(&self, workspace: &WorkspaceId) -> Result<(), LinkError> {
        if self.served.contains(workspace) { Ok(()) } else { Err(refused(Code::NoSignaturePosture)) }
    }

    fn status(&self) -> RuntimeStatus {
        let status = |id: &WorkspaceId| {
            let content = self.data.workspaces.get(id);
            let status = WorkspaceStatus {
                facts: Digest::of(""),
                resolver: Digest::of(""),
                newest_revision: content.and_then(|content| content.revisions.keys().next_back().copied()),
                acknowledged: content.and_then(|content| content.acknowledged),
                fault: None,
            };
            (id.clone(), status)
        };
        RuntimeStatus {
            id: self.data.id.clone(),
            version: "0.1.0".to_owned(),
            worlds: Vec::new(),
            active_resolver: Digest::of(""),
            workspaces: self.served.iter().map(status).collect(),
        }
    }

    fn put_manifest(&mut self, workspace: &WorkspaceId, manifest: &SignedManifest) -> Reply {
        let admitted = admit(manifest).map_err(refused)?;
        if admitted.workspace != *workspace {
            return Err(refused(Code::WorkspaceDenied));
        }
        self.check_served(workspace)?;
        let content = self.content(workspace);
        if content.revisions.get(&admitted.revision).is_some_and(|held_by| *held_by != manifest.digest) {
            return Err(refused(Code::RevisionConflict));
        }
        let missing = admitted.carried.iter().filter(|digest| !content.blobs.contains_key(digest));
        let missing: BTreeSet<Digest> = missing.copied().collect();
        if !missing.is_empty() {
            return Ok(Response::Manifest(Some(missing)));
        }
        let blobs = admitted.carried.iter().filter_map(|digest| content.blobs.get(digest).cloned());
        complete(&admitted, blobs).map_err(refused)?;
        content.bundles.insert(manifest.digest, admitted.revision);
        content.revisions.insert(admitted.revision, manifest.digest);
        Ok(Response::Manifest(None))
    }

    fn set_desired(&mut self, workspace: &WorkspaceId, desired: &DesiredBundle, time: Timestamp) -> Reply {
        let DesiredBundle { generation, bundle, allow_older } = *desired;
        if let Some(state) = self.acknowledged(workspace).filter(|state| generation <= state.generation) {
            if (state.generation, state.bundle) == (generation, bundle) {
                return Ok(Response::Acknowledged(state));
            }
            let acknowledged = Some(state.generation);
            return Err(LinkError::Refused { code: Code::GenerationOlder, acknowledged, details: Box::default() });
        }
        let stored = self.data.workspaces.get(workspace).and_then(|content| content.bundles.get(&bundle)).copied();
        let revision = stored.ok_or_else(|| refused(Code::BundleNotFound))?;
        self.check_served(workspace)?;
        let content = self.content(workspace);
        if !allow_older && content.revisions.keys().next_back().is_some_and(|newest| *newest > revision) {
            return Err(refused(Code::RevisionOlder));
        }
        let state = AcknowledgedBundle { generation, bundle, acknowledged_at: time };
        content.acknowledged = Some(state);
        Ok(Response::Acknowledged(state))
    }

    /// Returns the answer of a Runtime that lies. `None` if it answers this request truthfully.
    fn lie(&mut self, request: &Request, time: Timestamp, random: &mut fastrand::Rng) -> Option<Reply> {
        let acknowledged = |generation, bundle| AcknowledgedBundle { generation, bundle, acknowledged_at: time };
        let lie = match (self.conduct, request) {
            (Conduct::ForeignGenerations | Conduct::HugeGenerations, Request::Status) => {
                let mut status = self.status();
                for workspace in status.workspaces.values_mut() {
                    let own = workspace.acknowledged.map_or(1, |state| state.generation.get());
                    let raise = match self.conduct {
                        Conduct::ForeignGenerations => random.u64(0..4),
                        _ if random.bool() => (1 << 20) - 4,
                        _ => 1 << 53,
                    };
                    let generation = Generation::try_from((own + raise).min((1 << 53) - 1)).ok()?;
                    workspace.acknowledged = Some(acknowledged(generation, Digest::of("foreign")));
                }
                Response::Status(Box::new(status))
            }
            (Conduct::HidesWorkspaces, Request::Status) => {
                Response::Status(Box::new(RuntimeStatus { workspaces: BTreeMap::new(), ..self.status() }))
            }
            (Conduct::ChangesId, Request::Status) => {
                let id = RuntimeId::from(random.u128(..).to_be_bytes());
                Response::Status(Box::new(RuntimeStatus { id, ..self.status() }))
            }
            (Conduct::AsksForForeignBlobs, Request::PutManifest(..)) => {
                Response::Manifest(Some(self.foreign.iter().copied().collect()))
            }
            (Conduct::AsksForever, Request::PutManifest(_, manifest)) => {
                Response::Manifest(Some(admit(manifest).ok()?.carried.clone()))
            }
            (Conduct::StoresNothing, Request::PutBlob(..)) => Response::BlobStored,
            (Conduct::StoresNothing, Request::PutManifest(..)) => Response::Manifest(None),
            (Conduct::StoresNothing, Request::SetDesired(workspace, desired)) => {
                let state = acknowledged(desired.generation, desired.bundle);
                self.content(workspace).acknowledged = Some(state);
                Response::Acknowledged(state)
            }
            (Conduct::AcknowledgesOthers, Request::SetDesired(_, desired)) => {
                let generation = Generation::try_from(random.u64(1..=desired.generation.get())).ok()?;
                Response::Acknowledged(acknowledged(generation, Digest::of("other")))
            }
            (Conduct::Nonsense, Request::PutManifest(..) | Request::SetDesired(..)) => Response::HasBlob(true),
            _ => return None,
        };
        Some(Ok(lie))
    }
}
