//! Rust bindings of the contract, generated from `wit/`. Only this package uses these types.
#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated")]

/// The world `resolver`.
pub(crate) mod resolver {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "yoi:runtime/resolver",
        imports: { default: trappable },
        exports: { default: async },
        with: { "yoi:resolver/bundle.handle": crate::resolver::Handle },
    });
}
