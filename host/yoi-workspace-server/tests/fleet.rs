//! A Backend with real Runtimes: delivery, policy, refusals, rollouts, restarts and restores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use backend_api::audit::{Action, Actor};
use backend_api::body::{AdvanceRequest, Publication, SetDesiredRequest};
use backend_api::desired::Stage;
use backend_api::fleet::Condition;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;
use worker_runtime::Runtime;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RuntimeLink, SignedManifest};
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules};
use yoi_workspace_server::{Backend, LinkError};

use crate::support::{World, any, bundle, config, desire, labels, name, open_rules, publish, runtime, until};

fn in_sync(condition: &Condition) -> bool {
    *condition == Condition::InSync
}

async fn acknowledged(runtime: &Runtime, workspace: &str) -> Option<AcknowledgedBundle> {
    runtime.content(&name(workspace)).desired().await.expect("read")
}

async fn audit(backend: &Backend) -> Vec<(Action, Option<Code>)> {
    let page = backend.audit_page(0, 1000).await.expect("the audit log");
    assert!(page.items.iter().map(|entry| entry.number).eq(1..=page.items.len() as u64));
    page.items.into_iter().map(|entry| (entry.action, entry.refused)).collect()
}

#[tokio::test]
async fn desired_bundle_reaches_every_runtime_that_may_have_it() {
    let (one, two) = (runtime(config(&["acme"])).await, runtime(config(&["acme", "other"])).await);
    let only_other =
        RuntimeRules { rules: Rules { accepted: Names::Only([name("other")].into()), ..any() }, ..open_rules() };
    let world = World::new(&["acme", "other"]).await.with_embedded("one", &one);
    let world = world.with("two", only_other, Arc::new(EmbeddedRuntime::from(two.clone())));
    let backend = world.open().await;
    let digest = desire(&backend, &bundle("acme", 1, "Be kind.")).await;
    let other = desire(&backend, &bundle("other", 1, "Be brief.")).await;
    until(&backend, "one", "acme", in_sync).await;
    until(&backend, "two", "other", in_sync).await;
    assert_eq!(acknowledged(&one, "acme").await.map(|state| state.bundle), Some(digest));
    assert_eq!(acknowledged(&two, "other").await.map(|state| state.bundle), Some(other));
    // The policy does not allow `acme` on `two`, so nothing of it is there.
    until(&backend, "two", "acme", |condition| *condition == Condition::NotAllowed).await;
    assert!(two.content(&name("acme")).bundles(None, 10).await.expect("a list").is_empty());
    let decision = backend.explain(&name("two"), &name("acme")).expect("a decision");
    assert!(!decision.allowed);
    // The host's config does not name `other`, so the Runtime refuses it, and says why.
    until(&backend, "one", "other", |condition| *condition == Condition::Refused { code: Code::NoSignaturePosture })
        .await;
}

#[tokio::test]
async fn publication_without_a_change_of_meaning_makes_no_revision() {
    let backend = World::new(&["acme"]).await.open().await;
    let first = publish(&backend, &bundle("acme", 1, "Be kind.")).await;
    assert!(matches!(&first, Publication::Published { new: true, .. }));
    let Publication::Unchanged { bundle: unchanged } = publish(&backend, &bundle("acme", 2, "Be kind.")).await else {
        panic!("a new revision")
    };
    assert_eq!(unchanged.revision.get(), 1);
    assert!(matches!(
        publish(&backend, &bundle("acme", 1, "Be kind.")).await,
        Publication::Published { new: false, .. }
    ));
    assert!(matches!(
        publish(&backend, &bundle("acme", 3, "Be brief.")).await,
        Publication::Published { new: true, .. }
    ));
    // An earlier meaning is a change again.
    assert!(matches!(
        publish(&backend, &bundle("acme", 4, "Be kind.")).await,
        Publication::Published { new: true, .. }
    ));
    let revisions = backend.bundles(&name("acme")).await.expect("a list");
    assert_eq!(revisions.iter().map(|bundle| bundle.revision.get()).collect::<Vec<_>>(), [4, 3, 1]);
    assert_eq!(audit(&backend).await.len(), 3);
}

