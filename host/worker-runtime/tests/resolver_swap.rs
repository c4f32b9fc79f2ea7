//! Swapping a resolver: the changes are known before the swap, must be accepted, and are watched afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bundles::{Bundle, Digest};
use host_policy::ChangeEffect;
use runtime_api::Code;
use runtime_api::comparison::{ActivateRequest, CaseResult, Comparison, ComparisonState, Objection};
use worker_runtime::event::EventKind;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{Management, ResolverError, Runtime, RuntimeLimits, WorkerError, shipped};

use crate::support::faulty::{Fault, Faulty};
use crate::support::{CONFIG, World, acme, bundle_of, hostile, id, name, put};

/// Time in which a background task must end. It takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// A bundle with the profiles `p00` to `p11`, each of which wants a secret and drops the wish again.
fn twelve() -> Bundle {
    twelve_of_revision(1)
}

fn twelve_of_revision(revision: u64) -> Bundle {
    let profile = "instructions = [\"hello\"]\nwants = [\"secret:token\"]\n[[layer]]\ndrops = [\"secret:token\"]\n";
    let names: Vec<String> = (0..12).map(|number| format!("profiles/p{number:02}.toml")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), profile)).collect();
    bundle_of("acme", revision, &files)
}

fn shipped_digest() -> Digest {
    Digest::of(shipped::RESOLVER)
}

fn request(bundle: Digest, number: usize) -> CreateWorkerRequest {
    CreateWorkerRequest::of_bundle(name(&format!("p{:02}", number % 12)), bundle)
}

async fn admit(management: &Management, component: Vec<u8>) -> Digest {
    let digest = Digest::of(&component);
    management.admit_resolver(digest, component.into()).await.expect("admitted");
    digest
}

