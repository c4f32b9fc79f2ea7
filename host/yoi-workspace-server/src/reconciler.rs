//! Compares the desired state with what the Runtimes acknowledged, and decides what to do next.
//!
//! The reconciler has no clock, no network and no tasks. Its caller asks for the next [`Step`], performs it, and reports the
//! result. The same inputs in the same order give the same steps, so a simulation can run the real reconciler.
//!
//! Each Runtime has at most one step at a time, and times of its own for retries, so that a Runtime which refuses or does not
//! answer delays no other one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backend_api::desired::Desired;
use backend_api::fleet::{Condition, ContactFailure, PairView, Refusal};
use bundles::{Digest, RuntimeName, WorkspaceId};
use jiff::Timestamp;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle, Generation};
use runtime_api::runtime::RuntimeStatus;
use serde::{Deserialize, Serialize};

use crate::desired::for_runtime;
use crate::link_error::LinkError;
use crate::visibility::{RuntimeRules, WorkspaceRules, is_allowed};

/// Intervals and limits of a reconciler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcilerLimits {
    /// Time between two reads of the status of a Runtime. Varied by up to a quarter, so that reads spread out.
    pub status_interval: Duration,
    /// Time before the first retry. Doubled for each further failure, and varied by up to a half.
    pub min_retry: Duration,
    /// Maximum time before a retry.
    pub max_retry: Duration,
    /// Maximum number of steps at the same time for Runtimes that answer.
    pub max_steps: usize,
    /// Maximum number of steps at the same time for Runtimes that did not answer last time. They have places of their own,
    /// so that many silent Runtimes do not delay the others.
    pub max_steps_to_silent: usize,
    /// Time after which a step is slow and gives up its place. A Runtime that has just become silent would otherwise keep a
    /// place until its timeout, which is 10 minutes for a transfer.
    pub slow_after: Duration,
    /// Maximum number of slow steps at the same time. Further ones keep their places.
    pub max_slow_steps: usize,
}

impl Default for ReconcilerLimits {
    fn default() -> Self {
        Self {
            status_interval: Duration::from_secs(15),
            min_retry: Duration::from_secs(1),
            max_retry: Duration::from_secs(300),
            max_steps: 32,
            max_steps_to_silent: 16,
            slow_after: Duration::from_secs(2),
            max_slow_steps: 512,
        }
    }
}

/// Maximum length of a text that a Runtime reports about itself.
const MAX_REPORTED_CHARS: usize = 64;

/// Maximum number of worlds that are known of a Runtime.
const MAX_WORLDS: usize = 32;

/// Maximum number by which a Runtime can raise the generation of a workspace at once above those of the Backend and of most
/// Runtimes. A restored Backend is behind by the decisions since its backup. A larger difference is not plausible, and following
/// it at once would let one Runtime use up the numbers.
const MAX_GENERATION_RAISE: u64 = 1 << 20;

/// Maximum generation that is followed because most Runtimes have it: half of the numbers, so that they cannot be used up.
const MAX_COMMON_GENERATION: u64 = 1 << 52;

/// The present, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the reconciler was created. It never goes back.
    pub elapsed: Duration,
    /// Time of day, for people. It can jump.
    pub time: Timestamp,
}

/// An operation that the caller performs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the status of the Runtime, and report it with [`Reconciler::status_read`].
    ReadStatus {
        /// The Runtime.
        runtime: RuntimeName,
    },
    /// Bring the bundle to the Runtime, set its desired state, and report the result with [`Reconciler::delivered`].
    Deliver {
        /// The Runtime.
        runtime: RuntimeName,
        /// The workspace.
        workspace: WorkspaceId,
        /// The decision.
        desired: DesiredBundle,
        /// Bundle that the Runtime acknowledged before.
        held: Option<Digest>,
    },
    /// Store the desired state of the workspace with a generation above this one, and call [`Reconciler::set_desired`]. A
    /// Runtime acknowledged a decision that this Backend does not know: it was restored from a backup.
    RaiseGeneration {
        /// The workspace.
        workspace: WorkspaceId,
        /// Highest generation that a Runtime acknowledged.
        above: Generation,
    },
}

