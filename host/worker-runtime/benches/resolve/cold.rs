//! The first resolution of a process: this program again, once with a sandbox and a warm compile
//! cache and once without any.
//!
//! Both read a bundle in its single-file form and verify it as every Runtime does; one then starts a
//! sandbox, loads the resolver and asks it, the other resolves natively. Each says what CPU time its
//! process took, of all its threads, from its start until everything it had is given back.

use std::path::Path;
use std::process::Command;

use bundles::{Acceptances, Bundle, BundleLimits, archive};
use component_host::BundleView;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::made::{self, Extent, PROMPT_BYTES};
use crate::measure::{median, process_time};
use crate::native::{JustParsed, Question};
use crate::parts::DEPTH;
use crate::sandboxed::{self, Asked};

/// Where the children find what they need, below a folder of their own.
const BUNDLE: &str = "bundle";
const CACHE: &str = "cache";

/// How a child is to resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// In the sandbox.
    Sandboxed,
    /// Without one.
    Native,
}

impl Side {
    /// The word for it on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sandboxed => "sandboxed",
            Self::Native => "native",
        }
    }
}

/// Sandboxed ÷ native.
pub(crate) fn cold_vs_native(runtime: &Runtime, folder: &Path, rounds: usize) -> Outcome<(f64, f64)> {
    let bundle = made::bundle(Extent::Bytes(64 << 10), DEPTH, PROMPT_BYTES)?;
    std::fs::write(folder.join(BUNDLE), archive::pack(&bundle))?;
    sandboxed::shipped_resolver(runtime, &sandboxed::sandbox(Some(&folder.join(CACHE)))?)?;
    let (mut ratios, mut natives) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let native = start(Side::Native, folder)?;
        ratios.push(start(Side::Sandboxed, folder)? / native);
        natives.push(native);
    }
    Ok((median(ratios), median(natives)))
}

/// Starts a child, and returns the seconds that it took.
fn start(side: Side, folder: &Path) -> Outcome<f64> {
    let output = Command::new(std::env::current_exe()?).args(["--child", side.word()]).arg(folder).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse::<f64>()?)
}

/// What a child does. Returns the seconds of CPU time that its process took.
pub(crate) fn child(side: Side, folder: &Path) -> Outcome<f64> {
    {
        let packed = std::fs::read(folder.join(BUNDLE))?;
        let bundle = archive::unpack(&packed, &BundleLimits::default(), Acceptances::Refuse)?;
        resolve(side, folder, bundle)?;
    }
    Ok(process_time().as_secs_f64())
}

fn resolve(side: Side, folder: &Path, bundle: Bundle) -> Outcome<()> {
    let (facts, request) = (made::facts()?, made::request(DEPTH)?);
    match side {
        Side::Native => {
            std::hint::black_box(Question::new(&facts, &request).resolve(&JustParsed(bundle.manifest()))?);
            Ok(())
        }
        Side::Sandboxed => {
            let runtime = sandboxed::runtime()?;
            let sandbox = sandboxed::sandbox(Some(&folder.join(CACHE)))?;
            let resolver = sandboxed::shipped_resolver(&runtime, &sandbox)?;
            let view = BundleView::new(bundle);
            let asked = Asked { resolver: &resolver, view: &view, facts: &facts, request: &request };
            runtime.block_on(asked.once())
        }
    }
}
