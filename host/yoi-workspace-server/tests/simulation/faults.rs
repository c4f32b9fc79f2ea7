//! Events of a simulation: messages, faults, and the work of operators and authors.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use backend_api::desired::Stage;
use bundles::WorkspaceId;
use jiff::SignedDuration;
use yoi_workspace_server::desired::DesiredRow;

use super::bundle_pool::{PublishedBundle, bundle};
use super::network::{Reply, Request, RequestId};
use super::scenario::{runtime_rules, stage, workspace_rules};
use super::world::{Mistake, World};

/// Data that a restart of a Runtime loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLoss {
    Nothing,
    /// The data is that of an earlier time.
    SinceBackup,
    Everything,
}

/// Something that happens at a time.
#[derive(Debug, Clone)]
pub enum Event {
    /// A request arrives at a Runtime.
    Arrival {
        id: RequestId,
        runtime: usize,
        request: Rc<Request>,
    },
    /// A response arrives at the Backend.
    Reply {
        id: RequestId,
        reply: Reply,
    },
    /// The Backend stops waiting for a response.
    Timeout {
        id: RequestId,
    },
    /// A step of the reconciler is due.
    Wake,
    /// The Backend stores what it learned of Runtimes.
    Save,
    /// The faults end.
    Healed,
    /// The simulation looks whether the Runtimes have what they should have.
    Look,

    /// Messages to or from a Runtime are lost for a time.
    Partition {
        runtime: usize,
        requests: bool,
        responses: bool,
        length: Duration,
    },
    PartitionEnds {
        runtime: usize,
        requests: bool,
        responses: bool,
    },
    /// A Runtime stops, and starts again after a time.
    StopRuntime {
        runtime: usize,
        loss: DataLoss,
        length: Duration,
    },
    StartRuntime {
        runtime: usize,
    },
    /// The data of a Runtime is copied, for a later [`DataLoss::SinceBackup`].
    BackUpRuntime {
        runtime: usize,
    },
    /// The Backend stops, and starts again after a time.
    StopBackend {
        length: Duration,
    },
    StartBackend,
    /// The data of the Backend is copied.
    BackUpBackend,
    /// The Backend stops, and starts again with the copied data.
    RestoreBackend {
        length: Duration,
    },
    /// The time of day jumps.
    ClockJump {
        seconds: i64,
    },
    /// The rules of a workspace change.
    ChangeWorkspaceRules {
        workspace: WorkspaceId,
    },
    /// The rules of a Runtime change.
    ChangeRuntimeRules {
        runtime: usize,
    },
    /// A Runtime is removed from the config of the Backend, and added again after a time.
    RemoveRuntime {
        runtime: usize,
        length: Duration,
    },
    AddRuntime {
        runtime: usize,
    },

    /// An author publishes the next revision, and it becomes the desired one, for all Runtimes or a stage of them.
    Publish {
        workspace: WorkspaceId,
        is_staged: bool,
    },
    /// Like `Publish`, for a given bundle and all Runtimes.
    PublishBundle {
        workspace: WorkspaceId,
        bundle: Arc<PublishedBundle>,
    },
    /// An operator makes an earlier bundle the desired one.
    RollBack {
        workspace: WorkspaceId,
    },
    /// An operator moves a rollout on to another stage.
    MoveRollout {
        workspace: WorkspaceId,
    },
    /// An operator moves a rollout on to all Runtimes, despite refusals.
    FinishRollout {
        workspace: WorkspaceId,
    },
}

