//! What a worker costs that nobody calls: the memory that a process has more of, resident, after it has
//! made so many, divided by their number.
//!
//! Stores are in memory, so rows and records count too. No two workers share a record: each requires
//! another set of capabilities. A process of its own, so that nothing that was freed before hides it.

use std::process::Command;

use worker_runtime::worker::CreateWorkerRequest;

use crate::create::{self, Questions};
use crate::{Outcome, made, sandboxed};

/// What makes this program such a process.
pub(crate) const ARGUMENT: &str = "--idle";

/// KiB of a worker.
pub(crate) fn measure(workers: usize) -> Outcome<f64> {
    let output = Command::new(std::env::current_exe()?).args([ARGUMENT, &workers.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// What the process does.
pub(crate) async fn child(workers: usize) -> Outcome<f64> {
    let sandbox = sandboxed::sandbox(None)?;
    let questions = Questions::new()?;
    let (runtime, bundle) = create::runtime(&questions, &sandbox).await?;
    let catalogue = runtime.catalogue(&"acme".parse()?);
    let make = async |number: usize| -> Outcome<()> {
        let mut request = CreateWorkerRequest::of_bundle(made::profile(4).parse()?, bundle.digest());
        request.required_capabilities = questions.required(number);
        catalogue.create(format!("worker-{number}").parse()?, request).await?;
        Ok(())
    };
    // The first one fills what all of them share.
    make(0).await?;
    let before = resident_kib()?;
    for number in 1..=workers {
        make(number).await?;
    }
    Ok((resident_kib()? - before) / workers as f64)
}

/// KiB of memory that this process has resident.
fn resident_kib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the system does not say")?;
    Ok(line.split_whitespace().next().ok_or("the system does not say")?.parse()?)
}
