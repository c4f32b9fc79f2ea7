//! The first resolution of a process, sandboxed and native. The sandboxed child has a warm compile cache.
//!
//! Both children read a bundle archive and verify it like a Runtime. Then one starts a sandbox, loads the resolver and
//! calls it; the other resolves natively. Each child prints the CPU time of all its threads, from its start until all
//! resources are released.

use std::path::Path;
use std::process::Command;

use bundles::{Acceptances, Bundle, BundleLimits, archive};
use component_host::BundleView;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::generated::{self, Extent, PROMPT_BYTES};
use crate::measure::{median, process_time};
use crate::native::{NativeCase, ParsedBundle};
use crate::parts::DEPTH;
use crate::sandboxed::{self, SandboxedCase};

/// File and folder names below the folder of the children.
const BUNDLE: &str = "bundle";
const CACHE: &str = "cache";

/// Kind of resolution in a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// In the sandbox.
    Sandboxed,
    /// Without one.
    Native,
}

impl Side {
    /// Returns the name on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sandboxed => "sandboxed",
            Self::Native => "native",
        }
    }
}

/// Returns the ratio sandboxed ÷ native, and the native CPU time in seconds.
pub(crate) fn cold_vs_native(runtime: &Runtime, folder: &Path, rounds: usize) -> Outcome<(f64, f64)> {
    let bundle = generated::bundle(Extent::Bytes(64 << 10), DEPTH, PROMPT_BYTES)?;
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

/// Runs a child and returns its CPU time in seconds.
fn start(side: Side, folder: &Path) -> Outcome<f64> {
    let output = Command::new(std::env::current_exe()?).args(["--child", side.word()]).arg(folder).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse::<f64>()?)
}

/// Runs in a child. Returns the CPU time of the process in seconds.
pub(crate) fn child(side: Side, folder: &Path) -> Outcome<f64> {
    {
        let packed = std::fs::read(folder.join(BUNDLE))?;
        let bundle = archive::unpack(&packed, &BundleLimits::default(), Acceptances::Refuse)?;
        resolve(side, folder, bundle)?;
    }
    Ok(process_time().as_secs_f64())
}

fn resolve(side: Side, folder: &Path, bundle: Bundle) -> Outcome<()> {
    let (facts, request) = (generated::facts()?, generated::request(DEPTH)?);
    match side {
        Side::Native => {
            std::hint::black_box(NativeCase::new(&facts, &request).resolve(&ParsedBundle(bundle.manifest()))?);
            Ok(())
        }
        Side::Sandboxed => {
            let runtime = sandboxed::runtime()?;
            let sandbox = sandboxed::sandbox(Some(&folder.join(CACHE)))?;
            let resolver = sandboxed::shipped_resolver(&runtime, &sandbox)?;
            let view = BundleView::new(bundle);
            let case = SandboxedCase { resolver: &resolver, view: &view, facts: &facts, request: &request };
            runtime.block_on(case.once())
        }
    }
}
