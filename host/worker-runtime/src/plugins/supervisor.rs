//! The task of one service.
//!
//! The task owns the instance and gives it one turn at a time, in the compute pool: `start`, then calls, events, `wake`
//! and `status`, then `stop`. An instance that ends with an error is replaced after a while; the number of replacements in
//! a row is limited. Before each turn the task checks that the config in force still has the grant of the service, and
//! before each start that the worker still runs. The rows of events are in `ingress`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bundles::manifest::Effect;
use bundles::{Digest, PluginName, one_line};
use component_host::host_api::{LogLevel, LogLine};
use component_host::{HandleFailure, Invocation, NextTurn, PluginError, Service, WakeReason};
use content_store::metadata::MetadataError;
use runtime_api::Code;
use runtime_api::event::EventKind;
use runtime_api::service::ServiceState;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::ingress::EventOutcome;
use super::logs::PluginOwner;
use super::services::{NotServing, ServiceCall, ServiceHost, ServicePlan, ServiceStatus};
use crate::ledger::{Change, ChangeError, Decision, StoredState, WorkerRow, worker_key};
use crate::runtime::Shared;
use crate::workspace::Workspace;

/// Minimum time between two turns of [`Service::wake`]. A service that asks for a turn at once would occupy a computing
/// thread all the time.
const MIN_WAKE_INTERVAL: Duration = Duration::from_millis(10);

/// Longest delay before a restart or a delivery, as a multiple of the first one: six times doubled.
const MAX_DOUBLINGS: u32 = 6;

/// The task of one service. [`Supervisor::run`] is its body.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) host: Arc<ServiceHost>,
    pub(super) shared: Weak<Shared>,
    pub(super) owner: PluginOwner,
    pub(super) plugin: PluginName,
    /// Resolution record of the worker. Another worker of the same id has another one.
    pub(super) record: Digest,
    pub(super) plan: Arc<ServicePlan>,
    pub(super) status: Arc<ServiceStatus>,
    pub(super) calls: mpsc::Receiver<ServiceCall>,
    /// Time until which the last turns must have ended, once the service is to end.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    pub(super) events: Arc<Notify>,
    pub(super) place: Arc<tokio::sync::Mutex<()>>,
    /// Time of the next delivery of an event. `None` if no event waits.
    pub(super) delivery: Option<Instant>,
}

/// End of an instance.
#[derive(Debug)]
enum End {
    /// The service is not wanted any more, or the Runtime was dropped.
    Unwanted,
    /// The instance failed, or could not be created.
    Failed(Failure),
}

/// Failure of an instance. Its texts are the host's.
#[derive(Debug)]
struct Failure {
    code: Code,
    reason: String,
    /// `false` if the host lacks something, such as a place for another service. Such a failure does not count as a
    /// restart.
    is_of_plugin: bool,
}

/// The next turn of an instance.
enum Turn {
    Stop,
    Call(ServiceCall),
    Event,
    Wake(WakeReason),
    Status,
}

/// Times of the next turn that an instance wants.
struct Schedule {
    timer: Option<Instant>,
    when_readable: bool,
    /// Earliest time of any `wake`.
    not_before: Instant,
}

impl Failure {
    fn of_plugin(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), is_of_plugin: true }
    }

    fn of_store(code: Code, reason: String) -> End {
        End::Failed(Self { code, reason, is_of_plugin: false })
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let is_of_host = matches!(
            error,
            PluginError::Limit { limit: "services", .. }
                | PluginError::Busy
                | PluginError::OutOfMemory
                | PluginError::RandomUnavailable
        );
        Self { code: error.code(), reason: error.to_string(), is_of_plugin: !is_of_host }
    }
}

impl From<MetadataError> for End {
    fn from(error: MetadataError) -> Self {
        Failure::of_store(error.code(), error.to_string())
    }
}

impl Schedule {
    /// Computes the next turn from the answer to a turn that took a time. A service that always asks for another turn gets
    /// at most half of the time.
    fn after(next: NextTurn, took: Duration) -> Self {
        let not_before = Instant::now() + took.max(MIN_WAKE_INTERVAL);
        let timer = next.after.map(|after| (Instant::now() + after).max(not_before));
        Self { timer, when_readable: next.when_readable, not_before }
    }
}

