//! A Backend and its Runtimes on a simulated network and clock.
//!
//! The simulation is a queue of events. It runs in one thread, reads no real clock and draws every random number from the seed,
//! so that a seed always gives the same run. The reconciler, the delivery, the policy and the rules of decisions are the real
//! ones.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use backend_api::fleet::Condition;
use bundles::{RuntimeName, WorkspaceId};
use jiff::{SignedDuration, Timestamp};
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, Generation};
use runtime_api::runtime::RuntimeStatus;
use yoi_workspace_server::LinkError;
use yoi_workspace_server::delivery::deliver;
use yoi_workspace_server::desired::{for_runtime, includes};
use yoi_workspace_server::reconciler::{Now, Reconciler, ReconcilerLimits, RuntimeKnowledge, Step};
use yoi_workspace_server::runtime_link::RuntimeLink;

use super::checks::{Checks, Violation, may_have};
use super::faults::{DataLoss, Event};
use super::network::{Network, Reply, Request, RequestId, SentRequest};
use super::node::{Conduct, Data, Node};
use super::state::{Durable, Policy, SharedValue};

/// Time at which the clocks start.
const START_SECONDS: i64 = 1_782_402_570;

/// Timeouts of `runtime-client`.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);

/// Time between two commits of what was learned of Runtimes.
const SAVE_INTERVAL: Duration = Duration::from_secs(2);

/// A deliberate mistake, with which a test shows that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Deliveries do not ask the policy.
    DeliveryIgnoresPolicy,
    /// The Backend loses a publication that it acknowledged.
    PublicationIsLost,
    /// Runtimes forget what they acknowledged when they restart, although they keep their data.
    AcknowledgementIsForgotten,
    /// Deliveries do not reach Runtimes, and report success.
    DeliveryDoesNothing,
}

/// Behaviour of the network.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that a message is delivered twice.
    pub duplication: f64,
    /// Probability that a message is delayed for many seconds.
    pub delay: f64,
}

/// Result of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Digest of all that happened.
    pub trace: u64,
    /// Number of events.
    pub events: u64,
    /// Number of requests.
    pub requests: u64,
    /// Bytes of the bodies of all requests.
    pub bytes: u64,
    /// Time from the end of the faults to the convergence.
    pub converged_after: Duration,
}

enum Done {
    Status(Result<RuntimeStatus, LinkError>),
    Delivered(Result<AcknowledgedBundle, LinkError>),
}

/// A step that the Backend performs.
struct Task {
    step: Step,
    work: Pin<Box<dyn Future<Output = Done>>>,
}

/// State that a restart of the Backend loses.
struct Running {
    reconciler: Reconciler,
    started: Duration,
    tasks: BTreeMap<u64, Task>,
}

struct OpenRequest {
    task: u64,
    timeout: (Duration, u64),
}

/// Condition of a Runtime and of the network to it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reach {
    /// Number of faults that keep requests away.
    pub(super) no_requests: u32,
    /// Number of faults that keep responses away.
    pub(super) no_responses: u32,
    /// Number of restarts that go on.
    pub(super) down: u32,
}

/// The simulation.
pub struct World {
    pub(super) random: fastrand::Rng,
    pub(super) now: Duration,
    pub(super) jump: SignedDuration,
    events: BTreeMap<(Duration, u64), Event>,
    last_event: u64,
    network: Network,
    pub(super) weather: Weather,
    pub(super) names: Vec<RuntimeName>,
    index: BTreeMap<RuntimeName, usize>,
    pub(super) workspaces: Vec<WorkspaceId>,
    pub(super) nodes: Vec<Node>,
    pub(super) reach: Vec<Reach>,
    pub(super) policy: SharedValue<Policy>,
    pub(super) durable: SharedValue<Durable>,
    pub(super) backup: Option<Durable>,
    pub(super) node_backups: BTreeMap<usize, Data>,
    /// Revision that each author uses next.
    pub(super) revisions: BTreeMap<WorkspaceId, u64>,
    running: Option<Running>,
    /// Number of restarts of the Backend that go on.
    backend_down: u32,
    restarts: u64,
    seed: u64,
    limits: ReconcilerLimits,
    last_task: u64,
    open: BTreeMap<RequestId, OpenRequest>,
    wake: Option<(Duration, u64)>,
    pub(super) checks: Checks,
    pub(super) mistake: Option<Mistake>,
    healed: Option<Duration>,
    /// Time between two looks at the convergence.
    pub look_interval: Duration,
    is_printed: bool,
    report: Report,
}

