//! Two threads beside one. Waiting for each other is what would keep threads from scaling, and takes no
//! CPU time, so throughput goes by the wall clock, less the time that a thread could have run and other
//! work had the processor. On a busy machine that makes it come out some percent too high, for native
//! threads as well, which are printed beside: what they pass two by is the error.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use component_host::{BundleView, Resolver};

use crate::Outcome;
use crate::made::{self, Extent, PROMPT_BYTES};
use crate::measure::median;
use crate::native::{Question, Ready};
use crate::parts::DEPTH;
use crate::sandboxed::{self, Asked};

/// Wall-clock time of one turn.
const TURN: Duration = Duration::from_millis(25);

/// Two threads' throughput ÷ one's: in fresh instances, and natively.
pub(crate) fn two_vs_one(resolver: &Resolver, rounds: usize) -> Outcome<(f64, f64)> {
    let bundle = made::bundle(Extent::Bytes(64 << 10), DEPTH, PROMPT_BYTES)?;
    let (facts, request) = (made::facts()?, made::request(DEPTH)?);
    let view = BundleView::new(bundle.clone());
    let ready = Ready::new(bundle.manifest())?;
    let question = Question::new(&facts, &request);
    let sandboxed = || {
        let runtime = sandboxed::runtime()?;
        let asked = Asked { resolver, view: &view, facts: &facts, request: &request };
        Ok(move |until: Instant| {
            runtime.block_on(async {
                let mut done = 0u32;
                while Instant::now() < until {
                    asked.once().await?;
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
                std::hint::black_box(question.resolve(&ready)?);
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

/// How much so many threads do in a second, all beginning at once.
fn throughput<W>(threads: usize, prepare: &(impl Fn() -> Outcome<W> + Sync)) -> Outcome<f64>
where
    W: FnMut(Instant) -> Outcome<u32>,
{
    let begin = Barrier::new(threads);
    let one = || {
        // A thread that gives up must not leave the other waiting.
        let prepared = prepare();
        begin.wait();
        let mut work = prepared.map_err(|error| error.to_string())?;
        let (started, kept_off) = (Instant::now(), kept_off_processor());
        let done = work(started + TURN).map_err(|error| error.to_string())?;
        let taken = started.elapsed().saturating_sub(kept_off_processor().saturating_sub(kept_off));
        Ok::<f64, String>(f64::from(done) / taken.as_secs_f64())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let mut all = 0.0;
        for thread in threads {
            all += thread.join().map_err(|_| "a thread died")??;
        }
        Ok(all)
    })
}

/// How long this thread could have run and did not, so far; nothing where the system does not say.
fn kept_off_processor() -> Duration {
    // Nanoseconds on a processor, nanoseconds waiting for one, turns.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
}
