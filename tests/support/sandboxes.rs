//! Sandboxes for tests. They compile in a child process, which is the test binary itself, run again.

use std::sync::OnceLock;

use component_host::compile::Compiler;
use component_host::{Allocation, Limits, Resolver, Sandbox, SandboxConfig};

/// The ignored test of the runner that serves as the compiling child.
pub const CHILD_TEST: &str = "compile_child";

/// The test binary itself, as compiling child.
pub fn child() -> Compiler {
    let arguments = ["--exact", CHILD_TEST, "--ignored", "--nocapture"];
    Compiler::Child {
        program: std::env::current_exe().expect("the test binary"),
        arguments: arguments.map(Into::into).to_vec(),
    }
}

/// A sandbox of these limits.
pub fn with_limits(limits: Limits) -> Sandbox {
    let config = SandboxConfig { limits, allocation: Allocation::Pooled, compiler: child(), cache: None };
    Sandbox::new(config).expect("a sandbox")
}

/// The sandbox that most tests share.
pub fn shared() -> &'static Sandbox {
    static SHARED: OnceLock<Sandbox> = OnceLock::new();
    SHARED.get_or_init(|| with_limits(Limits::default()))
}

/// The resolver that ships inside, or the one that `YOI_RESOLVER_UNDER_TEST` names: `cargo xtask
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

/// Waits for what runs in a sandbox.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