impl World {
    /// Creates a world with a running Backend.
    pub fn new(seed: u64, limits: ReconcilerLimits, policy: Policy, nodes: Vec<(RuntimeName, Node)>) -> Self {
        let (names, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        let workspaces: Vec<WorkspaceId> = policy.workspaces.keys().cloned().collect();
        let report =
            Report { trace: 0xcbf2_9ce4_8422_2325, events: 0, requests: 0, bytes: 0, converged_after: Duration::ZERO };
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            jump: SignedDuration::ZERO,
            events: BTreeMap::new(),
            last_event: 0,
            network: Network::default(),
            weather: Weather { loss: 0.0, duplication: 0.0, delay: 0.0 },
            reach: vec![Reach::default(); nodes.len()],
            index: names.iter().cloned().enumerate().map(|(index, name)| (name, index)).collect(),
            names,
            revisions: workspaces.iter().map(|id| (id.clone(), 1)).collect(),
            workspaces,
            nodes,
            policy: SharedValue::default(),
            durable: SharedValue::default(),
            backup: None,
            node_backups: BTreeMap::new(),
            running: None,
            backend_down: 0,
            restarts: 0,
            seed,
            limits,
            last_task: 0,
            open: BTreeMap::new(),
            wake: None,
            checks: Checks::default(),
            mistake: None,
            healed: None,
            look_interval: Duration::from_secs(1),
            is_printed: false,
            report,
        };
        *world.policy.get() = policy;
        world.start_backend();
        world.at(SAVE_INTERVAL, Event::Save);
        world
    }

    /// Prints everything that happens.
    pub fn print_trace(&mut self) {
        self.is_printed = true;
    }

    /// Adds an event.
    pub fn at(&mut self, at: Duration, event: Event) -> (Duration, u64) {
        self.last_event += 1;
        let key = (at, self.last_event);
        self.events.insert(key, event);
        key
    }

    /// Lets something happen at once.
    pub fn happens(&mut self, event: Event) {
        self.after(Duration::ZERO, event);
    }

    /// Does not expect that a Runtime gets anything.
    pub fn ignore(&mut self, runtime: usize) {
        self.nodes[runtime].conduct = Conduct::Silent;
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) -> (Duration, u64) {
        self.at(self.now + delay, event)
    }

    /// Returns the present as the Backend sees it.
    fn backend_now(&self) -> Now {
        let started = self.running.as_ref().map_or(self.now, |running| running.started);
        Now { elapsed: self.now - started, time: self.time() }
    }

    fn time(&self) -> Timestamp {
        let at = Timestamp::from_second(START_SECONDS).unwrap_or_default();
        at.checked_add(self.now).and_then(|at| at.checked_add(self.jump)).unwrap_or_default()
    }