impl World {
    /// Lets a fault or the work of a person happen.
    pub(super) fn disturb(&mut self, event: Event) {
        self.trace(format_args!("{event:?}"));
        match event {
            Event::Partition { runtime, requests, responses, length } => {
                self.reach[runtime].no_requests += u32::from(requests);
                self.reach[runtime].no_responses += u32::from(responses);
                self.after(length, Event::PartitionEnds { runtime, requests, responses });
            }
            Event::PartitionEnds { runtime, requests, responses } => {
                self.reach[runtime].no_requests -= u32::from(requests);
                self.reach[runtime].no_responses -= u32::from(responses);
            }
            Event::StopRuntime { runtime, loss, length } => {
                self.reach[runtime].down += 1;
                self.lose_data(runtime, loss);
                if self.mistake == Some(Mistake::AcknowledgementIsForgotten) {
                    self.nodes[runtime].forget_acknowledgements();
                }
                self.after(length, Event::StartRuntime { runtime });
            }
            Event::StartRuntime { runtime } => self.reach[runtime].down -= 1,
            Event::BackUpRuntime { runtime } => {
                self.node_backups.insert(runtime, self.nodes[runtime].data.clone());
            }
            Event::StopBackend { length } => {
                self.stop_backend();
                self.after(length, Event::StartBackend);
            }
            Event::StartBackend => self.end_backend_stop(),
            Event::BackUpBackend => self.backup = Some(self.durable.get().clone()),
            Event::RestoreBackend { length } => {
                self.stop_backend();
                if let Some(backup) = self.backup.clone() {
                    *self.durable.get() = backup;
                    self.checks.restored(&self.durable.get());
                }
                self.after(length, Event::StartBackend);
            }
            Event::ClockJump { seconds } => self.jump += SignedDuration::from_secs(seconds),
            Event::ChangeWorkspaceRules { workspace } => {
                let rules = workspace_rules(&mut self.random, &self.names);
                self.policy.get().workspaces.insert(workspace.clone(), rules);
                self.policy_changed(Some(&workspace), None);
            }
            Event::ChangeRuntimeRules { runtime } => {
                let rules = runtime_rules(&mut self.random, &self.workspaces);
                let name = self.names[runtime].clone();
                // A removed Runtime stays removed.
                let is_there = self.policy.get().runtimes.get_mut(&name).map(|of| *of = rules).is_some();
                if is_there {
                    self.policy_changed(None, Some(&name));
                }
            }
            Event::RemoveRuntime { runtime, length } => {
                let name = self.names[runtime].clone();
                self.policy.get().runtimes.remove(&name);
                self.policy_changed(None, Some(&name));
                self.after(length, Event::AddRuntime { runtime });
            }
            Event::AddRuntime { runtime } => {
                let rules = runtime_rules(&mut self.random, &self.workspaces);
                let name = self.names[runtime].clone();
                self.policy.get().runtimes.insert(name.clone(), rules);
                self.policy_changed(None, Some(&name));
            }
            // People try again later if the Backend does not run.
            work if !self.is_running() => {
                self.after(Duration::from_secs(5), work);
            }
            Event::Publish { workspace, is_staged } => {
                let stage = is_staged.then(|| stage(&mut self.random));
                let revision = self.revisions.entry(workspace.clone()).or_default();
                let next = bundle(&workspace, *revision);
                *revision += 1;
                self.publish(&workspace, &next, stage);
            }
            Event::PublishBundle { workspace, bundle } => self.publish(&workspace, &bundle, None),
            Event::RollBack { workspace } => {
                let row = self.durable.get().rows.get(&workspace).cloned();
                if let Some(row) = row.and_then(|row| row.roll_back(0)) {
                    self.store_row(&workspace, row);
                }
            }
            Event::MoveRollout { workspace } => {
                let stage = stage(&mut self.random);
                let is_halted = self.is_halted(&workspace);
                let row = self.durable.get().rows.get(&workspace).cloned().filter(|_| !is_halted);
                if let Some(row) = row.and_then(|row| row.advance(Some(stage), Default::default())) {
                    self.store_row(&workspace, row);
                }
            }
            Event::FinishRollout { workspace } => {
                let row = self.durable.get().rows.get(&workspace).cloned();
                if let Some(row) = row.and_then(|row| row.advance(None, Default::default())) {
                    self.store_row(&workspace, row);
                }
            }
            Event::Arrival { .. }
            | Event::Reply { .. }
            | Event::Timeout { .. }
            | Event::Wake
            | Event::Save
            | Event::Healed
            | Event::Look => {}
        }
    }

    /// Publishes a bundle and makes it the desired one.
    fn publish(&mut self, workspace: &WorkspaceId, bundle: &Arc<PublishedBundle>, stage: Option<Stage>) {
        let digest = bundle.manifest.digest;
        self.checks.publications.insert((workspace.clone(), digest));
        let is_lost = self.mistake == Some(Mistake::PublicationIsLost) && self.random.u8(..) < 32;
        if !is_lost {
            self.durable.get().bundles.entry(workspace.clone()).or_default().insert(digest, bundle.clone());
        }
        let before = self.durable.get().rows.get(workspace).cloned();
        if let Some(row) = DesiredRow::decide(before, digest, false, stage) {
            self.store_row(workspace, row);
        }
    }
}
