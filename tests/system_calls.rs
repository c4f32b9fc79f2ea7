//! System calls of a warm resolution with resident memory. It must not map, protect or advise memory, because each of
//! these calls takes a lock that all threads of a process share.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use component_host::{Allocation, BundleView, Sandbox, SandboxConfig};
use worker_runtime::shipped;
use yoi_tests::{fixtures, sandboxes};

/// Environment variable with the number of resolutions in the traced process, in addition to those that fill its pool.
const COUNT: &str = "YOI_WARM_RESOLUTIONS";

/// The program that the other test traces. It is not a test itself.
#[test]
#[ignore = "run by the other test, which sets the number of resolutions"]
fn warm_resolutions() {
    let count: usize = std::env::var(COUNT).expect("a count").parse().expect("a number");
    let config = SandboxConfig { allocation: Allocation::PooledResident, ..SandboxConfig::default() };
    let sandbox = Sandbox::new(config).expect("a sandbox");
    let bundle = BundleView::new(shipped::bundle().expect("a bundle"));
    let (facts, request) = (fixtures::simple_facts(), fixtures::request("coder"));
    sandboxes::wait(async {
        let resolver = sandbox.load(shipped::RESOLVER).await.expect("the shipped resolver");
        for _ in 0..20 + count {
            let run = resolver.resolve(&bundle, &facts, &request).await;
            run.answer.expect("an answer").expect("a proposal");
        }
    });
}

/// Returns the number of system calls by name in a process with `count` warm resolutions.
fn traced_calls(count: usize, folder: &Path) -> BTreeMap<String, i64> {
    let table = folder.join(count.to_string());
    let status = Command::new("strace")
        .args(["-f", "-qq", "-U", "calls,name", "-c", "-o"])
        .arg(&table)
        .arg(std::env::current_exe().expect("the test binary"))
        .args(["--exact", "system_calls::warm_resolutions", "--ignored", "--test-threads=1"])
        .env(COUNT, count.to_string())
        .output()
        .expect("strace runs");
    assert!(status.status.success(), "{status:?}");
    let table = std::fs::read_to_string(table).expect("a table");
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let calls = words.next()?.parse().ok()?;
        words.next().map(|name| (name.to_owned(), calls))
    };
    table.lines().filter_map(row).filter(|(name, _)| name != "total").collect()
}

#[test]
fn warm_resolution_does_not_map_protect_or_advise_memory() {
    if Command::new("strace").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "`strace` is missing");
        eprintln!("skipped: `strace` is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (few, many) = (100, 1100);
    let (few_calls, many_calls) = (traced_calls(few, folder.path()), traced_calls(many, folder.path()));
    assert!(few_calls.contains_key("mmap"), "the trace is empty: {few_calls:?}");
    let more = |name: &str| {
        let of = |calls: &BTreeMap<String, i64>| calls.get(name).copied().unwrap_or(0);
        of(&many_calls) - of(&few_calls)
    };
    // The difference is a thousand resolutions. A few calls come from the test harness and the allocator.
    for name in ["mmap", "munmap", "mprotect", "madvise", "mremap", "brk", "pkey_mprotect"] {
        assert!(more(name).abs() < 20, "{} of `{name}` more for 1000 resolutions: {many_calls:?}", more(name));
    }
    // One query for the written pages in each resolution, if the kernel supports it.
    assert!(more("ioctl") <= 1000, "{many_calls:?}");
}