    /// Adds a line to the trace.
    pub(super) fn trace(&mut self, line: std::fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {line}", self.now.as_secs_f64());
        for byte in line.bytes() {
            self.report.trace = (self.report.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.is_printed {
            eprintln!("{line}");
        }
    }

    /// Runs until the Runtimes have what they should have after the faults ended.
    pub fn run(&mut self, within: Duration) -> Result<Report, Violation> {
        self.drive()?;
        loop {
            let Some((key, event)) = self.events.pop_first() else { return Ok(self.report) };
            self.now = key.0;
            self.report.events += 1;
            if matches!(event, Event::Look) {
                let healed = self.healed.unwrap_or(self.now);
                match self.unconverged() {
                    None => {
                        self.checks.durable(&self.durable.get())?;
                        self.report.converged_after = self.now - healed;
                        return Ok(self.report);
                    }
                    Some(violation) if self.now - healed > within => return Err(violation),
                    Some(_) => {
                        self.after(self.look_interval, Event::Look);
                    }
                }
            } else {
                self.handle(event)?;
            }
        }
    }

    /// Runs for a time, whatever the Runtimes have.
    pub fn run_for(&mut self, time: Duration) -> Result<Report, Violation> {
        self.drive()?;
        let end = self.now + time;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let (key, event) = entry.remove_entry();
            self.now = key.0;
            self.report.events += 1;
            self.handle(event)?;
        }
        self.now = end;
        Ok(self.report)
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrival { id, runtime, request } => self.arrive(id, runtime, &request)?,
            Event::Reply { id, reply } => self.complete(id, reply)?,
            Event::Timeout { id } => self.complete(id, Err(LinkError::TimedOut))?,
            Event::Wake => {
                self.wake = None;
                self.drive()?;
            }
            Event::Save => {
                self.save();
                self.after(SAVE_INTERVAL, Event::Save);
            }
            Event::Healed => {
                self.healed = Some(self.now);
                self.weather = Weather { loss: 0.0, duplication: 0.01, delay: 0.0 };
                self.trace(format_args!("the faults end"));
                self.after(Duration::ZERO, Event::Look);
            }
            Event::Look => {}
            other => {
                self.disturb(other);
                self.checks.durable(&self.durable.get())?;
                self.drive()?;
            }
        }
        Ok(())
    }

    /// Performs the steps of the reconciler that are due.
    fn drive(&mut self) -> Result<(), Violation> {
        loop {
            let now = self.backend_now();
            let Some(running) = &mut self.running else { return Ok(()) };
            match running.reconciler.next(now) {
                Some(step) => self.perform(step)?,
                None => break,
            }
        }
        let Some(running) = &self.running else { return Ok(()) };
        let due = running.reconciler.next_due().map(|due| (running.started + due).max(self.now));
        let Some(due) = due else { return Ok(()) };
        if self.wake.is_none_or(|wake| wake.0 > due) {
            if let Some(later) = self.wake.take() {
                self.events.remove(&later);
            }
            self.wake = Some(self.at(due, Event::Wake));
        }
        Ok(())
    }

    fn perform(&mut self, step: Step) -> Result<(), Violation> {
        let work: Pin<Box<dyn Future<Output = Done>>> = match &step {
            Step::ReadStatus { runtime } => {
                let link = self.link(runtime);
                Box::pin(async move { Done::Status(link.status().await) })
            }
            Step::Deliver { workspace, desired, .. } if self.mistake == Some(Mistake::DeliveryDoesNothing) => {
                let (generation, bundle) = (desired.generation, desired.bundle);
                let state = AcknowledgedBundle { generation, bundle, acknowledged_at: self.time() };
                self.trace(format_args!("deliver nothing of {workspace}"));
                Box::pin(async move { Done::Delivered(Ok(state)) })
            }
            Step::Deliver { runtime, workspace, desired, held } => {
                let (link, source, policy) = (self.link(runtime), self.durable.clone(), self.policy.clone());
                let (runtime, workspace, desired, held) = (runtime.clone(), workspace.clone(), *desired, *held);
                let is_ignored = self.mistake == Some(Mistake::DeliveryIgnoresPolicy);
                Box::pin(async move {
                    let is_allowed = || is_ignored || policy.get().decision(&runtime, &workspace);
                    Done::Delivered(deliver(&source, &link, &workspace, &desired, held, is_allowed).await)
                })
            }
            Step::RaiseGeneration { workspace, above } => {
                self.raise(workspace, *above);
                return Ok(());
            }
        };
        self.last_task += 1;
        let task = self.last_task;
        if let Some(running) = &mut self.running {
            running.tasks.insert(task, Task { step, work });
        }
        self.poll(task)
    }