/// Knowledge about a Runtime. It outlives a restart of the Backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeKnowledge {
    /// The newest status.
    pub status: Option<RuntimeStatus>,
    /// Time of the newest answer.
    pub last_seen: Option<Timestamp>,
    /// Failure since the newest answer.
    pub failure: Option<ContactFailure>,
    /// Knowledge about each workspace on the Runtime.
    pub workspaces: BTreeMap<WorkspaceId, PairKnowledge>,
}

/// Knowledge about a workspace on a Runtime, beyond the status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairKnowledge {
    /// The decision with which the Runtime was last in sync.
    pub last_good: Option<AcknowledgedBundle>,
    /// The newest refusal.
    pub refusal: Option<Refusal>,
}

/// Retries after failures.
#[derive(Debug, Clone, Copy, Default)]
struct Backoff {
    failures: u32,
    /// Time before which there is no retry.
    until: Duration,
}

#[derive(Debug)]
struct Runtime {
    rules: RuntimeRules,
    knowledge: RuntimeKnowledge,
    /// Time of the next read of the status.
    status_due: Duration,
    contact: Backoff,
    retries: BTreeMap<WorkspaceId, Backoff>,
    /// Time at which the Runtime is in `due`. `None` while a step is being performed.
    scheduled: Option<Duration>,
    changed: bool,
}

#[derive(Debug)]
struct Workspace {
    rules: WorkspaceRules,
    desired: Option<Desired>,
    /// Raises of the generation since this Backend started.
    raises: Backoff,
}

/// The state of all Runtimes and workspaces.
#[derive(Debug)]
pub struct Reconciler {
    limits: ReconcilerLimits,
    random: fastrand::Rng,
    workspaces: BTreeMap<WorkspaceId, Workspace>,
    runtimes: BTreeMap<RuntimeName, Runtime>,
    /// Runtimes without a step, by the time at which one may be due.
    due: BTreeSet<(Duration, RuntimeName)>,
    /// Workspaces whose generation must be raised.
    raises: BTreeMap<WorkspaceId, Generation>,
    steps: Steps,
}

/// Steps that are being performed, by Runtime. A Runtime may have been removed meanwhile.
#[derive(Debug, Default)]
struct Steps {
    places: BTreeMap<RuntimeName, Place>,
    /// Steps with a place for Runtimes that answer, by the time at which they began.
    answering: BTreeSet<(Duration, RuntimeName)>,
    silent: usize,
    slow: usize,
}

/// Place of a step.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The Runtime answered last time. The step began at this time.
    Answering(Duration),
    /// The Runtime did not answer last time.
    Silent,
    /// The step takes long, and no longer has a place.
    Slow,
}

impl Steps {
    fn begin(&mut self, name: RuntimeName, is_silent: bool, now: Now) {
        let place = if is_silent { Place::Silent } else { Place::Answering(now.elapsed) };
        match place {
            Place::Silent => self.silent += 1,
            _ => drop(self.answering.insert((now.elapsed, name.clone()))),
        }
        self.places.insert(name, place);
    }

    fn end(&mut self, name: &RuntimeName) {
        match self.places.remove(name) {
            Some(Place::Answering(since)) => drop(self.answering.remove(&(since, name.clone()))),
            Some(Place::Silent) => self.silent -= 1,
            Some(Place::Slow) => self.slow -= 1,
            None => {}
        }
    }

    /// Returns the time at which a step becomes slow and gives up its place.
    fn next_slow(&self, limits: &ReconcilerLimits) -> Option<Duration> {
        let (since, _) = self.answering.first().filter(|_| self.slow < limits.max_slow_steps)?;
        Some(*since + limits.slow_after)
    }

    /// Takes the places of slow steps.
    fn release_slow(&mut self, limits: &ReconcilerLimits, now: Now) {
        while self.next_slow(limits).is_some_and(|at| at <= now.elapsed)
            && let Some((_, name)) = self.answering.pop_first()
        {
            self.places.insert(name, Place::Slow);
            self.slow += 1;
        }
    }