impl Supervisor {
    /// Runs the service until it is to end, the worker stops, the grant changes, or the Runtime is dropped.
    pub(super) async fn run(mut self) {
        // A service that this one replaces may still have its last turn.
        let place = self.place.clone();
        let _place = place.lock().await;
        let (mut restarts, mut failures_in_a_row) = (0, 0);
        loop {
            self.status.set(ServiceState::Starting, restarts);
            let began = Instant::now();
            let failure = match self.run_instance(restarts).await {
                End::Unwanted => return,
                End::Failed(failure) => failure,
            };
            if began.elapsed() >= Duration::from_millis(self.host.limits.service_healthy_ms) {
                (restarts, failures_in_a_row) = (0, 0);
            }
            let (worker, plugin) = (self.owner.worker.clone(), self.plugin.clone());
            let Failure { code, reason, is_of_plugin } = failure;
            let code = code.as_str().to_owned();
            if is_of_plugin && restarts >= self.host.limits.service_restarts {
                self.record(EventKind::ServiceStopped { worker, plugin, code: code.clone() }).await;
                self.status.set(ServiceState::Stopped { code: code.clone(), reason }, restarts);
                self.refuse_calls(&code, None).await;
                return;
            }
            let delay = self.backoff(failures_in_a_row);
            failures_in_a_row += 1;
            if is_of_plugin {
                restarts += 1;
                self.record(EventKind::ServiceRestarting { worker, plugin, code: code.clone() }).await;
            }
            let wait = jiff::SignedDuration::try_from(delay).unwrap_or_default();
            let now = self.host.plugin_host.clock.now();
            let at = now.checked_add(wait).unwrap_or(now);
            self.status.set(ServiceState::Restarting { code: code.clone(), reason, at }, restarts);
            if self.refuse_calls(&code, Some(Instant::now() + delay)).await {
                return;
            }
        }
    }

    fn backoff(&self, earlier: u32) -> Duration {
        backoff(self.host.limits.service_backoff_ms, earlier)
    }

    /// Refuses calls until a time. Returns `true` if the service is to end.
    async fn refuse_calls(&mut self, code: &str, until: Option<Instant>) -> bool {
        loop {
            tokio::select! {
                biased;
                () = requested(&mut self.stop) => return true,
                () = due(until) => return false,
                call = self.calls.recv() => {
                    let Some(call) = call else { return true };
                    // The caller may have gone away.
                    let _ = call.reply.send(Err(NotServing { code: Some(code.to_owned()) }));
                }
            }
        }
    }

