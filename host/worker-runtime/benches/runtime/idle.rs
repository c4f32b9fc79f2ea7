//! Resident memory of an idle worker: the growth of a process after it has created many workers, divided by their
//! number.
//!
//! Stores are in memory, so rows and records count too. Each worker requires a different set of capabilities, so no two
//! share a record. The measurement runs in its own process, where no previously freed memory hides the growth.

use std::process::Command;

use worker_runtime::RuntimeLimits;
use worker_runtime::worker::CreateWorkerRequest;

use crate::create::{self, DistinctRequests};
use crate::{Outcome, generated, sandboxed};

/// Argument that starts this program as the measured process.
pub(crate) const ARGUMENT: &str = "--idle";

/// Returns the memory of a worker in KiB.
pub(crate) fn measure(workers: usize) -> Outcome<f64> {
    let output = Command::new(std::env::current_exe()?).args([ARGUMENT, &workers.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Runs in the measured process. Returns the memory of a worker in KiB.
pub(crate) async fn child(workers: usize) -> Outcome<f64> {
    let sandbox = sandboxed::sandbox(None)?;
    let requests = DistinctRequests::new()?;
    let (runtime, bundle) = create::runtime(&requests, &sandbox, RuntimeLimits::default()).await?;
    let catalogue = runtime.catalogue(&"acme".parse()?);
    let make = async |number: usize| -> Outcome<()> {
        let mut request = CreateWorkerRequest::of_bundle(generated::profile(4).parse()?, bundle.digest());
        request.required_capabilities = requests.required(number);
        catalogue.create(format!("worker-{number}").parse()?, request).await?;
        Ok(())
    };
    // The first worker allocates what all workers share.
    make(0).await?;
    let before = resident_kib()?;
    for number in 1..=workers {
        make(number).await?;
    }
    Ok((resident_kib()? - before) / workers as f64)
}

/// Returns the resident memory of this process in KiB.
fn resident_kib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("/proc/self/status has no VmRSS")?;
    Ok(line.split_whitespace().next().ok_or("/proc/self/status has no VmRSS")?.parse()?)
}