#[tokio::test]
async fn roll_back_is_a_new_decision_for_the_earlier_bundle() {
    let one = runtime(config(&["acme"])).await;
    let backend = World::new(&["acme"]).await.with_embedded("one", &one).open().await;
    let first = desire(&backend, &bundle("acme", 1, "Be kind.")).await;
    let second = desire(&backend, &bundle("acme", 2, "Be brief.")).await;
    until(&backend, "one", "acme", in_sync).await;
    assert_eq!(acknowledged(&one, "acme").await.map(|state| state.bundle), Some(second));
    let view = backend.roll_back(&Actor::Local, &name("acme")).await.expect("rolled back");
    assert_eq!(view.desired.expect("a decision").target.generation.get(), 3);
    until(&backend, "one", "acme", in_sync).await;
    assert_eq!(acknowledged(&one, "acme").await.map(|state| state.bundle), Some(first));
    let refused = backend.roll_back(&Actor::Local, &name("acme")).await.expect_err("there is no earlier one");
    assert_eq!(refused.code(), Code::NoEarlierBundle);
    let last = audit(&backend).await.pop().expect("an entry");
    assert_eq!(last, (Action::RollBack { workspace: name("acme"), bundle: None }, Some(Code::NoEarlierBundle)));
    // An older bundle needs consent.
    let third = desire(&backend, &bundle("acme", 3, "Be quick.")).await;
    assert_ne!(third, second);
    let request = SetDesiredRequest { bundle: second, allow_older: false, stage: None };
    let refused = backend.set_desired(&Actor::Local, &name("acme"), &request).await.expect_err("it is older");
    assert_eq!(refused.code(), Code::RevisionOlder);
    let request = SetDesiredRequest { allow_older: true, ..request };
    backend.set_desired(&Actor::Local, &name("acme"), &request).await.expect("allowed");
}

#[tokio::test]
async fn rollout_reaches_a_stage_first_and_halts_if_a_runtime_refuses() {
    let runtimes = [runtime(config(&["acme"])).await, runtime(config(&["acme"])).await];
    let canary = RuntimeRules { labels: labels(&[("ring", "canary")]), ..open_rules() };
    let world = World::new(&["acme"]).await.with_embedded("all", &runtimes[1]);
    let backend = world.with("canary", canary, Arc::new(EmbeddedRuntime::from(runtimes[0].clone()))).open().await;
    let first = desire(&backend, &bundle("acme", 1, "Be kind.")).await;
    until(&backend, "all", "acme", in_sync).await;
    until(&backend, "canary", "acme", in_sync).await;

    let second = bundle("acme", 2, "Be brief.");
    publish(&backend, &second).await;
    let stage = Some(Stage::Labels(labels(&[("ring", "canary")])));
    let request = SetDesiredRequest { bundle: second.digest(), allow_older: false, stage: stage.clone() };
    backend.set_desired(&Actor::Local, &name("acme"), &request).await.expect("begun");
    until(&backend, "canary", "acme", in_sync).await;
    until(&backend, "all", "acme", in_sync).await;
    assert_eq!(acknowledged(&runtimes[0], "acme").await.map(|state| state.bundle), Some(second.digest()));
    assert_eq!(acknowledged(&runtimes[1], "acme").await.map(|state| state.bundle), Some(first));
    let view = backend.advance(&Actor::Local, &name("acme"), &AdvanceRequest::default()).await.expect("moved on");
    assert_eq!(view.desired.expect("a decision").rollout, None);
    until(&backend, "all", "acme", in_sync).await;
    assert_eq!(acknowledged(&runtimes[1], "acme").await.map(|state| state.bundle), Some(second.digest()));

    // The canary no longer accepts bundles of the workspace.
    runtimes[0].management().replace_config(config(&["other"])).expect("in force");
    let third = bundle("acme", 3, "Be quick.");
    publish(&backend, &third).await;
    let request = SetDesiredRequest { bundle: third.digest(), allow_older: false, stage };
    backend.set_desired(&Actor::Local, &name("acme"), &request).await.expect("begun");
    until(&backend, "canary", "acme", |condition| matches!(condition, Condition::Refused { .. })).await;
    let refused = backend.advance(&Actor::Local, &name("acme"), &AdvanceRequest::default()).await.expect_err("halted");
    assert_eq!(refused.code(), Code::RolloutHalted);
    assert!(backend.workspace(&name("acme")).await.expect("a workspace").halted);
    let despite = AdvanceRequest { stage: None, despite_refusals: true };
    backend.advance(&Actor::Local, &name("acme"), &despite).await.expect("moved on");
    until(&backend, "all", "acme", in_sync).await;
    assert_eq!(acknowledged(&runtimes[1], "acme").await.map(|state| state.bundle), Some(third.digest()));
}

#[tokio::test]
async fn workspace_that_a_config_left_out_for_a_while_keeps_its_desired_bundle() {
    let one = runtime(config(&["acme"])).await;
    let world = World::new(&["acme"]).await.with_embedded("one", &one);
    let backend = world.open().await;
    desire(&backend, &bundle("acme", 1, "Be kind.")).await;
    until(&backend, "one", "acme", in_sync).await;
    backend.replace_workspaces(config(&[]), Default::default()).await.expect("in force");
    let gone = backend.roll_back(&Actor::Local, &name("acme")).await.expect_err("no workspace");
    assert_eq!(gone.code(), Code::WorkspaceNotFound);
    backend.replace_workspaces(config(&["acme"]), world.workspaces.clone()).await.expect("in force");
    until(&backend, "one", "acme", in_sync).await;
    let second = desire(&backend, &bundle("acme", 2, "Be brief.")).await;
    until(&backend, "one", "acme", in_sync).await;
    assert_eq!(acknowledged(&one, "acme").await.map(|state| state.bundle), Some(second));
}

