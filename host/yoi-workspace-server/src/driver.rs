//! Performs the steps of the reconciler: reads Runtimes, delivers bundles, and stores what is learned.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bundles::{Digest, RuntimeName, WorkspaceId};
use futures_util::FutureExt;
use runtime_api::desired::DesiredBundle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::delivery::deliver;
use crate::link_error::LinkError;
use crate::reconciler::{RuntimeKnowledge, Step};

/// Time between two commits of what was learned of Runtimes.
const SAVE_INTERVAL: Duration = Duration::from_secs(2);

/// Time after which the time of the newest answer of a Runtime is stored, if nothing else was learned.
const LAST_SEEN_INTERVAL: Duration = Duration::from_secs(60);

/// Newest stored knowledge of each Runtime: the time of storing, and a digest of all but the time of the newest answer.
type Saved = HashMap<RuntimeName, (Instant, Digest)>;

impl Backend {
    /// Reconciles until `stop` completes. Steps in progress are then dropped: each can be repeated.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut steps = JoinSet::new();
        let mut saved = Saved::new();
        let mut save = tokio::time::interval(SAVE_INTERVAL);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = loop {
                let now = self.0.now();
                let mut fleet = self.0.fleet();
                match fleet.reconciler.next(now) {
                    Some(step) => {
                        drop(fleet);
                        let backend = self.clone();
                        steps.spawn(async move { backend.perform(step).await });
                    }
                    None => break fleet.reconciler.next_due().map(|due| due.saturating_sub(now.elapsed)),
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = save.tick() => self.save(&mut saved).await,
                Some(_) = steps.join_next() => {}
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => {}
            }
        }
        steps.shutdown().await;
        // Otherwise their Runtimes would wait for results if the Backend runs again.
        let now = self.0.now();
        self.0.fleet().reconciler.abandon_steps(now);
        self.save(&mut saved).await;
    }

    /// Stores what was learned of Runtimes since the last time.
    async fn save(&self, saved: &mut Saved) {
        let changed = self.0.fleet().reconciler.take_changed();
        let now = Instant::now();
        let digest = |known: &RuntimeKnowledge| {
            let without_time = RuntimeKnowledge { last_seen: None, ..known.clone() };
            Digest::of(serde_json::to_vec(&without_time).unwrap_or_default())
        };
        let changed: Vec<_> = changed
            .into_iter()
            .filter(|(name, known)| {
                saved.get(name).is_none_or(|(at, before)| {
                    *before != digest(known) || now.duration_since(*at) >= LAST_SEEN_INTERVAL
                })
            })
            .collect();
        if changed.is_empty() {
            return;
        }
        match self.0.save_knowledge(&changed).await {
            Ok(()) => saved.extend(changed.iter().map(|(name, known)| (name.clone(), (now, digest(known))))),
            Err(error) => {
                tracing::warn!(target: "yoi::backend", code = error.code().as_str(), "state of Runtimes not stored")
            }
        }
    }

    /// Performs a step and reports its result.
    async fn perform(&self, step: Step) {
        match step {
            Step::ReadStatus { runtime } => {
                let link = self.link(&runtime);
                let status = guarded(async { link.ok_or(LinkError::Unreachable)?.status().await }).await;
                self.log(&runtime, None, status.as_ref().err());
                let now = self.0.now();
                self.0.fleet().reconciler.status_read(&runtime, status, now);
            }
            Step::Deliver { runtime, workspace, desired, held } => {
                let result = guarded(self.deliver_to(&runtime, &workspace, &desired, held)).await;
                self.log(&runtime, Some(&workspace), result.as_ref().err());
                let now = self.0.now();
                let mut fleet = self.0.fleet();
                fleet.reconciler.delivered(&runtime, &workspace, desired.generation, result, now);
            }
            Step::RaiseGeneration { workspace, above } => {
                if let Err(error) = self.raise_generation(&workspace, above).await {
                    let code = error.code().as_str();
                    tracing::warn!(target: "yoi::backend", %workspace, code, "generation not raised");
                }
            }
        }
        self.0.wake.notify_one();
        self.0.activity.signal();
    }

    fn link(&self, runtime: &RuntimeName) -> Option<std::sync::Arc<dyn crate::runtime_link::RuntimeLink>> {
        self.0.fleet().runtimes.get(runtime).map(|entry| entry.link.clone())
    }

    async fn deliver_to(
        &self,
        runtime: &RuntimeName,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
        held: Option<Digest>,
    ) -> Result<runtime_api::desired::AcknowledgedBundle, LinkError> {
        let link = self.link(runtime).ok_or(LinkError::Unreachable)?;
        // Another Runtime may get the name during the delivery.
        let is_allowed =
            || self.allowed_link(workspace, runtime).is_ok_and(|current| std::sync::Arc::ptr_eq(&current, &link));
        deliver(&self.0.catalogue, &*link, workspace, desired, held, is_allowed).await
    }

    fn log(&self, runtime: &RuntimeName, workspace: Option<&WorkspaceId>, error: Option<&LinkError>) {
        let Some(error) = error else { return };
        let (code, workspace) = (error.code().as_str(), workspace.map(WorkspaceId::as_str).unwrap_or_default());
        tracing::info!(target: "yoi::backend", %runtime, workspace, code, "the Runtime could not be brought up to date");
    }
}

/// Turns a panic of a step into an error, so that the reconciler gets a result for each step.
async fn guarded<T>(step: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or(Err(LinkError::Unsupported))
}
