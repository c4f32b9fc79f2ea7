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

/// The world `service`. A component of the world `tool` has the same imports, and its export is one of the two of a
/// service. It therefore needs no bindings of its own.
pub(crate) mod plugin {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "yoi:runtime/service",
        imports: {
            "yoi:host/request.send": async | trappable,
            "yoi:host/websocket.[static]connection.open": async | trappable,
            "yoi:host/websocket.[method]connection.send": async | trappable,
            "yoi:host/websocket.[method]connection.receive": async | trappable,
            "yoi:host/websocket.[method]connection.close": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: { "yoi:host/websocket.connection": crate::plugin::ConnectionHandle },
    });
}