    fn link(&self, name: &RuntimeName) -> super::network::SimulatedLink {
        self.network.link(self.index.get(name).copied().unwrap_or_default())
    }

    /// Polls a task, sends its requests, and reports its result to the reconciler.
    fn poll(&mut self, id: u64) -> Result<(), Violation> {
        let now = self.backend_now();
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(task) = running.tasks.get_mut(&id) else { return Ok(()) };
        let polled = self.network.poll(id, task.work.as_mut());
        if let Poll::Ready(done) = polled
            && let Some(Task { step, .. }) = running.tasks.remove(&id)
        {
            match (step, done) {
                (Step::ReadStatus { runtime }, Done::Status(status)) => {
                    running.reconciler.status_read(&runtime, status, now);
                }
                (Step::Deliver { runtime, workspace, desired, .. }, Done::Delivered(result)) => {
                    let outcome = result.as_ref().map(|state| state.generation).map_err(LinkError::code);
                    let line = format!("{runtime} {workspace} {} delivered: {outcome:?}", desired.generation);
                    running.reconciler.delivered(&runtime, &workspace, desired.generation, result, now);
                    self.trace(format_args!("{line}"));
                }
                _ => {}
            }
        }
        for sent in self.network.take_sent() {
            self.send(sent)?;
        }
        Ok(())
    }

    /// Sends a request into the network.
    fn send(&mut self, sent: SentRequest) -> Result<(), Violation> {
        let name = &self.names[sent.runtime];
        self.checks.sent(&sent, name, &self.policy.get(), &self.durable.get(), self.now)?;
        self.report.requests += 1;
        self.report.bytes += sent.request.bytes() as u64;
        let SentRequest { id, task, runtime, request } = sent;
        let is_transfer = matches!(request, Request::PutBlob(..) | Request::PutManifest(..));
        let timeout = if is_transfer { TRANSFER_TIMEOUT } else { RESPONSE_TIMEOUT };
        let timeout = self.after(timeout, Event::Timeout { id });
        self.open.insert(id, OpenRequest { task, timeout });
        if self.reach[runtime].down > 0 && self.random.bool() {
            let delay = self.latency();
            self.after(delay, Event::Reply { id, reply: Err(LinkError::Unreachable) });
            return Ok(());
        }
        let request = Rc::new(request);
        for delay in self.deliveries() {
            self.after(delay, Event::Arrival { id, runtime, request: request.clone() });
        }
        Ok(())
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(self.random.u64(2_000..80_000))
    }

    /// Returns the delays after which a message arrives: none if it is lost, several if it is duplicated.
    fn deliveries(&mut self) -> Vec<Duration> {
        let Weather { loss, duplication, delay } = self.weather;
        let mut delays = Vec::with_capacity(1);
        if self.random.f64() >= loss {
            let slow = if self.random.f64() < delay { self.random.u64(0..20_000) } else { 0 };
            delays.push(self.latency() + Duration::from_millis(slow));
        }
        if self.random.f64() < duplication {
            delays.push(self.latency() + Duration::from_millis(self.random.u64(0..60_000)));
        }
        delays
    }

