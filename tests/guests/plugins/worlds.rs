//! Components of other worlds, bytes that are not a component, and components of too many parts.

use super::{Expect, HostilePlugin, add, component};

use component::Plugin;

pub(super) fn worlds(all: &mut Vec<HostilePlugin>) {
    let foreign = Expect::RefusedLoad("foreign_import");
    for (name, import) in [
        (
            "import_environment",
            r#"(import "wasi:cli/environment@0.2.3" (instance
            (export "get-environment" (func (result (list (tuple string string)))))))"#,
        ),
        ("import_of_a_resolver", r#"(import "yoi:resolver/bundle@1.0.0" (instance))"#),
        ("import_another_version", r#"(import "yoi:host/log@1.0.1" (instance (export "write" (func))))"#),
        ("import_function", r#"(import "print" (func (param "text" string)))"#),
        ("import_core_module", r#"(import "engine" (core module))"#),
    ] {
        refused(all, name, wat::parse_str(format!("(component {import})")).expect("a component"), foreign);
    }
    let nothing = wat::parse_str("(component (core module))").expect("a component");
    refused(all, "export_nothing", nothing, Expect::RefusedLoad("missing_export"));
    refused(all, "core_module", Plugin::tool().core(), Expect::RefusedLoad("core_module"));
    refused(all, "text", b"(component)".to_vec(), Expect::RefusedLoad("wasm_text"));
    refused(all, "export_with_another_type", component::of_another_type(), Expect::RefusedLoad("contract_mismatch"));
    let log = r#"(import "yoi:host/log@1.0.0" (instance (export "write" (func (param "text" string)))))
        (instance $tools) (export "yoi:plugin/tools@1.0.0" (instance $tools))"#;
    let log = wat::parse_str(format!("(component {log})")).expect("a component");
    refused(all, "import_with_another_type", log, Expect::RefusedLoad("contract_mismatch"));
    // A service may be loaded as a tool: it has the same imports and exports more.
    add(all, "service_as_tool", Plugin::service(), Expect::Answers("0"));
}

pub(super) fn parts(all: &mut Vec<HostilePlugin>) {
    for (name, field, count, limit) in [
        ("many_instances", "", 100, "instances"),
        ("many_memories", "(memory 0)", 20, "memories"),
        ("many_tables", "(table 0 funcref)", 40, "tables"),
        ("table_beyond_the_limit", "(table 17000 funcref)", 1, "table_elements"),
    ] {
        refused(all, name, with_instances(field, count), Expect::Limit(limit));
    }
    refused(all, "too_many_instances", with_instances("", 2000), Expect::RefusedLoad("over_budget"));
    refused(all, "memory_beyond_the_budget", with_instances("(memory 1100)", 1), Expect::RefusedLoad("over_budget"));
}

fn refused(all: &mut Vec<HostilePlugin>, name: &'static str, bytes: Vec<u8>, expect: Expect) {
    all.push(HostilePlugin { name, bytes, expect });
}

/// Returns a tool that also instantiates a core module with the given field several times.
fn with_instances(field: &str, count: usize) -> Vec<u8> {
    let mut bytes = Plugin::tool().bytes();
    // Sections can be appended to a component. The module of the tool has the index 0.
    let module = wat::parse_str(format!("(module {field})")).expect("a module");
    let mut instances = wasm_encoder::InstanceSection::new();
    for _ in 0..count {
        instances.instantiate(1, Vec::<(&str, wasm_encoder::ModuleArg)>::new());
    }
    let module = wasm_encoder::RawSection { id: wasm_encoder::ComponentSectionId::CoreModule.into(), data: &module };
    wasm_encoder::ComponentSection::append_to_component(&module, &mut bytes);
    wasm_encoder::ComponentSection::append_to_component(&instances, &mut bytes);
    bytes
}