    fn has_place(&self, limits: &ReconcilerLimits) -> bool {
        self.answering.len() < limits.max_steps
    }
}

/// Time until a silent Runtime that found no place is looked at again.
const PLACE_WAIT: Duration = Duration::from_millis(250);

impl Reconciler {
    /// Creates a reconciler without workspaces and Runtimes. `seed` determines the variation of times.
    pub fn new(limits: ReconcilerLimits, seed: u64) -> Self {
        Self {
            limits,
            random: fastrand::Rng::with_seed(seed),
            workspaces: BTreeMap::new(),
            runtimes: BTreeMap::new(),
            due: BTreeSet::new(),
            raises: BTreeMap::new(),
            steps: Steps::default(),
        }
    }

    /// Adds a workspace, or replaces its rules.
    pub fn set_workspace(&mut self, id: WorkspaceId, rules: WorkspaceRules, now: Now) {
        let new = Workspace { rules: rules.clone(), desired: None, raises: Backoff::default() };
        self.workspaces.entry(id).or_insert(new).rules = rules;
        self.wake_all(now);
    }

    /// Removes a workspace. Nothing is removed from Runtimes.
    pub fn remove_workspace(&mut self, id: &WorkspaceId) {
        self.workspaces.remove(id);
        self.raises.remove(id);
    }

    /// Adds a Runtime with what was known of it before, or replaces its rules.
    pub fn set_runtime(&mut self, name: RuntimeName, rules: RuntimeRules, known: RuntimeKnowledge, now: Now) {
        if let Some(runtime) = self.runtimes.get_mut(&name) {
            runtime.rules = rules;
            return self.wake(&name, now);
        }
        // The first reads spread over one interval, so that a restart does not read all Runtimes at once.
        let first = now.elapsed + self.limits.status_interval.mul_f64(self.random.f64() / 4.0);
        let runtime = Runtime {
            rules,
            // Otherwise all silent Runtimes would have places of the others after a restart.
            contact: Backoff { failures: u32::from(known.failure.is_some()), until: Duration::ZERO },
            knowledge: known,
            status_due: first,
            retries: BTreeMap::new(),
            scheduled: None,
            changed: false,
        };
        self.runtimes.insert(name.clone(), runtime);
        self.schedule(&name, first);
    }

    /// Removes a Runtime. A step that is being performed for it is reported as usual.
    pub fn remove_runtime(&mut self, name: &RuntimeName) {
        self.unschedule(name);
        self.runtimes.remove(name);
    }

    /// Replaces the desired state of a workspace. Refusals of other decisions no longer delay it.
    pub fn set_desired(&mut self, id: &WorkspaceId, desired: Option<Desired>, now: Now) {
        let Some(workspace) = self.workspaces.get_mut(id) else { return };
        let raised = match (&workspace.desired, &desired) {
            (Some(before), Some(after)) if is_raise(before, after) => {
                Some((before.target.generation, after.target.generation))
            }
            _ => None,
        };
        workspace.desired = desired;
        self.raises.remove(id);
        for runtime in self.runtimes.values_mut() {
            // A raised generation is the same decision. It does not continue a halted rollout, and Runtimes that fail wait as
            // long as before.
            let Some((before, after)) = raised else {
                runtime.retries.remove(id);
                continue;
            };
            let refusal = runtime.knowledge.workspaces.get_mut(id).and_then(|pair| pair.refusal.as_mut());
            if let Some(refusal) = refusal.filter(|refusal| refusal.generation == before) {
                refusal.generation = after;
            }
        }
        self.wake_all(now);
    }

    /// Makes all Runtimes due that were read before and do not fail.
    fn wake_all(&mut self, now: Now) {
        let names: Vec<RuntimeName> = self.runtimes.keys().cloned().collect();
        for name in names {
            self.wake(&name, now);
        }
    }

    /// Looks for the next step of a Runtime at once, except for retries after failures of the whole Runtime.
    fn wake(&mut self, name: &RuntimeName, now: Now) {
        let Some(runtime) = self.runtimes.get(name) else { return };
        if let Some(scheduled) = runtime.scheduled {
            let at = runtime.contact.until.max(now.elapsed).min(scheduled);
            self.schedule(name, at);
        }
    }

