//! What a warm resolution asks of the kernel, where memory is kept resident: nothing that maps,
//! protects or advises memory, each of which takes a lock that all threads of a process share.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use component_host::{Allocation, BundleView, Sandbox, SandboxConfig};
use worker_runtime::shipped;
use yoi_tests::{fixtures, sandboxes};

/// How many resolutions the traced process does, besides those that fill its pool.
const COUNT: &str = "YOI_WARM_RESOLUTIONS";

/// Not a test of its own: what the other one traces.
#[test]
#[ignore = "is traced by another test, which says how much to do"]
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

/// Calls by name, of a process that does `count` warm resolutions.
fn traced(count: usize, folder: &Path) -> BTreeMap<String, i64> {
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
fn a_warm_resolution_maps_protects_and_advises_no_memory() {
    if Command::new("strace").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "`strace` is missing");
        eprintln!("skipped: `strace` is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (few, many) = (100, 1100);
    let (few_calls, many_calls) = (traced(few, folder.path()), traced(many, folder.path()));
    assert!(few_calls.contains_key("mmap"), "the trace saw something: {few_calls:?}");
    let more = |name: &str| {
        let of = |calls: &BTreeMap<String, i64>| calls.get(name).copied().unwrap_or(0);
        of(&many_calls) - of(&few_calls)
    };
    // A thousand resolutions more. A handful of calls comes from the harness and the allocator.
    for name in ["mmap", "munmap", "mprotect", "madvise", "mremap", "brk", "pkey_mprotect"] {
        assert!(more(name).abs() < 20, "{} of `{name}` more for 1000 resolutions: {many_calls:?}", more(name));
    }
    // One question after the pages that were written, where the kernel can answer it.
    assert!(more("ioctl") <= 1000, "{many_calls:?}");
}
