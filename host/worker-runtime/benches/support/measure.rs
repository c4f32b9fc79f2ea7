//! Measurement of cases in turn within each round, and medians of the ratios of the rounds.
//!
//! Other load on the machine affects neighbouring cases of a round alike, so the ratio of neighbours is the most stable
//! figure. Thread CPU time does not grow while other threads run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Outcome;

/// Minimum CPU time of one turn of a case, so that the cost of reading the clock is negligible.
const MIN_TURN: Duration = Duration::from_millis(2);

/// Work that runs a given number of times and returns its duration.
pub(crate) type Work<'a> = Box<dyn FnMut(u32) -> Outcome<Duration> + 'a>;

/// Returns the CPU time of the calling thread.
pub(crate) fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// Returns the CPU time of all threads of this process, including ended ones.
pub(crate) fn process_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

fn time(clock: ClockId) -> Duration {
    // The conversion cannot fail, because neither clock is negative.
    clock_gettime(clock).try_into().unwrap_or_default()
}

/// Runs `work` a number of times and returns the thread CPU time.
pub(crate) fn timed(times: u32, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Duration> {
    let started = thread_time();
    for _ in 0..times {
        work()?;
    }
    Ok(thread_time() - started)
}

/// Cases to compare.
#[derive(Default)]
pub(crate) struct Group<'a> {
    cases: Vec<Work<'a>>,
}

/// A case of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case(usize);

/// Seconds of each case, by round.
pub(crate) struct Rounds(Vec<Vec<f64>>);

impl<'a> Group<'a> {
    /// Adds a case.
    pub(crate) fn case(&mut self, work: impl FnMut(u32) -> Outcome<Duration> + 'a) -> Case {
        self.cases.push(Box::new(work));
        Case(self.cases.len() - 1)
    }

    /// Measures all cases after a warm-up.
    pub(crate) fn measure(mut self, rounds: usize) -> Outcome<Rounds> {
        let mut times = Vec::new();
        for case in &mut self.cases {
            times.push(calibrate(case)?);
        }
        let mut measured = vec![Vec::with_capacity(rounds); self.cases.len()];
        for _ in 0..rounds {
            for ((case, times), measured) in self.cases.iter_mut().zip(&times).zip(&mut measured) {
                // The first run after another case is slower, because of cold caches and freed memory that the
                // allocator has to merge.
                case(1)?;
                measured.push(case(*times)?.as_secs_f64() / f64::from(*times));
            }
        }
        Ok(Rounds(measured))
    }
}

/// Returns the number of runs of a case in one turn.
fn calibrate(case: &mut Work<'_>) -> Outcome<u32> {
    case(1)?;
    let mut times = 1;
    loop {
        let taken = case(times)?;
        if taken >= MIN_TURN || times >= 1 << 20 {
            return Ok(times);
        }
        times *= 2;
    }
}

impl Rounds {
    fn of(&self, case: Case) -> &[f64] {
        self.0.get(case.0).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the median duration of a case in seconds.
    pub(crate) fn seconds(&self, case: Case) -> f64 {
        median(self.of(case).to_vec())
    }

    /// Returns the median of the ratios of the rounds.
    pub(crate) fn ratio(&self, case: Case, to: Case) -> f64 {
        median(self.of(case).iter().zip(self.of(to)).map(|(case, to)| case / to).collect())
    }
}

/// Returns the median, or 0 for an empty list.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.saturating_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(middle)) => *middle,
        _ => 0.0,
    }
}