    /// Reads the status of a Runtime at once, even after failures.
    pub fn read_now(&mut self, name: &RuntimeName, now: Now) {
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        runtime.status_due = now.elapsed;
        runtime.contact.until = now.elapsed;
        runtime.retries.clear();
        if runtime.scheduled.is_some() {
            self.schedule(name, now.elapsed);
        }
    }

    /// Like [`read_now`](Self::read_now), but retries only what was refused of one workspace.
    pub fn read_workspace_now(&mut self, name: &RuntimeName, workspace: &WorkspaceId, now: Now) {
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        let mut retries = std::mem::take(&mut runtime.retries);
        retries.remove(workspace);
        self.read_now(name, now);
        if let Some(runtime) = self.runtimes.get_mut(name) {
            runtime.retries = retries;
        }
    }

    fn schedule(&mut self, name: &RuntimeName, at: Duration) {
        self.unschedule(name);
        if let Some(runtime) = self.runtimes.get_mut(name) {
            runtime.scheduled = Some(at);
            self.due.insert((at, name.clone()));
        }
    }

    fn unschedule(&mut self, name: &RuntimeName) {
        if let Some(before) = self.runtimes.get_mut(name).and_then(|runtime| runtime.scheduled.take()) {
            self.due.remove(&(before, name.clone()));
        }
    }

    /// Returns the next step, or `None` if nothing is due before [`next_due`](Self::next_due) or all places are taken.
    pub fn next(&mut self, now: Now) -> Option<Step> {
        if let Some((workspace, above)) = self.raises.pop_first() {
            return Some(Step::RaiseGeneration { workspace, above });
        }
        self.steps.release_slow(&self.limits, now);
        while self.steps.has_place(&self.limits) {
            let (at, name) = self.due.first()?.clone();
            if at > now.elapsed {
                return None;
            }
            if self.steps.places.contains_key(&name) {
                // It was removed and added again. The end of the step schedules it.
                self.unschedule(&name);
                continue;
            }
            let step = self.step_of(&name, now);
            let is_silent = self.runtimes.get(&name).is_some_and(|runtime| runtime.contact.failures > 0);
            let has_place = !is_silent || self.steps.silent < self.limits.max_steps_to_silent;
            match step {
                Some(step) if has_place => {
                    self.unschedule(&name);
                    self.steps.begin(name, is_silent, now);
                    return Some(step);
                }
                Some(_) => self.schedule(&name, now.elapsed + PLACE_WAIT),
                None => {
                    let at = self.due_time(&name, now);
                    self.schedule(&name, at);
                }
            }
        }
        None
    }

    /// Returns the time at which the next step may be due. `None` if no Runtime waits or all places are taken.
    pub fn next_due(&self) -> Option<Duration> {
        if !self.raises.is_empty() {
            return Some(Duration::ZERO);
        }
        let (at, _) = self.due.first()?;
        if self.steps.has_place(&self.limits) {
            Some(*at)
        } else {
            self.steps.next_slow(&self.limits).map(|slow| slow.max(*at))
        }
    }

    /// Returns the step of a Runtime that is due now.
    fn step_of(&self, name: &RuntimeName, now: Now) -> Option<Step> {
        let runtime = self.runtimes.get(name)?;
        if runtime.contact.until > now.elapsed {
            return None;
        }
        if runtime.status_due <= now.elapsed || runtime.knowledge.status.is_none() {
            return Some(Step::ReadStatus { runtime: name.clone() });
        }
        let due = self.workspaces.iter().find_map(|(id, workspace)| {
            let waits = runtime.retries.get(id).is_some_and(|retry| retry.until > now.elapsed);
            if waits { None } else { Some((id, self.outstanding(name, runtime, id, workspace)?)) }
        });
        let (workspace, desired) = due?;
        let held = acknowledged(&runtime.knowledge, workspace).map(|state| state.bundle);
        Some(Step::Deliver { runtime: name.clone(), workspace: workspace.clone(), desired, held })
    }

