//! Measuring: every case of a group in turn within a round, and medians of the rounds' ratios.
//!
//! What other work on the machine does to one case of a round, it does to its neighbours; a ratio of
//! neighbours suffers least from it. Thread CPU time does not count while others run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Outcome;

/// CPU time that one turn of one case is to take, so that the clock's own cost does not matter.
const TURN: Duration = Duration::from_millis(2);

/// Work that is done so many times and says how long that took.
pub(crate) type Work<'a> = Box<dyn FnMut(u32) -> Outcome<Duration> + 'a>;

/// CPU time of the calling thread.
pub(crate) fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process, those that ended too.
pub(crate) fn process_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

fn time(clock: ClockId) -> Duration {
    // Neither clock ever goes below zero.
    clock_gettime(clock).try_into().unwrap_or_default()
}

/// Thread CPU time of `work`, done so many times.
pub(crate) fn timed(times: u32, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Duration> {
    let started = thread_time();
    for _ in 0..times {
        work()?;
    }
    Ok(thread_time() - started)
}

/// Cases that are compared with each other.
#[derive(Default)]
pub(crate) struct Group<'a> {
    cases: Vec<Work<'a>>,
}

/// A case of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case(usize);

/// Seconds that each case took, by round.
pub(crate) struct Rounds(Vec<Vec<f64>>);

impl<'a> Group<'a> {
    /// Adds a case.
    pub(crate) fn case(&mut self, work: impl FnMut(u32) -> Outcome<Duration> + 'a) -> Case {
        self.cases.push(Box::new(work));
        Case(self.cases.len() - 1)
    }

    /// Measures all cases, after each has warmed up.
    pub(crate) fn measure(mut self, rounds: usize) -> Outcome<Rounds> {
        let mut times = Vec::new();
        for case in &mut self.cases {
            times.push(calibrate(case)?);
        }
        let mut measured = vec![Vec::with_capacity(rounds); self.cases.len()];
        for _ in 0..rounds {
            for ((case, times), measured) in self.cases.iter_mut().zip(&times).zip(&mut measured) {
                // The first after another case pays for what that one left behind: cold caches, and
                // an allocator that has to sort what was given back.
                case(1)?;
                measured.push(case(*times)?.as_secs_f64() / f64::from(*times));
            }
        }
        Ok(Rounds(measured))
    }
}

/// How often a case is to be done in one turn.
fn calibrate(case: &mut Work<'_>) -> Outcome<u32> {
    case(1)?;
    let mut times = 1;
    loop {
        let taken = case(times)?;
        if taken >= TURN || times >= 1 << 20 {
            return Ok(times);
        }
        times *= 2;
    }
}

impl Rounds {
    fn of(&self, case: Case) -> &[f64] {
        self.0.get(case.0).map(Vec::as_slice).unwrap_or_default()
    }

    /// The median of what one case took, in seconds.
    pub(crate) fn seconds(&self, case: Case) -> f64 {
        median(self.of(case).to_vec())
    }

    /// The median of the rounds' ratios.
    pub(crate) fn ratio(&self, case: Case, to: Case) -> f64 {
        median(self.of(case).iter().zip(self.of(to)).map(|(case, to)| case / to).collect())
    }
}

/// The median; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.saturating_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(middle)) => *middle,
        _ => 0.0,
    }
}
