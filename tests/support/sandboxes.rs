//! Sandboxes for tests. They compile in a child process, which is the test binary itself.

use std::sync::OnceLock;

use component_host::compile::Compiler;
use component_host::{Allocation, Limits, Resolver, Sandbox, SandboxConfig};

/// Name of the ignored test of the runner that acts as the compiling child.
pub const CHILD_TEST: &str = "compile_child";

/// Returns the test binary itself as the compiling child.
pub fn child() -> Compiler {
    let arguments = ["--exact", CHILD_TEST, "--ignored", "--nocapture"];
    Compiler::Child {
        program: std::env::current_exe().expect("the test binary"),
        arguments: arguments.map(Into::into).to_vec(),
    }
}

/// Creates a sandbox with the given limits.
pub fn with_limits(limits: Limits) -> Sandbox {
    let config = SandboxConfig { limits, allocation: Allocation::Pooled, compiler: child(), cache: None };
    Sandbox::new(config).expect("a sandbox")
}

/// Returns the sandbox that most tests share.
pub fn shared() -> &'static Sandbox {
    static SHARED: OnceLock<Sandbox> = OnceLock::new();
    SHARED.get_or_init(|| with_limits(Limits::default()))
}

/// Returns the built-in resolver, or the one that `YOI_RESOLVER_UNDER_TEST` names: `cargo xtask
/// guest verify` sets it to a component that another toolchain has built.
pub fn shipped() -> Resolver {
    static SHIPPED: OnceLock<Resolver> = OnceLock::new();
    let load = || {
        let bytes = match std::env::var_os("YOI_RESOLVER_UNDER_TEST") {
            Some(path) => std::fs::read(path).expect("the component under test"),
            None => worker_runtime::shipped::RESOLVER.to_vec(),
        };
        wait(shared().load(&bytes)).expect("the shipped resolver")
    };
    SHIPPED.get_or_init(load).clone()
}

/// Runs a future of a sandbox to completion.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