    /// Returns the decision that the Runtime does not have yet.
    fn outstanding(
        &self,
        name: &RuntimeName,
        runtime: &Runtime,
        id: &WorkspaceId,
        workspace: &Workspace,
    ) -> Option<DesiredBundle> {
        let state = workspace.desired.as_ref()?;
        let desired = for_runtime(state, name, &runtime.rules)?;
        if !is_allowed((name, &runtime.rules), (id, &workspace.rules)) {
            return None;
        }
        // A higher generation was either delivered by a wider rollout, or the generation must be raised first.
        if acknowledged(&runtime.knowledge, id).is_some_and(|state| state.generation >= desired.generation) {
            return None;
        }
        let refusal = runtime.knowledge.workspaces.get(id).and_then(|pair| pair.refusal);
        let refused_here = refusal.is_some_and(|refusal| refusal.generation == desired.generation);
        if state.rollout.is_some() && desired == state.target && !refused_here && self.is_halted(id) {
            return None;
        }
        Some(desired)
    }

    /// Returns `true` if a Runtime refuses the newest decision while it is rolled out in stages. No further Runtime gets the
    /// decision then.
    pub fn is_halted(&self, id: &WorkspaceId) -> bool {
        self.halting(id).next().is_some()
    }

    /// Returns the Runtimes that halt the rollout of a workspace.
    pub fn refusing(&self, id: &WorkspaceId) -> BTreeSet<RuntimeName> {
        self.halting(id).cloned().collect()
    }

    fn halting<'a>(&'a self, id: &'a WorkspaceId) -> impl Iterator<Item = &'a RuntimeName> {
        let workspace = self.workspaces.get(id);
        let desired = workspace.and_then(|workspace| workspace.desired.as_ref());
        let rollout = desired.and_then(|desired| desired.rollout.as_ref());
        let staged = workspace.zip(desired).zip(rollout);
        staged.into_iter().flat_map(move |((workspace, desired), rollout)| {
            self.runtimes.iter().filter_map(move |(name, runtime)| {
                let refusal = runtime.knowledge.workspaces.get(id).and_then(|pair| pair.refusal)?;
                // A refusal no longer counts if the policy or the stage excludes the Runtime now.
                let halts = refusal.generation == desired.target.generation
                    && !rollout.accepted_refusals.contains(name)
                    && for_runtime(desired, name, &runtime.rules) == Some(desired.target)
                    && is_allowed((name, &runtime.rules), (id, &workspace.rules));
                halts.then_some(name)
            })
        })
    }

    /// Returns the time at which a step of the Runtime may be due.
    fn due_time(&self, name: &RuntimeName, now: Now) -> Duration {
        let Some(runtime) = self.runtimes.get(name) else { return now.elapsed };
        let mut at = runtime.status_due;
        for (id, workspace) in &self.workspaces {
            if self.outstanding(name, runtime, id, workspace).is_some() {
                at = at.min(runtime.retries.get(id).map_or(now.elapsed, |retry| retry.until));
            }
        }
        at.max(runtime.contact.until)
    }

    /// Ends the step of a Runtime, which may have been removed meanwhile.
    fn end_step(&mut self, name: &RuntimeName, now: Now) {
        self.steps.end(name);
        let at = self.due_time(name, now);
        self.schedule(name, at);
    }

    /// Ends all steps that are being performed, without results. They are due again.
    pub fn abandon_steps(&mut self, now: Now) {
        for name in std::mem::take(&mut self.steps).places.into_keys() {
            self.end_step(&name, now);
        }
    }

    /// Reports the result of [`Step::ReadStatus`].
    pub fn status_read(&mut self, name: &RuntimeName, result: Result<RuntimeStatus, LinkError>, now: Now) {
        self.record_status(name, result, now);
        self.end_step(name, now);
    }

