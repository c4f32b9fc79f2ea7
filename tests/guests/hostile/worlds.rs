//! Components of other worlds, and bytes that are not a component.

use super::{
    Expect, Hostile, add,
    answer::{Answer, Resolution},
    component::Code,
    source,
};

pub(super) fn worlds(all: &mut Vec<Hostile>) {
    let with = |place, text: &str| Code::answers(&Answer::Resolved(Resolution::default())).with(place, text);
    let foreign = Expect::RefusedLoad("foreign_import");
    for (name, import) in [
        (
            "import_environment",
            r#"(import "wasi:cli/environment@0.2.3" (instance
            (export "get-environment" (func (result (list (tuple string string)))))))"#,
        ),
        (
            "import_sockets",
            r#"(import "wasi:sockets/instance-network@0.2.3" (instance
            (export "network" (type (sub resource)))))"#,
        ),
        (
            "import_filesystem",
            r#"(import "wasi:filesystem/preopens@0.2.3" (instance
            (export "descriptor" (type (sub resource)))))"#,
        ),
        ("import_clock", r#"(import "wasi:clocks/wall-clock@0.2.3" (instance (export "now" (func (result u64)))))"#),
        (
            "import_random",
            r#"(import "wasi:random/random@0.2.3" (instance
            (export "get-random-u64" (func (result u64)))))"#,
        ),
        (
            "import_request",
            r#"(import "yoi:host/request@1.0.0" (instance
            (export "send" (func (param "url" string)))))"#,
        ),
        ("import_unknown_interface", r#"(import "yoi:resolver/admin@1.0.0" (instance (export "grant" (func))))"#),
        ("import_another_version", r#"(import "yoi:resolver/bundle@2.0.0" (instance (export "list" (func))))"#),
        ("import_without_a_version", r#"(import "yoi:resolver/bundle" (instance (export "list" (func))))"#),
        ("import_function", r#"(import "print" (func (param "text" string)))"#),
        ("import_core_module", r#"(import "engine" (core module))"#),
        ("import_component", r#"(import "helper" (component))"#),
        (
            "import_resource_of_others",
            r#"(import "wasi:io/streams@0.2.3" (instance (export "t" (type (sub resource)))))"#,
        ),
    ] {
        add(all, name, with("imports_before", import), foreign);
    }
    add(all, "other_version_of_everything", with("version", "1.1.0"), foreign);
    let function = r#"(export "[method]handle.grant" (func (param "self" (borrow $handle))))"#;
    add(all, "import_of_a_function_that_there_is_not", with("bundle", function), Expect::RefusedLink);
    add(all, "import_with_another_type", with("declares", "(list u8)"), Expect::RefusedLink);
    add(all, "export_with_another_type", with("resolved", "string"), Expect::RefusedLink);
    add(all, "export_of_another_name", with("function", "decide"), Expect::RefusedLink);
    // Constructs of toolchains, and constructs that must not harm the compiler.
    add(all, "adapter_between_memories", with("exports", source!("adapter_between_memories")), Expect::Resolved);
    add(all, "export_more", with("exports", "(export \"init\" (func $resolve))"), Expect::Resolved);
    let missing = b"(component (core module))";
    let missing = wat::parse_bytes(missing).expect("a component").into_owned();
    all.push(Hostile { name: "export_nothing", bytes: missing, expect: Expect::RefusedLoad("missing_export") });
    let empty = r#"(component (instance $none) (export "yoi:resolver/resolve@1.0.0" (instance $none)))"#;
    let empty = wat::parse_str(empty).expect("a component");
    all.push(Hostile { name: "export_empty_interface", bytes: empty, expect: Expect::RefusedLink });
}

/// Damaged components, and bytes that are not a component.
pub(super) fn bytes(all: &mut Vec<Hostile>) {
    let honest = Code::answers(&Answer::Resolved(Resolution::default()));
    let whole = honest.bytes();
    let mut refused = |name, bytes: Vec<u8>, code| {
        all.push(Hostile { name, bytes, expect: Expect::RefusedLoad(code) });
    };
    refused("nothing", Vec::new(), "not_wasm");
    refused("random_bytes", noise(4096), "not_wasm");
    refused("script", b"#!/bin/sh\nrm -rf /\n".to_vec(), "not_wasm");
    refused("component_text", honest.text().into_bytes(), "wasm_text");
    refused("core_module", wat::parse_str("(module)").expect("a module"), "core_module");
    refused("truncated", whole[..whole.len() / 2].to_vec(), "malformed_component");
    refused("truncated_header", whole[..6].to_vec(), "malformed_component");
    refused("random_bytes_after_a_header", [&whole[..8], &noise(4096)].concat(), "malformed_component");
    refused("followed_by_more", [&whole[..], &noise(64)].concat(), "malformed_component");
    let mut flipped = whole.clone();
    flipped[9] ^= 0x40;
    refused("corrupted_length", flipped, "malformed_component");
    // An undefined operator in a function body, which only a parser of bodies detects.
    let marker = [0x41, 0x10];
    let at = whole.windows(2).rposition(|window| window == marker).expect("an operator of the code");
    let mut corrupted = whole;
    corrupted[at] = 0xff;
    refused("corrupted_code", corrupted, "malformed_component");
}

/// Pseudo-random bytes with a fixed seed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
