//! Throughput of two threads compared with one.
//!
//! Contention between threads takes no CPU time, so the throughput is measured in elapsed time, minus the time that a
//! runnable thread waited for a processor. On a busy machine the result is some percent too high. The same holds for
//! native threads, whose ratio is printed too: its excess over two is the error.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use component_host::{BundleView, Resolver};

use crate::Outcome;
use crate::generated::{self, Extent, PROMPT_BYTES};
use crate::measure::median;
use crate::native::{NativeCase, PreparedBundle};
use crate::parts::DEPTH;
use crate::sandboxed::{self, SandboxedCase};

/// Elapsed time of one turn.
const TURN: Duration = Duration::from_millis(25);

/// Returns the throughput of two threads ÷ one thread, in fresh instances and natively.
pub(crate) fn two_vs_one(resolver: &Resolver, rounds: usize) -> Outcome<(f64, f64)> {
    let bundle = generated::bundle(Extent::Bytes(64 << 10), DEPTH, PROMPT_BYTES)?;
    let (facts, request) = (generated::facts()?, generated::request(DEPTH)?);
    let view = BundleView::new(bundle.clone());
    let prepared = PreparedBundle::new(bundle.manifest())?;
    let question = NativeCase::new(&facts, &request);
    let sandboxed = || {
        let runtime = sandboxed::runtime()?;
        let case = SandboxedCase { resolver, view: &view, facts: &facts, request: &request };
        Ok(move |until: Instant| {
            runtime.block_on(async {
                let mut done = 0u32;
                while Instant::now() < until {
                    case.once().await?;
                    done += 1;
                }
                Ok(done)
            })
        })
    };
    let native = || {
        Ok(|until: Instant| {
            let mut done = 0u32;
            while Instant::now() < until {
                std::hint::black_box(question.resolve(&prepared)?);
                done += 1;
            }
            Ok(done)
        })
    };
    let (mut fresh, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        fresh.push(throughput(2, &sandboxed)? / throughput(1, &sandboxed)?);
        plain.push(throughput(2, &native)? / throughput(1, &native)?);
    }
    Ok((median(fresh), median(plain)))
}

/// Returns the runs per second of threads that start at the same time.
fn throughput<W>(threads: usize, prepare: &(impl Fn() -> Outcome<W> + Sync)) -> Outcome<f64>
where
    W: FnMut(Instant) -> Outcome<u32>,
{
    let begin = Barrier::new(threads);
    let one = || {
        // A thread whose preparation failed must still reach the barrier, or the other one would wait forever.
        let prepared = prepare();
        begin.wait();
        let mut work = prepared.map_err(|error| error.to_string())?;
        let (started, waited_before) = (Instant::now(), run_queue_wait());
        let done = work(started + TURN).map_err(|error| error.to_string())?;
        let taken = started.elapsed().saturating_sub(run_queue_wait().saturating_sub(waited_before));
        Ok::<f64, String>(f64::from(done) / taken.as_secs_f64())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let mut all = 0.0;
        for thread in threads {
            all += thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(all)
    })
}

/// Returns the time that this thread has waited for a processor while it was runnable. Returns zero if the system does
/// not report it.
fn run_queue_wait() -> Duration {
    // The file has three numbers: nanoseconds on a processor, nanoseconds waiting for one, and time slices.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
}