    /// Records a status that the Runtime reported.
    fn record_status(&mut self, name: &RuntimeName, result: Result<RuntimeStatus, LinkError>, now: Now) {
        let varied = self.limits.status_interval.mul_f64(0.75 + self.random.f64() / 2.0);
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        let status = match result {
            Ok(status) => bounded(status, &self.workspaces),
            Err(error) => return self.record_failure(name, &error, now),
        };
        runtime.contact = Backoff::default();
        runtime.status_due = now.elapsed + varied;
        runtime.changed = true;
        let knowledge = &mut runtime.knowledge;
        // Another data folder answers at the same address. What was known of the earlier one is wrong.
        if knowledge.status.as_ref().is_some_and(|before| before.id != status.id) {
            *knowledge = RuntimeKnowledge::default();
            runtime.retries.clear();
        }
        knowledge.last_seen = Some(now.time);
        knowledge.failure = None;
        knowledge.workspaces.retain(|id, _| self.workspaces.contains_key(id));
        for (id, reported) in &status.workspaces {
            let pair = knowledge.workspaces.entry(id.clone()).or_default();
            if let Some(state) = reported.acknowledged.filter(|_| reported.fault.is_none()) {
                pair.last_good = Some(state);
            }
            if pair.refusal.is_some_and(|refusal| {
                reported.acknowledged.is_some_and(|state| state.generation >= refusal.generation)
            }) {
                pair.refusal = None;
            }
        }
        let reported: Vec<_> = status
            .workspaces
            .iter()
            .filter_map(|(id, workspace)| Some((id.clone(), workspace.acknowledged?)))
            .collect();
        knowledge.status = Some(status);
        for (id, state) in reported {
            self.compare_generation(name, &id, state.generation, Some(state), now);
        }
    }

    /// Plans to raise the generation of a workspace if a Runtime acknowledged a decision that this Backend did not make.
    fn compare_generation(
        &mut self,
        name: &RuntimeName,
        id: &WorkspaceId,
        reported: Generation,
        state: Option<AcknowledgedBundle>,
        now: Now,
    ) {
        let (Some(workspace), Some(runtime)) = (self.workspaces.get(id), self.runtimes.get(name)) else { return };
        let Some(desired) = &workspace.desired else { return };
        let own = desired.target.generation;
        let previous = desired.rollout.as_ref().and_then(|rollout| rollout.previous);
        let is_other = |known: DesiredBundle| {
            reported == known.generation && state.is_some_and(|state| state.bundle != known.bundle)
        };
        let is_foreign = reported > own || is_other(desired.target) || previous.is_some_and(is_other);
        if !is_foreign || !is_allowed((name, &runtime.rules), (id, &workspace.rules)) {
            return;
        }
        let mut most = own.get().saturating_add(MAX_GENERATION_RAISE);
        if reported.get() > most {
            most = most.max(self.common_generation(id).saturating_add(MAX_GENERATION_RAISE));
        }
        // A Runtime that is further ahead is reached in several raises.
        if let Ok(above) = Generation::try_from(reported.max(own).get().min(most)) {
            self.plan_raise(id, above, now);
        }
    }

    /// Returns the generation that most Runtimes of a workspace have reached.
    fn common_generation(&self, id: &WorkspaceId) -> u64 {
        let Some(workspace) = self.workspaces.get(id) else { return 0 };
        let allowed = self.runtimes.iter().filter(|(name, runtime)| {
            let has_status = runtime.knowledge.status.is_some();
            has_status && is_allowed((name, &runtime.rules), (id, &workspace.rules))
        });
        let reached = |(_, runtime): (_, &Runtime)| {
            acknowledged(&runtime.knowledge, id).map_or(0, |state| state.generation.get())
        };
        let mut all: Vec<u64> = allowed.map(reached).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.get(all.len() / 2).copied().unwrap_or_default().min(MAX_COMMON_GENERATION)
    }

    /// Plans to raise the generation of a workspace, unless it was raised a short while ago.
    fn plan_raise(&mut self, id: &WorkspaceId, above: Generation, now: Now) {
        let Some(workspace) = self.workspaces.get_mut(id).filter(|workspace| workspace.raises.until <= now.elapsed)
        else {
            return;
        };
        // Two Backends with the same Runtimes would raise the generation in turn, so each raise waits longer than the last.
        workspace.raises = backoff(&self.limits, &mut self.random, workspace.raises, now);
        let planned = self.raises.entry(id.clone()).or_insert(above);
        *planned = above.max(*planned);
    }