#[tokio::test]
async fn restored_backend_goes_on_above_the_acknowledged_generation() {
    let one = runtime(config(&["acme"])).await;
    let world = World::new(&["acme"]).await.with_embedded("one", &one);
    let backend = world.open().await;
    for revision in 1..=3 {
        desire(&backend, &bundle("acme", revision, &format!("Rule {revision}."))).await;
    }
    until(&backend, "one", "acme", in_sync).await;
    assert_eq!(acknowledged(&one, "acme").await.map(|state| state.generation.get()), Some(3));

    // A Backend that knows only the first decision.
    let restored = World { catalogue: runtime(config(&["acme"])).await, ..World::new(&["acme"]).await };
    let restored = restored.with_embedded("one", &one).open().await;
    let first = desire(&restored, &bundle("acme", 1, "Rule 1.")).await;
    until(&restored, "one", "acme", in_sync).await;
    let state = acknowledged(&one, "acme").await.expect("a decision");
    assert_eq!((state.bundle, state.generation.get()), (first, 4));
    assert!(audit(&restored).await.iter().any(|(action, _)| matches!(action, Action::RaiseGeneration { .. })));
}

/// A Runtime that can be silent.
#[derive(Debug)]
pub struct Switched {
    pub link: EmbeddedRuntime,
    pub silent: AtomicBool,
}

impl Switched {
    fn link(&self) -> Result<&EmbeddedRuntime, LinkError> {
        if self.silent.load(Ordering::SeqCst) { Err(LinkError::Unreachable) } else { Ok(&self.link) }
    }
}

#[async_trait]
impl RuntimeLink for Switched {
    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        self.link()?.status().await
    }

    async fn facts(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Facts, LinkError> {
        self.link()?.facts(workspace, digest).await
    }

    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<std::collections::BTreeSet<Digest>>, LinkError> {
        self.link()?.put_manifest(workspace, manifest).await
    }

    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError> {
        self.link()?.has_blob(workspace, digest).await
    }

    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError> {
        self.link()?.put_blob(workspace, digest, content).await
    }

    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        self.link()?.set_desired(workspace, desired).await
    }
}

#[tokio::test]
async fn silent_runtime_delays_no_other_and_catches_up() {
    let (one, two) = (runtime(config(&["acme"])).await, runtime(config(&["acme"])).await);
    let switched = Arc::new(Switched { link: one.clone().into(), silent: true.into() });
    let world = World::new(&["acme"]).await.with_embedded("two", &two);
    let world = world.with("one", open_rules(), switched.clone());
    let backend = world.open().await;
    let digest = desire(&backend, &bundle("acme", 1, "Be kind.")).await;
    until(&backend, "two", "acme", in_sync).await;
    until(&backend, "one", "acme", |condition| matches!(condition, Condition::Unavailable(_))).await;
    assert_eq!(acknowledged(&one, "acme").await, None);

    // What is known of the Runtimes outlives a restart.
    let restarted = world.open().await;
    let view = restarted.runtime(&name("one"), &[name("acme")].into()).expect("a Runtime");
    assert!(view.failure.is_some() && view.last_seen.is_none());
    assert!(restarted.runtime(&name("two"), &[].into()).expect("a Runtime").report.is_some());
    switched.silent.store(false, Ordering::SeqCst);
    until(&restarted, "one", "acme", in_sync).await;
    assert_eq!(acknowledged(&one, "acme").await.map(|state| state.bundle), Some(digest));
}

#[tokio::test]
async fn runtime_that_lost_its_data_gets_everything_again() {
    let one = runtime(config(&["acme"])).await;
    let world = World::new(&["acme"]).await.with_embedded("one", &one);
    let backend = world.open().await;
    let digest = desire(&backend, &bundle("acme", 1, "Be kind.")).await;
    until(&backend, "one", "acme", in_sync).await;
    // The same name, with an empty Runtime behind it.
    let empty = runtime(config(&["acme"])).await;
    let world = World { runtimes: Default::default(), ..world }.with_embedded("one", &empty);
    let backend = world.open().await;
    until(&backend, "one", "acme", |condition| *condition == Condition::Pending).await;
    until(&backend, "one", "acme", in_sync).await;
    assert_eq!(acknowledged(&empty, "acme").await.map(|state| state.bundle), Some(digest));
}