    /// Starts an instance and gives it turns until it ends.
    async fn run_instance(&mut self, restarts: u32) -> End {
        match self.try_run_instance(restarts).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn try_run_instance(&mut self, restarts: u32) -> Result<std::convert::Infallible, End> {
        self.check_worker().await?;
        self.check_grant()?;
        let (mut service, mut schedule) = self.start().await?;
        self.status.set(ServiceState::Running { ready: None, detail: String::new() }, restarts);
        let mut is_status_old = true;
        loop {
            let turn = self.next_turn(&mut service, &schedule, is_status_old).await;
            if matches!(turn, Turn::Stop) || self.check_grant().is_err() {
                self.stop_instance(service).await;
                return Err(End::Unwanted);
            }
            is_status_old = !matches!(turn, Turn::Status);
            service = match turn {
                // Handled above.
                Turn::Stop => service,
                Turn::Call(call) => self.answer(service, call).await?,
                Turn::Event => self.deliver(service).await?,
                Turn::Wake(reason) => {
                    let began = Instant::now();
                    let wake = async move {
                        let mut service = service;
                        let run = service.wake(reason).await;
                        (service, run.result)
                    };
                    let (service, next) = self.in_pool(self.turn_deadline(), wake).await?;
                    schedule = Schedule::after(next.map_err(|error| self.failed(error))?, began.elapsed());
                    service
                }
                Turn::Status => {
                    let status = async move {
                        let mut service = service;
                        let run = service.status().await;
                        (service, run.result)
                    };
                    let (service, state) = self.in_pool(self.turn_deadline(), status).await?;
                    let state = state.map_err(|error| self.failed(error))?;
                    let (ready, detail) = (Some(state.is_ready), one_line(&state.detail));
                    self.status.set(ServiceState::Running { ready, detail }, restarts);
                    service
                }
            };
        }
    }

    /// Returns the next turn. If several are due, a random one of them is next, so that calls, events and `wake` do not keep
    /// each other waiting for long.
    async fn next_turn(&mut self, service: &mut Service, schedule: &Schedule, is_status_old: bool) -> Turn {
        let Self { stop, calls, events, delivery, .. } = self;
        let event = async {
            match *delivery {
                Some(at) => sleep_until(at).await,
                None => events.notified().await,
            }
        };
        let readable = async {
            sleep_until(schedule.not_before).await;
            service.readable().await;
        };
        let turn = async {
            tokio::select! {
                Some(call) = calls.recv() => Turn::Call(call),
                () = event => Turn::Event,
                () = due(schedule.timer) => Turn::Wake(WakeReason::Timer),
                () = readable, if schedule.when_readable => Turn::Wake(WakeReason::Readable),
            }
        };
        tokio::select! {
            biased;
            () = requested(stop) => Turn::Stop,
            turn = turn => turn,
            // The state is asked for when nothing else is to be done.
            () = std::future::ready(()), if is_status_old => Turn::Status,
        }
    }

    async fn start(&mut self) -> Result<(Service, Schedule), End> {
        let (host, plan) = (&self.host, self.plan.clone());
        let interfaces = host.plugin_host.interfaces(&self.owner.workspace, self.plugin.clone(), &plan.package);
        // The turns of a service share its connections, whatever a turn is for.
        let api = interfaces.of_instance(self.owner.clone(), Effect::External);
        let limits = host.plugin_limits.clone();
        let began = Instant::now();
        let start = async move { plan.component.start(&plan.config, api, &limits).await.result };
        let (service, next) = self.in_pool(self.turn_deadline(), start).await?.map_err(|error| self.failed(error))?;
        Ok((service, Schedule::after(next, began.elapsed())))
    }

    /// Gives the instance its last turn, within the time for it.
    async fn stop_instance(&mut self, service: Service) {
        let until = *self.stop.borrow();
        let until = until.unwrap_or_else(|| Instant::now() + self.stop_time());
        // An error of the last turn changes nothing: the instance ends with it.
        let _ = self.in_pool(until, service.stop()).await;
    }

    fn stop_time(&self) -> Duration {
        Duration::from_millis(self.host.limits.service_stop_ms)
    }

    async fn answer(&mut self, service: Service, call: ServiceCall) -> Result<Service, End> {
        let ServiceCall { id, tool, input, deadline, mut reply } = call;
        if reply.is_closed() {
            return Ok(service);
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let invocation = Invocation { id, tool, input, remaining };
        let turn = async move {
            let mut service = service;
            let run = service.call(&invocation).await;
            (service, run.result)
        };
        let (service, answer) = match self.in_pool(deadline, turn).await {
            Ok(done) => done,
            Err(end) => {
                // The caller has the same deadline and reports it. Any other end is reported here.
                if matches!(&end, End::Failed(failure) if failure.code == Code::DeadlineExceeded) {
                    reply.closed().await;
                }
                return Err(end);
            }
        };
        let end = self.end_of(&service, answer.as_ref().err());
        // The caller may have gone away.
        let _ = reply.send(Ok(answer));
        end.map_or(Ok(service), Err)
    }

    /// Delivers the first event that waits.
    async fn deliver(&mut self, service: Service) -> Result<Service, End> {
        let queued = match self.workspace()?.next_event(&self.owner.worker, &self.plugin).await {
            Ok(Some(queued)) => queued,
            Ok(None) => {
                self.delivery = None;
                return Ok(service);
            }
            Err(error) => {
                self.warn("cannot read an event", error.code());
                self.delivery = Some(Instant::now() + self.backoff(MAX_DOUBLINGS));
                return Ok(service);
            }
        };
        let event = queued.event();
        let turn = async move {
            let mut service = service;
            let result = match event.parse() {
                Some(event) => service.handle(&event).await.result,
                None => Ok(Err(HandleFailure::Permanent("the stored content is not JSON".to_owned()))),
            };
            (service, result)
        };
        let attempts = queued.attempts.saturating_add(1);
        let (service, outcome) = match self.in_pool(self.turn_deadline(), turn).await {
            Ok((service, Ok(Ok(())))) => (Ok(service), EventOutcome::Handled),
            Ok((service, Ok(Err(failure)))) => {
                let (text, code, message) = match failure {
                    HandleFailure::Permanent(text) => {
                        (text, Code::EventRefused, "the service refused the event permanently")
                    }
                    HandleFailure::Temporary(text) => {
                        (text, Code::EventDeferred, "the service asked for a later delivery")
                    }
                };
                self.log(LogLevel::Error, format!("event `{}`: {text}", queued.id()));
                (Ok(service), EventOutcome::failed(code, message.to_owned(), code == Code::EventRefused))
            }
            Ok((service, Err(error))) => {
                // The host refused to pass the event, so no delivery can succeed.
                let is_final = service.is_running();
                let outcome = EventOutcome::failed(error.code(), error.to_string(), is_final);
                (self.end_of(&service, Some(&error)).map_or(Ok(service), Err), outcome)
            }
            Err(End::Unwanted) => return Err(End::Unwanted),
            Err(End::Failed(failure)) => {
                let outcome = EventOutcome::failed(failure.code, failure.reason.clone(), false);
                (Err(End::Failed(failure)), outcome)
            }
        };
        let allowed = self.host.limits.ingress_attempts;
        let next = match self.workspace()?.finish_event(&self.owner.worker, &queued, outcome, attempts, allowed).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => self.backoff(attempts.saturating_sub(1)),
            Err(error) => {
                self.warn("cannot record the delivery of an event", error.code());
                self.backoff(MAX_DOUBLINGS)
            }
        };
        self.delivery = Some(Instant::now() + next);
        service
    }

    /// Runs a turn in the compute pool, at most until a time, and at most until the last turns must have ended.
    async fn in_pool<T: Send + 'static>(
        &self,
        until: Instant,
        turn: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, End> {
        let slots = self.host.tenants.compute_slot(&self.owner.workspace);
        let mut stop = self.stop.clone();
        let allowed = self.host.limits.call_ms;
        tokio::select! {
            biased;
            done = self.host.compute_pool.run(slots, turn) => {
                done.ok_or_else(|| End::Failed(Failure::of_plugin(Code::ToolPanicked, "a turn was aborted by a panic of the Runtime")))
            }
            () = sleep_until(until) => {
                let reason = format!("a turn of the service exceeded limit `call_ms` ({allowed} ms)");
                Err(End::Failed(Failure::of_plugin(Code::DeadlineExceeded, reason)))
            }
            () = time_is_up(&mut stop) => Err(End::Unwanted),
        }
    }

    fn turn_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.host.limits.call_ms)
    }

    /// Returns the end of an instance whose turn failed, or `None` if it still runs.
    fn end_of(&self, service: &Service, error: Option<&PluginError>) -> Option<End> {
        let error = error.filter(|_| !service.is_running())?;
        Some(self.failed(error.clone()))
    }

    /// Returns the end of an instance that failed, and logs the text that the plugin reported.
    fn failed(&self, error: PluginError) -> End {
        if let PluginError::Reported { message } = &error {
            self.log(LogLevel::Error, message.clone());
        }
        End::Failed(error.into())
    }

    /// Writes a text of the plugin to its log. Such texts are for the operator.
    fn log(&self, level: LogLevel, text: String) {
        let line = LogLine { level, text, is_truncated: false };
        self.host.plugin_host.logs.write(&self.owner, &self.plugin, line);
    }

    fn warn(&self, what: &'static str, code: Code) {
        let (workspace, worker, plugin) = (&self.owner.workspace, &self.owner.worker, &self.plugin);
        tracing::warn!(%workspace, %worker, %plugin, code = code.as_str(), "{what}");
    }

    /// Returns the workspace. Do not hold it during a turn, because it keeps the Runtime.
    fn workspace(&self) -> Result<Workspace, End> {
        let shared = self.shared.upgrade().ok_or(End::Unwanted)?;
        Ok(Workspace { shared, id: self.owner.workspace.clone() })
    }

    /// Checks that the config in force has the grant with which the service was started.
    fn check_grant(&self) -> Result<(), End> {
        let config = self.workspace()?.shared.config.load_full();
        let is_granted = config.plugin(&self.owner.workspace, &self.plan.package.digest()) == Some(&self.plan.grant);
        if is_granted { Ok(()) } else { Err(End::Unwanted) }
    }

    /// Checks that the worker runs. It may have been stopped while the start was prepared.
    async fn check_worker(&self) -> Result<(), End> {
        let Workspace { shared, id } = self.workspace()?;
        let row = shared.ledger.row::<WorkerRow>(&worker_key(&id, &self.owner.worker)).await?;
        match row {
            Some(row) if row.value.state == StoredState::Running && row.value.record == self.record => Ok(()),
            _ => Err(End::Unwanted),
        }
    }

    /// Records an event. A failure is only logged, because the state of the service shows the same.
    async fn record(&self, event: EventKind) {
        let Ok(Workspace { shared, id }) = self.workspace() else { return };
        let decide = || async { Ok(Decision::Commit(Change::default().event(event.clone()), ())) };
        if shared.ledger.update::<_, ChangeError, _>(&id, decide).await.is_err() {
            self.warn("cannot record an event of a service", Code::StoreUnavailable);
        }
    }
}

/// Returns the delay after a number of earlier failures in a row. It doubles with each failure, up to a bound.
fn backoff(first_ms: u64, earlier: u32) -> Duration {
    Duration::from_millis(first_ms.saturating_mul(1 << earlier.min(MAX_DOUBLINGS)))
}

/// Waits for a time, or forever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until the service is to end.
async fn requested(stop: &mut watch::Receiver<Option<Instant>>) {
    // An error means that the sender is gone, which ends the service as well.
    let _ = stop.wait_for(Option::is_some).await;
}

/// Waits until the last turns of the service must have ended.
async fn time_is_up(stop: &mut watch::Receiver<Option<Instant>>) {
    let until = stop.wait_for(Option::is_some).await.ok().and_then(|until| *until);
    if let Some(until) = until {
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_with_each_failure_up_to_a_bound() {
        let delays = (0..9).map(|earlier| backoff(1000, earlier).as_secs());
        assert_eq!(delays.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(backoff(1000, u32::MAX), Duration::from_secs(64));
        assert_eq!(backoff(u64::MAX, 1), Duration::from_millis(u64::MAX));
    }
}
