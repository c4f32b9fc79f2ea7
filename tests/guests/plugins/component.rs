//! Makes components of the worlds `tool` and `service` from core code, so that each guest states only its own behaviour.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A builder of a plugin. Without changes, a tool returns its input, and a service the number of its turns.
#[derive(Clone)]
pub struct Plugin {
    world: &'static str,
    places: Vec<(&'static str, String)>,
}

impl Plugin {
    /// Creates a tool plugin.
    pub fn tool() -> Self {
        let places = [
            ("imports", ""),
            ("realloc", BUMP),
            ("data", ""),
            ("locals", ""),
            ("call", "(call $output (local.get $input) (local.get $input_length))"),
            ("more", ""),
        ];
        Self { world: "tool", places: places.map(|(place, text)| (place, text.to_owned())).into() }
    }

    /// Creates a service plugin.
    pub fn service() -> Self {
        let mut plugin = Self::tool().with("more", include_str!("service.wat.in")).with("call", "(call $digit)");
        plugin.world = "service";
        let handled = "(drop (call $turn)) (i32.store8 (i32.const 1152) (i32.const 0)) (i32.const 1152)";
        // Ready, with a detail of 1000 bytes.
        let status = "(i32.store8 (i32.const 1300) (i32.const 1)) (i32.store (i32.const 1304) (i32.const 65536))
            (i32.store (i32.const 1308) (i32.const 1000)) (i32.const 1300)";
        let turn = "(call $turn)";
        let places = [("start", turn), ("handle", handled), ("wake", turn), ("status", status), ("stop", "")];
        plugin.places.extend(places.map(|(place, text)| (place, text.to_owned())));
        plugin
    }

    /// Replaces the text of a placeholder.
    pub fn with(mut self, place: &str, text: impl Into<String>) -> Self {
        let found = self.places.iter_mut().find(|(name, _)| *name == place);
        found.unwrap_or_else(|| panic!("no place `{place}`")).1 = text.into();
        self
    }

    /// Copies texts of this plugin into another one.
    pub(super) fn places_into(&self, other: Self, places: &[&str]) -> Self {
        let texts = self.places.iter().filter(|(place, _)| places.contains(place));
        texts.fold(other, |other, (place, text)| other.with(place, text.clone()))
    }

    /// Returns the core module.
    pub fn core(&self) -> Vec<u8> {
        let template = include_str!("tool.wat.in").to_owned();
        let text = self.places.iter().fold(template, |text, (place, code)| text.replace(&format!("{{{place}}}"), code));
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// Returns the binary component.
    pub fn bytes(&self) -> Vec<u8> {
        let mut contract = Resolve::default();
        let (package, _) = contract.push_dir(crate::root().join("wit")).expect("the contract");
        encoded(self.core(), &contract, package, self.world)
    }
}

/// Encodes a core module as a component of a world.
fn encoded(mut core: Vec<u8>, contract: &Resolve, package: wit_parser::PackageId, world: &str) -> Vec<u8> {
    let world = contract.select_world(&[package], Some(world)).expect("the world");
    embed_component_metadata(&mut core, contract, world, StringEncoding::UTF8).expect("embedded");
    ComponentEncoder::default().module(&core).expect("a module").validate(true).encode().expect("a component")
}

/// Returns a component whose interface `tools` has another type than the contract.
pub fn of_another_type() -> Vec<u8> {
    let wit = "package yoi:plugin@1.0.0; interface tools { call: func(input: string) -> string; }
               world other { export tools; }";
    let core = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
        (func (export "yoi:plugin/tools@1.0.0#call") (param i32 i32) (result i32) (i32.const 8)))"#;
    let mut contract = Resolve::default();
    let package = contract.push_str("other.wit", wit).expect("a contract");
    encoded(wat::parse_str(core).expect("a module"), &contract, package, "other")
}

/// A bump allocator that grows the memory.
const BUMP: &str = "
    (local $at i32)
    (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $enough
        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $enough (i32.ge_s
            (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const 0)))
        unreachable)
    (local.get $at)";