    fn record_failure(&mut self, name: &RuntimeName, error: &LinkError, now: Now) {
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        runtime.contact = backoff(&self.limits, &mut self.random, runtime.contact, now);
        runtime.status_due = runtime.contact.until;
        runtime.changed = true;
        let since = runtime.knowledge.failure.map_or(now.time, |failure| failure.since);
        runtime.knowledge.failure = Some(ContactFailure { code: error.code(), since });
    }

    /// Reports the result of [`Step::Deliver`].
    pub fn delivered(
        &mut self,
        name: &RuntimeName,
        id: &WorkspaceId,
        generation: Generation,
        result: Result<AcknowledgedBundle, LinkError>,
        now: Now,
    ) {
        match result {
            Ok(state) => self.record_acknowledgement(name, id, state, now),
            Err(error) if error.concerns_runtime() => {
                self.record_failure(name, &error, now);
                // The Runtime may answer for other workspaces, which must not wait for this one.
                self.delay_retry(name, id, now);
            }
            // The Runtime did not refuse anything, and the next step follows the changed policy.
            Err(LinkError::NotAllowed) => self.delay_retry(name, id, now),
            Err(error) => self.record_refusal(name, id, generation, &error, now),
        }
        self.end_step(name, now);
    }

    /// Delays the next delivery of a workspace to a Runtime.
    fn delay_retry(&mut self, name: &RuntimeName, id: &WorkspaceId, now: Now) {
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        let retry = runtime.retries.entry(id.clone()).or_default();
        *retry = backoff(&self.limits, &mut self.random, *retry, now);
    }

    fn record_acknowledgement(&mut self, name: &RuntimeName, id: &WorkspaceId, state: AcknowledgedBundle, now: Now) {
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        runtime.changed = true;
        let knowledge = &mut runtime.knowledge;
        knowledge.last_seen = Some(now.time);
        let pair = knowledge.workspaces.entry(id.clone()).or_default();
        *pair = PairKnowledge { last_good: Some(state), refusal: None };
        if let Some(reported) = knowledge.status.as_mut().and_then(|status| status.workspaces.get_mut(id)) {
            reported.acknowledged = Some(state);
            reported.fault = None;
            runtime.retries.remove(id);
        } else {
            // The status does not show the workspace, so it must be read again. If it never does, retries become rare.
            runtime.status_due = now.elapsed;
            self.delay_retry(name, id, now);
        }
    }

    fn record_refusal(
        &mut self,
        name: &RuntimeName,
        id: &WorkspaceId,
        generation: Generation,
        error: &LinkError,
        now: Now,
    ) {
        self.delay_retry(name, id, now);
        let Some(runtime) = self.runtimes.get_mut(name) else { return };
        runtime.changed = true;
        runtime.knowledge.last_seen = Some(now.time);
        let pair = runtime.knowledge.workspaces.entry(id.clone()).or_default();
        pair.refusal = Some(Refusal { generation, code: error.code(), at: now.time });
        if let LinkError::Refused { acknowledged: Some(acknowledged), .. } = error {
            // The generation of the refused decision is not newer than the acknowledged one.
            self.compare_generation(name, id, *acknowledged, None, now);
            if let Some(runtime) = self.runtimes.get_mut(name) {
                runtime.status_due = now.elapsed;
            }
        }
        // The Runtime has a newer bundle, which this Backend sent before it was restored from a backup.
        if error.code() == Code::RevisionOlder
            && let Some(target) = self.workspaces.get(id).and_then(|of| Some(of.desired.as_ref()?.target))
            && !target.allow_older
        {
            self.plan_raise(id, target.generation, now);
        }
    }