/// Compares the active resolver with another one, and waits for the end.
async fn end_of_comparison(management: &Management, after: Digest) -> ComparisonState {
    let mut status = management.compare_resolver(after).await.expect("begun");
    let ended = async {
        loop {
            match status.state {
                ComparisonState::Running { done, total } => assert!(done <= total),
                state => return state,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            status = management.comparison(after).await.expect("a comparison");
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("an end in time")
}

/// Compares the active resolver with another one, and returns the result.
async fn compared(management: &Management, after: Digest) -> (Comparison, Vec<Objection>) {
    match end_of_comparison(management, after).await {
        ComparisonState::Finished { comparison, objections } => (*comparison, objections.into_iter().collect()),
        state => panic!("{state:?}"),
    }
}

async fn active(management: &Management) -> Digest {
    management.summary().await.expect("a summary").active_resolver
}

/// Returns the changes in words.
fn changes(comparison: &Comparison) -> Vec<String> {
    let word = |change: &host_policy::ResolutionChange| {
        format!("{} {} {}", change.effect.as_str(), change.profile, change.field)
    };
    comparison.changes.iter().map(word).collect()
}

/// A Runtime with the bundle and a worker of each profile.
async fn scene(limits: RuntimeLimits) -> (World, Runtime, Digest) {
    let world = World { limits: RuntimeLimits { shadow_percent: 100, ..limits }, ..World::default() };
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &twelve()).await;
    for number in 0..12 {
        let created = runtime.catalogue(&acme()).create(id(&format!("w{number}")), request(bundle, number)).await;
        assert_eq!(created.expect("created").worker.resolver, shipped_digest());
    }
    (world, runtime, bundle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growth_is_refused_accepted_by_digest_watched_and_rolled_back() {
    let limits = RuntimeLimits { running_calls: 8, queued_calls: 1000, ..RuntimeLimits::default() };
    let (_, runtime, bundle) = scene(limits).await;
    let management = runtime.management();
    let candidate = admit(&management, hostile::ignores_drops(Some(7), Some(3))).await;

    // Workers are created during everything that follows.
    let (stop, created) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = {
        let (catalogue, stop, created) = (runtime.catalogue(&acme()), stop.clone(), created.clone());
        tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Acquire) {
                let worker = id(&format!("load-{number}"));
                catalogue.create(worker, request(bundle, number)).await.expect("created during the swap");
                number += 1;
                created.fetch_add(1, Ordering::AcqRel);
            }
        })
    };
    let progressed = async || {
        let before = created.load(Ordering::Acquire);
        let waited = async {
            while created.load(Ordering::Acquire) < before + 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, waited).await.expect("workers are created");
    };
    progressed().await;

    // Refusal without a comparison, and the exact change.
    let refused = management.activate_resolver(candidate, ActivateRequest::default()).await;
    assert!(matches!(refused, Err(ResolverError::ComparisonRequired)), "{refused:?}");
    let (comparison, objections) = compared(&management, candidate).await;
    assert_eq!(changes(&comparison), ["grew p07 /granted/secret:token", "grew p07 /wishes/secret:token"]);
    assert_eq!((comparison.cases.same, comparison.cases.different), (11, 1), "{comparison:?}");
    let [case] = &*comparison.changed_cases else { panic!("{comparison:?}") };
    assert_eq!((case.profile.as_str(), case.result), ("p07", CaseResult::Different));
    assert!(case.cost.fuel_before > 0 && case.cost.fuel_before < comparison.cost.fuel_before, "{case:?}");
    // The candidate of this test looks nothing up, so it costs less.
    assert!(comparison.cost.fuel_after > 0 && comparison.cost.percent() <= 150, "{comparison:?}");
    assert_eq!(objections, [Objection::AuthorityGrew]);

    // Refusal of the growth and of another set of changes, and acceptance of exactly this one.
    for accept in [None, Some(Digest::of("another set"))] {
        let refused = management.activate_resolver(candidate, ActivateRequest { accept, unchecked: false }).await;
        let Err(ResolverError::NotAccepted { change_set, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(*change_set, comparison.change_set);
    }
    assert_eq!(active(&management).await, shipped_digest());
    let accept = ActivateRequest { accept: Some(comparison.change_set), unchecked: false };
    management.activate_resolver(candidate, accept).await.expect("activated");
    progressed().await;

    // Accepted changes do not end the swap.
    let grown = runtime.catalogue(&acme()).create(id("grown"), request(bundle, 7)).await.expect("created");
    assert_eq!(grown.worker.resolver, candidate);
    progressed().await;
    assert_eq!(active(&management).await, candidate);

    // A change that no record showed does.
    let capable = CreateWorkerRequest { required_capabilities: vec![name("tool:echo")], ..request(bundle, 3) };
    let diverged = async {
        for number in 0.. {
            if active(&management).await == shipped_digest() {
                return;
            }
            let worker = id(&format!("capable-{number}"));
            runtime.catalogue(&acme()).create(worker, capable.clone()).await.expect("created");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, diverged).await.expect("the previous resolver is active again");
    // The comparison was wrong about the candidate, so its acceptance is void.
    let refused = management.activate_resolver(candidate, accept).await;
    assert!(matches!(refused, Err(ResolverError::ComparisonRequired)), "{refused:?}");
    stop.store(true, Ordering::Release);
    load.await.expect("no creation failed");

    let events = management.events_page(0, 100).await.expect("events");
    let kinds: Vec<EventKind> = events.items.into_iter().map(|event| event.kind).collect();
    let shipped = shipped_digest();
    assert_eq!(
        kinds,
        [
            EventKind::ResolverAdmitted { resolver: candidate },
            EventKind::ResolverActivated {
                resolver: candidate,
                previous: shipped,
                change_set: Some(comparison.change_set)
            },
            EventKind::ResolverDiverged {
                resolver: candidate,
                profile: name("p03"),
                field: "/wishes/secret:token".to_owned()
            },
            EventKind::ResolverRolledBack { resolver: shipped, previous: candidate },
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_of_an_activation_survives_a_restart() {
    let (world, runtime, bundle) = scene(RuntimeLimits::default()).await;
    let candidate = admit(&runtime.management(), hostile::ignores_drops(None, Some(3))).await;
    let (comparison, objections) = compared(&runtime.management(), candidate).await;
    assert_eq!((changes(&comparison), objections), (Vec::new(), Vec::new()));
    // Nothing speaks against the candidate, so nothing has to be accepted.
    runtime.management().activate_resolver(candidate, ActivateRequest::default()).await.expect("activated");
    drop(runtime);
    let runtime = world.open().await;
    assert_eq!(active(&runtime.management()).await, candidate);
    let capable = CreateWorkerRequest { required_capabilities: vec![name("tool:echo")], ..request(bundle, 3) };
    runtime.catalogue(&acme()).create(id("capable"), capable).await.expect("created");
    let rolled_back = async {
        while active(&runtime.management()).await != shipped_digest() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, rolled_back).await.expect("the previous resolver is active again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidate_that_newly_fails_or_costs_too_much_is_refused() {
    let limits = RuntimeLimits { comparison_cost_percent: 1, ..RuntimeLimits::default() };
    let (_, runtime, _) = scene(limits).await;
    let management = runtime.management();
    let trap = hostile::all().into_iter().find(|one| one.name == "drop_handle_twice").expect("a resolver that traps");
    let candidate = admit(&management, trap.bytes).await;
    let (comparison, objections) = compared(&management, candidate).await;
    assert_eq!(comparison.cases.newly_failing, 12, "{comparison:?}");
    assert_eq!(comparison.changed_cases.len(), 12);
    assert!(comparison.changed_cases.iter().all(|case| case.result == CaseResult::NewlyFailing));
    assert!(comparison.changes.iter().all(|change| change.effect == ChangeEffect::NewlyFails));
    assert_eq!(objections, [Objection::NewFailures, Objection::Cost]);
    let refused = management.activate_resolver(candidate, ActivateRequest::default()).await;
    assert!(matches!(refused, Err(ResolverError::NotAccepted { .. })), "{refused:?}");
}

#[tokio::test]
async fn comparison_is_needed_for_this_pair_and_for_a_day() {
    let (world, runtime, _) = scene(RuntimeLimits::default()).await;
    let management = runtime.management();
    let [one, two] = [None, Some(1)].map(|capable| hostile::ignores_drops(None, capable));
    let (one, two) = (admit(&management, one).await, admit(&management, two).await);
    compared(&management, one).await;
    compared(&management, two).await;
    management.activate_resolver(one, ActivateRequest::default()).await.expect("activated");
    // The comparison is one with another resolver than the active one.
    let refused = management.activate_resolver(two, ActivateRequest::default()).await;
    assert!(matches!(refused, Err(ResolverError::ComparisonRequired)), "{refused:?}");
    compared(&management, two).await;
    world.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    let refused = management.activate_resolver(two, ActivateRequest::default()).await;
    assert!(matches!(refused, Err(ResolverError::ComparisonRequired)), "{refused:?}");
    management.activate_resolver(two, ActivateRequest::UNCHECKED).await.expect("activated");
    let unknown = management.comparison(Digest::of("unknown")).await;
    assert!(matches!(unknown, Err(ResolverError::ComparisonNotFound(_))), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_a_bounded_sample_without_duplicates_and_with_failures() {
    let limits = RuntimeLimits { resolution_records: 5, ..RuntimeLimits::default() };
    let (world, runtime, bundle) = scene(limits).await;
    let recorded = async || worker_runtime::recorded_resolutions(world.metadata.clone()).await.expect("records");
    let sample = recorded().await;
    assert_eq!(sample.len(), 5);
    // The same inputs again, and a failure.
    for number in 0..12 {
        runtime
            .catalogue(&acme())
            .create(id(&format!("again-{number}")), request(bundle, number))
            .await
            .expect("created");
    }
    assert_eq!(recorded().await, sample);
    let absent = CreateWorkerRequest::of_bundle(name("absent"), bundle);
    let failed = runtime.catalogue(&acme()).create(id("absent"), absent).await;
    assert!(matches!(failed, Err(WorkerError::Resolve(_))), "{failed:?}");
    assert_eq!(recorded().await.len(), 6);

    // Another revision of the bundle takes the place of the earlier one, and of no other request.
    let next = twelve_of_revision(2);
    put(&runtime.content(&acme()), &next).await;
    for number in 0..12 {
        let created =
            runtime.catalogue(&acme()).create(id(&format!("next-{number}")), request(next.digest(), number)).await;
        created.expect("created");
    }
    let newer = recorded().await;
    assert_eq!(newer.len(), 6);
    assert!(sample.iter().all(|record| !newer.contains(record)));

    // A sample does not depend on the order of the requests.
    let other =
        World { limits: RuntimeLimits { resolution_records: 5, ..RuntimeLimits::default() }, ..World::default() };
    let reversed = other.open().await;
    put(&reversed.content(&acme()), &twelve()).await;
    for number in (0..12).rev() {
        let created = reversed.catalogue(&acme()).create(id(&format!("w{number}")), request(bundle, number)).await;
        created.expect("created");
    }
    assert_eq!(worker_runtime::recorded_resolutions(other.metadata.clone()).await.expect("records"), sample);

    // Workers and their records go; records of the sample stay.
    for number in 0..12 {
        for kind in ["w", "again-", "next-"] {
            let worker = format!("{kind}{number}");
            runtime.catalogue(&acme()).stop(&id(&worker)).await.expect("stopped");
            runtime.catalogue(&acme()).remove(&id(&worker)).await.expect("removed");
        }
    }
    world.clock.advance(Duration::from_secs(48 * 60 * 60));
    runtime.management().collect_garbage().await.expect("collected");
    let candidate = admit(&runtime.management(), hostile::ignores_drops(None, None)).await;
    let (comparison, _) = compared(&runtime.management(), candidate).await;
    assert_eq!((comparison.cases.compared(), comparison.cases.skipped), (6, 0), "{comparison:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolver_compared_with_itself_repeats_its_records() {
    let (_, runtime, _) = scene(RuntimeLimits::default()).await;
    let management = runtime.management();
    let (comparison, objections) = compared(&management, shipped_digest()).await;
    assert_eq!((comparison.cases.same, comparison.cost.percent()), (12, 100), "{comparison:?}");
    assert_eq!(objections, []);
    let cancelled = management.cancel_comparison(shipped_digest()).await.expect("not running");
    assert!(matches!(cancelled.state, ComparisonState::Finished { .. }), "{cancelled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolver_that_was_not_compared_is_never_returned_to() {
    let (world, runtime, bundle) = scene(RuntimeLimits::default()).await;
    let management = runtime.management();
    let one = admit(&management, hostile::ignores_drops(None, None)).await;
    let two = admit(&management, hostile::ignores_drops(None, Some(3))).await;
    for candidate in [one, two] {
        compared(&management, candidate).await;
        management.activate_resolver(candidate, ActivateRequest::default()).await.expect("activated");
    }
    // The shipped resolver comes before the revoked one, and was compared with the revoked one only.
    management.revoke_resolver(one).await.expect("revoked");
    drop((management, runtime));
    let runtime = world.open().await;
    let capable = CreateWorkerRequest { required_capabilities: vec![name("tool:echo")], ..request(bundle, 3) };
    for number in 0..20 {
        runtime.catalogue(&acme()).create(id(&format!("capable-{number}")), capable.clone()).await.expect("created");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(active(&runtime.management()).await, two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn difference_after_an_activation_is_in_the_next_comparison() {
    let (_, runtime, bundle) = scene(RuntimeLimits::default()).await;
    let (management, catalogue) = (runtime.management(), runtime.catalogue(&acme()));
    let candidate = admit(&management, hostile::ignores_drops(None, Some(3))).await;
    let (comparison, _) = compared(&management, candidate).await;
    assert_eq!(changes(&comparison), Vec::<String>::new());
    management.activate_resolver(candidate, ActivateRequest::default()).await.expect("activated");

    // A request that names the resolver does not depend on the swap.
    let capable = CreateWorkerRequest { required_capabilities: vec![name("tool:echo")], ..request(bundle, 3) };
    let named = CreateWorkerRequest { resolver: Some(candidate), ..capable.clone() };
    for _ in 0..20 {
        catalogue.resolve(&named).await.expect("resolved");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(active(&management).await, candidate);

    // No worker is created, so only the repeated resolution can record the difference.
    let rolled_back = async {
        while active(&management).await != shipped_digest() {
            catalogue.resolve(&capable).await.expect("resolved");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while catalogue.failed_resolutions().await.expect("a list").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, rolled_back).await.expect("the previous resolver is active again");
    let (comparison, objections) = compared(&management, candidate).await;
    assert_eq!(changes(&comparison), ["grew p03 /granted/secret:token", "grew p03 /wishes/secret:token"]);
    assert_eq!(objections, [Objection::AuthorityGrew]);
    let recorded = catalogue.failed_resolutions().await.expect("a list");
    assert_eq!(recorded.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["changes_not_accepted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pinned_workspace_that_no_comparison_covers_causes_no_rollback() {
    let (world, runtime, bundle) = scene(RuntimeLimits::default()).await;
    let candidate = admit(&runtime.management(), hostile::ignores_drops(None, Some(3))).await;
    compared(&runtime.management(), candidate).await;
    runtime.management().activate_resolver(candidate, ActivateRequest::default()).await.expect("activated");
    drop(runtime);
    let pinned = CONFIG.replace("[workspaces.acme]", &format!("[workspaces.acme]\nresolver = \"{candidate}\""));
    assert_ne!(pinned, CONFIG);
    let runtime = World { config: pinned, ..world }.open().await;
    let capable = CreateWorkerRequest { required_capabilities: vec![name("tool:echo")], ..request(bundle, 3) };
    for number in 0..20 {
        runtime.catalogue(&acme()).create(id(&format!("capable-{number}")), capable.clone()).await.expect("created");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(active(&runtime.management()).await, candidate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolution_of_a_denied_worker_is_compared_too() {
    let (_, runtime, _) = scene(RuntimeLimits::default()).await;
    let catalogue = runtime.catalogue(&acme());
    let profile = "instructions = [\"hello\"]\nrequires = [\"secret:absent\"]\n";
    let bundle = put(&runtime.content(&acme()), &bundle_of("acme", 2, &[("profiles/p00.toml", profile)])).await;
    for attempt in ["one", "two"] {
        let denied = catalogue.create(id(attempt), request(bundle, 0)).await;
        assert!(matches!(denied, Err(WorkerError::Denied(_))), "{denied:?}");
    }
    let recorded = catalogue.failed_resolutions().await.expect("a list");
    assert_eq!(recorded.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["denied"]);
    let candidate = admit(&runtime.management(), hostile::ignores_drops(None, None)).await;
    let (comparison, _) = compared(&runtime.management(), candidate).await;
    // The candidate of this test does not know the required secret.
    assert_eq!((comparison.cases.same, comparison.cases.newly_failing), (12, 1), "{comparison:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparison_that_cannot_read_a_record_fails() {
    let world = World::default();
    let blobs = Arc::new(Faulty::new(world.blobs.clone()));
    let runtime = World { blobs: blobs.clone(), ..world }.open().await;
    let bundle = put(&runtime.content(&acme()), &twelve()).await;
    runtime.catalogue(&acme()).create(id("w"), request(bundle, 0)).await.expect("created");
    let management = runtime.management();
    let candidate = admit(&management, hostile::ignores_drops(None, None)).await;
    blobs.fails(Fault::Unavailable);
    let state = end_of_comparison(&management, candidate).await;
    assert_eq!(state, ComparisonState::Failed { code: Code::StoreUnavailable });
    blobs.fails(None);
    assert_eq!(compared(&management, candidate).await.0.cases.same, 1);
}
