//! The properties that hold in every simulation, and the error that names the one that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bundles::{Digest, RuntimeName, WorkspaceId};
use runtime_api::desired::{AcknowledgedBundle, Generation};
use yoi_workspace_server::visibility::{Names, RuntimeRules, WorkspaceRules};

use super::network::{Request, SentRequest};
use super::state::{Durable, Policy};

/// Maximum number of requests to one Runtime within a minute of simulated time, whatever the Runtime answers. A status is read
/// about four times a minute, and a delivery takes about six requests.
const MAX_REQUESTS_PER_MINUTE: u32 = 300;

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Something of a workspace was sent to a Runtime that must not have it.
    NotAllowed { runtime: RuntimeName, workspace: WorkspaceId, request: &'static str },
    /// A blob was sent that does not belong to the workspace.
    ForeignBlob { runtime: RuntimeName, workspace: WorkspaceId, digest: Digest },
    /// A publication that was acknowledged does not exist any more.
    LostPublication { workspace: WorkspaceId, digest: Digest },
    /// A decision that was acknowledged does not exist any more.
    LostDecision { workspace: WorkspaceId, generation: Generation },
    /// A Runtime acknowledged an older decision than before, and had not lost its data.
    WentBack { runtime: RuntimeName, workspace: WorkspaceId, before: Generation, after: Option<Generation> },
    /// The Backend sends too many requests to one Runtime.
    TooManyRequests { runtime: RuntimeName },
    /// A rollout is halted, and no Runtime of its stage has a reason to refuse it.
    HaltedWithoutReason { workspace: WorkspaceId },
    /// An honest Runtime does not have what it should have, long after the faults.
    NotConverged { runtime: RuntimeName, workspace: WorkspaceId, expected: String, actual: String, shown: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Checks that go on during the whole simulation.
#[derive(Debug, Default)]
pub struct Checks {
    /// Publications that the Backend acknowledged.
    pub publications: BTreeSet<(WorkspaceId, Digest)>,
    /// Newest decisions that the Backend acknowledged.
    pub decisions: BTreeMap<WorkspaceId, Generation>,
    acknowledged: BTreeMap<(usize, WorkspaceId), Generation>,
    requests: BTreeMap<usize, (u64, u32)>,
}

impl Checks {
    /// Checks a request at the moment at which the Backend sends it.
    pub fn sent(
        &mut self,
        sent: &SentRequest,
        name: &RuntimeName,
        policy: &Policy,
        durable: &Durable,
        now: Duration,
    ) -> Result<(), Violation> {
        let minute = now.as_secs() / 60;
        let counted = self.requests.entry(sent.runtime).or_default();
        *counted = if counted.0 == minute { (minute, counted.1 + 1) } else { (minute, 1) };
        if counted.1 > MAX_REQUESTS_PER_MINUTE {
            return Err(Violation::TooManyRequests { runtime: name.clone() });
        }
        let Some(workspace) = sent.request.workspace() else { return Ok(()) };
        if !may_have(policy, name, workspace) {
            let request = sent.request.name();
            return Err(Violation::NotAllowed { runtime: name.clone(), workspace: workspace.clone(), request });
        }
        if let Request::PutBlob(_, digest, content) = &sent.request {
            let belongs = durable.bundles.get(workspace).is_some_and(|bundles| {
                bundles.values().any(|bundle| bundle.blobs.get(digest).is_some_and(|blob| blob == content))
            });
            if !belongs {
                let (runtime, workspace) = (name.clone(), workspace.clone());
                return Err(Violation::ForeignBlob { runtime, workspace, digest: *digest });
            }
        }
        Ok(())
    }

    /// Checks what a Runtime has acknowledged after it handled a request.
    pub fn acknowledged(
        &mut self,
        runtime: usize,
        name: &RuntimeName,
        workspace: &WorkspaceId,
        state: Option<AcknowledgedBundle>,
    ) -> Result<(), Violation> {
        let after = state.map(|state| state.generation);
        let before = self.acknowledged.get(&(runtime, workspace.clone())).copied();
        if let Some(before) = before.filter(|before| after.is_none_or(|after| after < *before)) {
            return Err(Violation::WentBack { runtime: name.clone(), workspace: workspace.clone(), before, after });
        }
        if let Some(after) = after {
            self.acknowledged.insert((runtime, workspace.clone()), after);
        }
        Ok(())
    }

    /// Forgets what a Runtime acknowledged, because it lost its data.
    pub fn data_lost(&mut self, runtime: usize) {
        self.acknowledged.retain(|(of, _), _| *of != runtime);
    }

    /// Forgets what a restore from a backup loses by definition.
    pub fn restored(&mut self, durable: &Durable) {
        let has = |(workspace, digest): &(WorkspaceId, Digest)| durable.has_bundle(workspace, digest);
        self.publications.retain(has);
        let generation = |workspace| Some(durable.rows.get(workspace)?.desired.target.generation);
        self.decisions = self
            .decisions
            .iter()
            .filter_map(|(workspace, before)| Some((workspace.clone(), generation(workspace)?.min(*before))))
            .collect();
    }

    /// Checks that everything is still there which the Backend acknowledged.
    pub fn durable(&self, durable: &Durable) -> Result<(), Violation> {
        for (workspace, digest) in &self.publications {
            if !durable.has_bundle(workspace, digest) {
                return Err(Violation::LostPublication { workspace: workspace.clone(), digest: *digest });
            }
        }
        for (workspace, generation) in &self.decisions {
            let row = durable.rows.get(workspace);
            if row.is_none_or(|row| row.desired.target.generation < *generation) {
                return Err(Violation::LostDecision { workspace: workspace.clone(), generation: *generation });
            }
        }
        Ok(())
    }
}

/// Returns `true` if the settings allow the workspace on the Runtime. Written without the policy of the Backend, which it
/// checks.
pub fn may_have(policy: &Policy, name: &RuntimeName, workspace: &WorkspaceId) -> bool {
    let (Some(runtime), Some(of_workspace)) = (policy.runtimes.get(name), policy.workspaces.get(workspace)) else {
        return false;
    };
    let RuntimeRules { labels: runtime_labels, rules: runtime_rules } = runtime;
    let WorkspaceRules { labels: workspace_labels, rules: workspace_rules } = of_workspace;
    if let Names::Only(names) = &runtime_rules.accepted
        && !names.contains(workspace)
    {
        return false;
    }
    if let Names::Only(names) = &workspace_rules.accepted
        && !names.contains(name)
    {
        return false;
    }
    for (key, value) in &runtime_rules.required {
        if workspace_labels.get(key) != Some(value) {
            return false;
        }
    }
    for (key, value) in &workspace_rules.required {
        if runtime_labels.get(key) != Some(value) {
            return false;
        }
    }
    true
}
