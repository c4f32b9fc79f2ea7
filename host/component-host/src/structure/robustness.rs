//! Tests that reading any bytes ends quickly with a structure or a refusal.

use super::{Budget, ItemKind, Structure, StructureRefusal, check};
use std::time::{Duration, Instant};

/// A component with items of every kind.
const SAMPLE: &str = r#"
    (component
        (import "yoi:resolver/types@1.0.0" (instance $types
            (type $access (enum "read" "write"))
            (export "access" (type (eq $access)))))
        (alias export $types "access" (type $access))
        (import "yoi:resolver/bundle@1.0.0" (instance $bundle
            (export "handle" (type $handle (sub resource)))
            (export "[method]handle.look" (func (param "self" (borrow $handle)) (result (list string))))))
        (core module $m
            (type $t (func (param i32 i32) (result i32)))
            (import "host" "f" (func (param i32)))
            (memory (export "memory") 2)
            (table 3 funcref)
            (global i32 (i32.const 7))
            (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32) (local i64 i64 f32) i32.const 16)
            (func (export "run") (result i32) i32.const 0)
            (func $start)
            (start $start)
            (elem (i32.const 0) func $realloc)
            (data (i32.const 8) "some data"))
        (core module $shim (func (export "f") (param i32)))
        (core instance $shim (instantiate $shim))
        (core instance $i (instantiate $m (with "host" (instance $shim))))
        (type $list (list (record (field "a" string) (field "b" $access))))
        (func $run (result $list)
            (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
        (component $inner
            (import "run" (func $run (result (list string))))
            (export "again" (func $run)))
        (instance $out (export "run" (func $run)))
        (export "yoi:resolver/resolve@1.0.0" (instance $out)))
"#;

fn sample() -> Vec<u8> {
    wat::parse_str(SAMPLE).unwrap()
}

/// Reads the bytes with each budget and asserts that it ended quickly.
fn read_every_way(bytes: &[u8]) {
    let started = Instant::now();
    let _ = Structure::read(bytes);
    let _ = check(bytes, &Budget::default());
    let _ = check(bytes, &Budget::without_child());
    assert!(started.elapsed() < Duration::from_secs(20), "{} bytes took {:?}", bytes.len(), started.elapsed());
}

/// A pseudo-random generator (xorshift) with a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }
}

#[test]
fn structure_lists_imports_exports_and_counts() {
    let structure = check(&sample(), &Budget::default()).unwrap();
    assert_eq!(structure.kind(), ItemKind::Component);
    let imports: Vec<_> = structure.imports().iter().map(|item| (item.name(), item.is_types_only())).collect();
    assert_eq!(imports, [("yoi:resolver/types@1.0.0", true), ("yoi:resolver/bundle@1.0.0", false)]);
    let bundle = structure.imports().last().unwrap();
    assert_eq!(bundle.functions(), ["[method]handle.look"]);
    assert_eq!(bundle.resources(), ["handle"]);
    assert_eq!(structure.exports().first().unwrap().functions(), ["run"]);

    let counts = structure.counts();
    assert_eq!(counts.core_modules, 2);
    assert_eq!(counts.components, 1);
    assert_eq!(counts.instances, 3, "the component itself and its two core instances");
    assert_eq!(counts.functions, 4);
    assert_eq!(counts.locals, 3);
    assert_eq!(counts.largest_locals, 7);
    assert_eq!(counts.memory_pages, 2);
    assert_eq!(counts.table_elements, 3);
    assert_eq!(counts.start_functions, 1);
    assert_eq!(counts.data_bytes, 9);
    assert_eq!(counts.elements, 1);
}

#[test]
fn bytes_that_are_not_a_component_are_refused_with_their_kind() {
    let code = |bytes: &[u8]| check(bytes, &Budget::default()).unwrap_err().code();
    assert_eq!(code(b""), "not_wasm");
    assert_eq!(code(b"#!/bin/sh\n"), "not_wasm");
    assert_eq!(code(b"  (component)"), "wasm_text");
    assert_eq!(code(b";; text\n(component)"), "wasm_text");
    assert_eq!(code(b"\0as"), "malformed_component");
    assert_eq!(code(b"\0asm\x01\0\0\0"), "core_module");
    assert_eq!(code(b"\0asm\x02\0\0\0"), "malformed_component");
    assert!(check(b"\0asm\x0d\0\x01\0", &Budget::default()).is_ok());
}

#[test]
fn core_module_can_be_inspected_but_does_not_pass_the_check() {
    let module = wat::parse_str(r#"(module (import "env" "f" (func)) (memory (export "memory") 1))"#).unwrap();
    let structure = Structure::read(&module).unwrap();
    assert_eq!(structure.kind(), ItemKind::Module);
    assert_eq!(structure.imports().first().unwrap().name(), "env.f");
    assert_eq!(structure.exports().first().unwrap().kind(), ItemKind::Memory);
    assert_eq!(structure.check(&Budget::default()), Err(StructureRefusal::CoreModule));
}

#[test]
fn every_truncation_of_a_component_is_refused_or_a_smaller_component() {
    let whole = sample();
    let mut smaller = 0;
    for length in 0..whole.len() {
        let cut = whole.get(..length).unwrap();
        read_every_way(cut);
        smaller += usize::from(check(cut, &Budget::default()).is_ok());
    }
    // A cut between two sections leaves a valid component. Every other cut is an error.
    let sections = check(&whole, &Budget::default()).unwrap().counts().sections;
    assert!((smaller as u64) <= sections, "{smaller} of {sections}");
}

#[test]
fn reading_ends_quickly_for_every_flipped_byte() {
    let whole = sample();
    for at in 0..whole.len() {
        for mask in [0x01, 0x10, 0x80, 0xff] {
            let mut flipped = whole.clone();
            flipped[at] ^= mask;
            read_every_way(&flipped);
        }
    }
}

#[test]
fn reading_ends_quickly_for_random_bytes() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..2000 {
        let length = (random.next() % 600) as usize;
        let mut bytes = random.bytes(length);
        if round % 2 == 0 {
            let header: &[u8] = if round % 4 == 0 { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
            bytes.splice(..0, header.iter().copied());
        }
        read_every_way(&bytes);
    }
}

#[test]
fn reading_ends_quickly_for_spliced_components() {
    let whole = sample();
    let mut random = Random(42);
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.next() % 4 {
            let at = (random.next() % bytes.len() as u64) as usize;
            let until = (at + (random.next() % 12) as usize).min(bytes.len());
            let length = (random.next() % 12) as usize;
            let with = random.bytes(length);
            bytes.splice(at..until, with);
        }
        read_every_way(&bytes);
    }
}
