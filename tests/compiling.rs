//! Compilation in a child process: the name of every exceeded limit, and the compile cache.

use component_host::compile::Compiler;
use component_host::compile::cache::CompileCache;
use component_host::{Allocation, Limits, LoadError, Sandbox, SandboxConfig};
use worker_runtime::shipped::RESOLVER;
use yoi_tests::{root, sandboxes};

fn load(limits: Limits, compiler: Compiler, component: &[u8]) -> Result<(), LoadError> {
    let config = SandboxConfig { limits, compiler, allocation: Allocation::OnDemand, cache: None };
    let sandbox = Sandbox::new(config).expect("a sandbox");
    sandboxes::wait(sandbox.load(component)).map(|_| ())
}

fn quickjs() -> Vec<u8> {
    std::fs::read(root().join("tests/guests/quickjs/resolver.wasm")).expect("a large component")
}

#[test]
fn compilation_that_exceeds_its_processor_time_is_killed() {
    let mut limits = Limits::default();
    limits.compile.compile_ms = 1;
    let error = load(limits, sandboxes::child(), &quickjs()).expect_err("refused");
    assert!(matches!(error, LoadError::CompileLimit { limit: "compile_ms", allowed: 1 }), "{error}");
    assert_eq!(error.to_string(), "compiling the component took more than 1 ms of processor time (`compile_ms`)");
}

#[test]
fn compilation_that_exceeds_its_wall_clock_time_is_killed_and_may_be_repeated() {
    let compiler = |program: &str| Compiler::Child { program: program.into(), arguments: vec!["1000".into()] };
    let mut limits = Limits::default();
    limits.compile.compile_wall_ms = 100;
    let config = SandboxConfig { limits, compiler: compiler("sleep"), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(config).expect("a sandbox");
    for _ in 0..2 {
        let error = sandboxes::wait(sandbox.load(RESOLVER)).expect_err("nothing is compiled");
        assert!(matches!(error, LoadError::CompileLimit { limit: "compile_wall_ms", allowed: 100 }), "{error}");
        assert!(error.to_string().contains("100 ms of wall-clock time (`compile_wall_ms`)"), "{error}");
    }
}

#[test]
fn compilation_that_exceeds_its_memory_fails_in_the_child() {
    // The smallest value does not suffice to start the threads, the largest one nearly suffices to compile.
    for megabytes in [8, 20, 50, 96] {
        let mut limits = Limits::default();
        limits.compile.compile_memory_bytes = megabytes << 20;
        let error = load(limits, sandboxes::child(), &quickjs()).expect_err("refused");
        assert!(matches!(error, LoadError::CompileLimit { limit: "compile_memory_bytes", .. }), "{megabytes}: {error}");
    }
    load(Limits::default(), sandboxes::child(), RESOLVER).expect("the next one compiles");
}

#[test]
fn machine_code_above_the_limit_is_refused() {
    for compiler in [sandboxes::child(), Compiler::InProcess] {
        let mut limits = Limits::default();
        limits.compile.compiled_bytes = 1000;
        let error = load(limits, compiler, RESOLVER).expect_err("refused");
        assert!(matches!(error, LoadError::CompileLimit { limit: "compiled_bytes", .. }), "{error}");
    }
}

#[test]
fn failure_of_the_helper_program_is_not_an_error_of_the_component() {
    for (program, arguments) in [("no-such-program", vec![]), ("true", vec![]), ("cat", vec!["-".into()])] {
        let compiler = Compiler::Child { program: program.into(), arguments };
        let error = load(Limits::default(), compiler, RESOLVER).expect_err("refused");
        assert!(matches!(error, LoadError::Compiler { .. }), "{program}: {error}");
    }
}

#[test]
fn compilation_without_a_child_uses_the_tighter_budget() {
    load(Limits::default(), Compiler::InProcess, RESOLVER).expect("the shipped resolver is small");
    let mut limits = Limits::default();
    limits.structure.functions = 3;
    let error = load(limits, Compiler::InProcess, RESOLVER).expect_err("refused");
    assert_eq!(error.code(), "over_budget");
}

#[test]
fn cached_component_is_not_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |compiler| {
        let cache = Some(CompileCache::open(&folder.path().join("cache")).expect("a cache"));
        Sandbox::new(SandboxConfig { cache, compiler, ..SandboxConfig::default() }).expect("a sandbox")
    };
    let missing = || Compiler::Child { program: "no-such-program".into(), arguments: vec![] };
    sandboxes::wait(async {
        open(missing()).load(RESOLVER).await.expect_err("the compiler is missing");
        open(sandboxes::child()).load(RESOLVER).await.expect("compiled");
        open(missing()).load(RESOLVER).await.expect("found in the cache");
    });
}

#[test]
fn concurrent_loads_of_a_component_compile_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = folder.path().join("count");
    let Compiler::Child { program, arguments } = sandboxes::child() else { panic!("a child") };
    let counted = format!("echo >> '{}'; exec \"$0\" \"$@\"", count.display());
    let before = ["-c".into(), counted.into(), program.into_os_string()];
    let compiler =
        Compiler::Child { program: "/bin/sh".into(), arguments: before.into_iter().chain(arguments).collect() };
    let cache = Some(CompileCache::open(&folder.path().join("cache")).expect("a cache"));
    let sandbox = Sandbox::new(SandboxConfig { cache, compiler, ..SandboxConfig::default() }).expect("a sandbox");
    let loaded =
        sandboxes::wait(async { tokio::join!(sandbox.load(RESOLVER), sandbox.load(RESOLVER), sandbox.load(RESOLVER)) });
    assert!(loaded.0.is_ok() && loaded.1.is_ok() && loaded.2.is_ok());
    assert_eq!(std::fs::read_to_string(count).expect("text").lines().count(), 1);
}

#[test]
fn compiled_code_is_refused_as_a_component() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = CompileCache::open(&folder.path().join("cache")).expect("a cache");
    let sandbox =
        Sandbox::new(SandboxConfig { cache: Some(cache), compiler: sandboxes::child(), ..SandboxConfig::default() })
            .expect("a sandbox");
    sandboxes::wait(sandbox.load(RESOLVER)).expect("compiled");
    let entry =
        std::fs::read_dir(folder.path().join("cache")).expect("read").map(|entry| entry.expect("an entry").path());
    let entry = entry
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
        .expect("an entry");
    let compiled = std::fs::read(entry).expect("read");
    for bytes in [compiled.as_slice(), &compiled[..compiled.len() - 32]] {
        assert_eq!(sandboxes::wait(sandbox.load(bytes)).expect_err("refused").code(), "not_wasm");
    }
}