    /// Lets a Runtime handle a request.
    fn arrive(&mut self, id: RequestId, runtime: usize, request: &Request) -> Result<(), Violation> {
        let reach = self.reach[runtime];
        let node = &mut self.nodes[runtime];
        if reach.no_requests > 0 || reach.down > 0 || node.conduct == Conduct::Silent {
            return Ok(());
        }
        let busy = self.weather.loss > 0.0 && self.random.u8(..) < 3;
        let time = Timestamp::from_second(START_SECONDS).unwrap_or_default();
        let reply = match busy {
            true => Err(LinkError::Busy(Code::Busy)),
            false => node.handle(request, time, &mut self.random),
        };
        if node.conduct == Conduct::Honest
            && let Some(workspace) = request.workspace()
        {
            let state = node.acknowledged(workspace);
            self.checks.acknowledged(runtime, &self.names[runtime], workspace, state)?;
        }
        let name = self.names[runtime].clone();
        let (kind, is_ok) = (request.name(), reply.is_ok());
        self.trace(format_args!("{name} {kind} {:?}: {is_ok}", request.workspace().map(WorkspaceId::as_str)));
        if reach.no_responses == 0 {
            for delay in self.deliveries() {
                self.after(delay, Event::Reply { id, reply: reply.clone() });
            }
        }
        Ok(())
    }

    /// Completes a request, unless it is complete or the Backend was restarted meanwhile.
    fn complete(&mut self, id: RequestId, reply: Reply) -> Result<(), Violation> {
        let Some(OpenRequest { task, timeout }) = self.open.remove(&id) else { return Ok(()) };
        self.events.remove(&timeout);
        self.network.reply(id, reply);
        self.poll(task)?;
        self.drive()
    }

    fn raise(&mut self, workspace: &WorkspaceId, above: Generation) {
        let row = self.durable.get().rows.get(workspace).cloned();
        if let Some(raised) = row.filter(|row| row.desired.target.generation <= above).and_then(|row| row.raise(above))
        {
            self.trace(format_args!("{workspace} raised above {above}"));
            self.store_row(workspace, raised);
        }
    }

