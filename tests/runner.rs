//! One runner, one file per behaviour.

mod resolver_cases;

/// Not a test of its own: the compiling child of the others, which start this binary again. The
/// harness says something on stdout before, which the protocol allows, and nothing after.
#[test]
#[ignore = "serves the other tests as their compiling child"]
fn compile_child() {
    std::process::exit(component_host::compile::child::main().into());
}