    /// Returns what is known of a workspace on a Runtime. `None` if one of them does not exist.
    pub fn pair(&self, name: &RuntimeName, id: &WorkspaceId) -> Option<PairView> {
        let (runtime, workspace) = (self.runtimes.get(name)?, self.workspaces.get(id)?);
        let known = runtime.knowledge.workspaces.get(id).copied().unwrap_or_default();
        let desired = workspace.desired.as_ref().and_then(|state| for_runtime(state, name, &runtime.rules));
        let reported = runtime.knowledge.status.as_ref().and_then(|status| status.workspaces.get(id));
        let state = reported.and_then(|reported| reported.acknowledged);
        let allowed = is_allowed((name, &runtime.rules), (id, &workspace.rules));
        let condition = match (&desired, &runtime.knowledge.failure) {
            _ if !allowed => Condition::NotAllowed,
            (None, _) => Condition::NothingDesired,
            (_, Some(failure)) => Condition::Unavailable(*failure),
            (Some(_), None) if runtime.knowledge.status.is_none() => Condition::Unknown,
            (Some(desired), None) => {
                let has_it =
                    state.is_some_and(|state| (state.generation, state.bundle) == (desired.generation, desired.bundle));
                let fault = reported.and_then(|reported| reported.fault.as_deref()).filter(|_| has_it);
                let refusal = known.refusal.filter(|refusal| refusal.generation == desired.generation);
                match (fault, refusal) {
                    (Some(fault), _) => Condition::Refused { code: fault.parse().unwrap_or(Code::UnexpectedAnswer) },
                    (None, _) if has_it => Condition::InSync,
                    (None, Some(refusal)) => Condition::Refused { code: refusal.code },
                    (None, None) if state.is_some_and(|state| state.generation > desired.generation) => {
                        Condition::Ahead
                    }
                    (None, None) => Condition::Pending,
                }
            }
        };
        let PairKnowledge { last_good, refusal } = known;
        Some(PairView { condition, desired, acknowledged: state, last_good, refusal })
    }

    /// Returns what is known of a Runtime.
    pub fn runtime(&self, name: &RuntimeName) -> Option<&RuntimeKnowledge> {
        Some(&self.runtimes.get(name)?.knowledge)
    }

    /// Returns the Runtimes about which something was learned since the last call, with all that is known of them.
    pub fn take_changed(&mut self) -> Vec<(RuntimeName, RuntimeKnowledge)> {
        let take = |(name, runtime): (&RuntimeName, &mut Runtime)| {
            std::mem::take(&mut runtime.changed).then(|| (name.clone(), runtime.knowledge.clone()))
        };
        self.runtimes.iter_mut().filter_map(take).collect()
    }
}

/// Returns `true` if the second decision is the first one with a higher generation.
fn is_raise(before: &Desired, after: &Desired) -> bool {
    let stage = |desired: &Desired| desired.rollout.as_ref().map(|rollout| rollout.stage.clone());
    before.target.bundle == after.target.bundle
        && before.target.generation < after.target.generation
        && stage(before) == stage(after)
}

fn acknowledged(knowledge: &RuntimeKnowledge, id: &WorkspaceId) -> Option<AcknowledgedBundle> {
    knowledge.status.as_ref()?.workspaces.get(id)?.acknowledged
}

/// Returns a status without workspaces that this Backend does not have, and with texts of limited length. It is kept in memory
/// and stored, and a Runtime may report anything.
fn bounded(mut status: RuntimeStatus, workspaces: &BTreeMap<WorkspaceId, Workspace>) -> RuntimeStatus {
    let cut = |text: &str| text.chars().take(MAX_REPORTED_CHARS).collect::<String>();
    status.version = cut(&status.version);
    status.worlds = status.worlds.iter().take(MAX_WORLDS).map(|world| cut(world)).collect();
    status.workspaces.retain(|id, _| workspaces.contains_key(id));
    for workspace in status.workspaces.values_mut() {
        workspace.fault = workspace.fault.as_deref().map(cut);
    }
    status
}

/// Returns the next retry: the time doubles with each failure, and varies by up to a half.
fn backoff(limits: &ReconcilerLimits, random: &mut fastrand::Rng, before: Backoff, now: Now) -> Backoff {
    let factor = 2_u32.saturating_pow(before.failures.min(20));
    let most = limits.min_retry.saturating_mul(factor).min(limits.max_retry);
    let failures = before.failures.saturating_add(1);
    Backoff { failures, until: now.elapsed + most.mul_f64(0.5 + random.f64() / 2.0) }
}

#[cfg(test)]
mod tests;