    /// Stores a decision and passes it to the reconciler.
    pub(super) fn store_row(&mut self, workspace: &WorkspaceId, row: yoi_workspace_server::desired::DesiredRow) {
        self.checks.decisions.insert(workspace.clone(), row.desired.target.generation);
        self.durable.get().rows.insert(workspace.clone(), row.clone());
        let now = self.backend_now();
        if let Some(running) = &mut self.running {
            running.reconciler.set_desired(workspace, Some(row.desired), now);
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn is_halted(&self, workspace: &WorkspaceId) -> bool {
        self.running.as_ref().is_some_and(|running| running.reconciler.is_halted(workspace))
    }

    /// Passes a change of the policy to the reconciler.
    pub(super) fn policy_changed(&mut self, workspace: Option<&WorkspaceId>, runtime: Option<&RuntimeName>) {
        let now = self.backend_now();
        let Some(running) = &mut self.running else { return };
        let policy = self.policy.get();
        if let Some(workspace) = workspace
            && let Some(rules) = policy.workspaces.get(workspace)
        {
            running.reconciler.set_workspace(workspace.clone(), rules.clone(), now);
        }
        if let Some(name) = runtime {
            match policy.runtimes.get(name) {
                Some(rules) => {
                    let known = self.durable.get().knowledge.get(name).cloned().unwrap_or_default();
                    running.reconciler.set_runtime(name.clone(), rules.clone(), known, now);
                }
                None => running.reconciler.remove_runtime(name),
            }
        }
    }

    /// Stores what was learned of Runtimes.
    fn save(&mut self) {
        if let Some(running) = &mut self.running {
            self.durable.get().knowledge.extend(running.reconciler.take_changed());
        }
    }

    pub(super) fn stop_backend(&mut self) {
        self.backend_down += 1;
        self.running = None;
        self.open.clear();
    }

    /// Ends one reason for which the Backend does not run, and starts it if there is no other one.
    pub(super) fn end_backend_stop(&mut self) {
        self.backend_down -= 1;
        if self.backend_down == 0 {
            self.start_backend();
        }
    }

    fn start_backend(&mut self) {
        self.restarts += 1;
        let mut reconciler = Reconciler::new(self.limits.clone(), self.seed ^ self.restarts);
        let now = Now { elapsed: Duration::ZERO, time: self.time() };
        let (policy, durable) = (self.policy.get(), self.durable.get());
        for (id, rules) in &policy.workspaces {
            reconciler.set_workspace(id.clone(), rules.clone(), now);
            reconciler.set_desired(id, durable.rows.get(id).map(|row| row.desired.clone()), now);
        }
        for (name, rules) in &policy.runtimes {
            // What was stored is read again.
            let known = durable.knowledge.get(name).map(|known| serde_json::to_vec(known).expect("JSON"));
            let known: Option<RuntimeKnowledge> = known.map(|json| serde_json::from_slice(&json).expect("the same"));
            reconciler.set_runtime(name.clone(), rules.clone(), known.unwrap_or_default(), now);
        }
        drop((policy, durable));
        self.running = Some(Running { reconciler, started: self.now, tasks: BTreeMap::new() });
    }

    /// Loses data of a Runtime.
    pub(super) fn lose_data(&mut self, runtime: usize, loss: DataLoss) {
        match (loss, self.node_backups.get(&runtime)) {
            (DataLoss::Nothing, _) => {}
            (DataLoss::SinceBackup, Some(backup)) => {
                self.nodes[runtime].data = backup.clone();
                self.checks.data_lost(runtime);
            }
            (DataLoss::Everything | DataLoss::SinceBackup, _) => {
                self.nodes[runtime].data = Data::empty(&mut self.random);
                self.checks.data_lost(runtime);
            }
        }
    }

    /// Returns the first thing that is not as it should be after the faults. `None` if all is well.
    fn unconverged(&self) -> Option<Violation> {
        let running = self.running.as_ref()?;
        let (policy, durable) = (self.policy.get(), self.durable.get());
        for workspace in &self.workspaces {
            let Some(row) = durable.rows.get(workspace) else { continue };
            let target = row.desired.target;
            let is_halted = running.reconciler.is_halted(workspace);
            let has_reason = |index: usize| {
                let (name, node) = (&self.names[index], &self.nodes[index]);
                let stage = row.desired.rollout.as_ref().map(|rollout| &rollout.stage);
                let rules = policy.runtimes.get(name);
                let is_in_stage = rules.is_some_and(|rules| stage.is_none_or(|stage| includes(stage, name, rules)));
                let refuses = node.conduct != Conduct::Honest || !node.served.contains(workspace);
                is_in_stage && refuses && may_have(&policy, name, workspace)
            };
            if is_halted && !(0..self.nodes.len()).any(has_reason) {
                return Some(Violation::HaltedWithoutReason { workspace: workspace.clone() });
            }
            for (name, node) in self.names.iter().zip(&self.nodes) {
                let Some(rules) = policy.runtimes.get(name) else { continue };
                let Some(expected) = for_runtime(&row.desired, name, rules) else { continue };
                let is_expected = node.conduct == Conduct::Honest && node.served.contains(workspace);
                if !is_expected || !may_have(&policy, name, workspace) || is_halted && expected == target {
                    continue;
                }
                let actual = node.acknowledged(workspace);
                let has = |state: AcknowledgedBundle| (state.generation, state.bundle);
                // A Runtime that left the stage keeps the decision of the stage.
                let is_ahead = row.desired.rollout.is_some()
                    && actual.is_some_and(|state| {
                        state.generation > expected.generation && state.generation <= target.generation
                    });
                let shown = running.reconciler.pair(name, workspace).map(|pair| pair.condition);
                let is_shown =
                    matches!(shown, Some(Condition::InSync)) || is_ahead && matches!(shown, Some(Condition::Ahead));
                let is_right = actual.map(has) == Some((expected.generation, expected.bundle)) || is_ahead;
                if !is_right || !is_shown {
                    return Some(Violation::NotConverged {
                        runtime: name.clone(),
                        workspace: workspace.clone(),
                        expected: format!("{} {}", expected.generation, expected.bundle.short()),
                        actual: format!("{:?}", actual.map(|state| (state.generation.get(), state.bundle.short()))),
                        shown: format!("{shown:?}"),
                    });
                }
            }
        }
        None
    }
}
