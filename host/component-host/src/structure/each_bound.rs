//! Tests of each limit: a component at the limit passes, and one with one more is refused with the limit's name.

use super::{Budget, Structure, StructureRefusal, check};
use serde_json::Value;

/// Returns the text of a component that has more of the counted parts for a larger number.
type Generator = fn(usize) -> String;

fn component(inside: impl AsRef<str>) -> String {
    format!("(component {})", inside.as_ref())
}

fn module(inside: impl AsRef<str>) -> String {
    format!("(component (core module {}))", inside.as_ref())
}

fn body(inside: impl AsRef<str>) -> String {
    module(format!("(func {})", inside.as_ref()))
}

fn each(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

/// A generator for each limit, by the name of the limit.
const GENERATORS: &[(&str, Generator)] = &[
    ("bytes", |n| component(format!("(@custom \"x\" \"{}\")", "a".repeat(n)))),
    ("nesting", |n| format!("{}{}", "(component ".repeat(n), ")".repeat(n))),
    ("sections", |n| component("(core module)".repeat(n))),
    ("core_modules", |n| component("(core module)".repeat(n))),
    ("components", |n| component("(component)".repeat(n))),
    ("instances", |n| component(format!("(component $c){}", "(instance (instantiate $c))".repeat(n)))),
    ("core_instances", |n| component(format!("(core module $m){}", "(core instance (instantiate $m))".repeat(n)))),
    ("inlined_items", |n| {
        component(format!("(import \"f\" (func $f)){}", each(n, |i| format!("(export \"e{i}\" (func $f))"))))
    }),
    ("types", |n| component("(type string)".repeat(n))),
    ("type_parts", |n| component(format!("(type (record {}))", each(n, |i| format!("(field \"f{i}\" u8)"))))),
    ("largest_type", |n| {
        component(format!("(type $t0 (tuple u8 u8)){}", each(n, |i| format!("(type $t{} (tuple $t{i} $t{i}))", i + 1))))
    }),
    ("type_depth", |n| {
        component(format!("(type $t0 (list u8)){}", each(n, |i| format!("(type $t{} (list $t{i}))", i + 1))))
    }),
    ("largest_signature", |n| module(format!("(type (func (param {})))", "i32 ".repeat(n)))),
    ("imports", |n| component(each(n, |i| format!("(import \"f{i}\" (func))")))),
    ("listed_items", |n| {
        component(format!("(import \"a:b/c\" (instance {}))", each(n, |i| format!("(export \"f{i}\" (func))"))))
    }),
    ("exports", |n| module(format!("(func $f){}", each(n, |i| format!("(export \"{i}\" (func $f))"))))),
    ("aliases", |n| {
        component(format!(
            "(import \"a:b/c\" (instance $i (export \"f\" (func)))){}",
            each(n, |i| format!("(alias export $i \"f\" (func $f{i}))"))
        ))
    }),
    ("canonical_functions", |n| {
        component(format!("(import \"f\" (func $f)){}", "(core func (canon lower (func $f)))".repeat(n)))
    }),
    ("longest_name", |n| module(format!("(func (export \"{}\"))", "x".repeat(n)))),
    ("effort", |n| module("(func)".repeat(n))),
    ("functions", |n| module("(func)".repeat(n))),
    ("largest_body", |n| body("nop ".repeat(n))),
    ("code_bytes", |n| module("(func)".repeat(n))),
    ("largest_locals", |n| body(format!("(param i32) (local {})", "i32 ".repeat(n)))),
    ("locals", |n| module("(func (local i32 i64))".repeat(n))),
    ("largest_stack", |n| body(format!("{}{}", "i32.const 0 ".repeat(n), "drop ".repeat(n)))),
    ("deepest_block", |n| body(format!("{}{}", "block ".repeat(n), "end ".repeat(n)))),
    ("deepest_loop", |n| body(format!("{}{}", "loop ".repeat(n), "end ".repeat(n)))),
    ("largest_loops", |n| body("loop end ".repeat(n))),
    ("largest_branches", |n| body(format!("i32.const 0 br_table {}", "0 ".repeat(n + 1)))),
    ("largest_flow", |n| body(format!("(local i32 i32) {}", "(if (local.get 0) (then))".repeat(n)))),
    ("tables", |n| module("(table 1 funcref)".repeat(n))),
    ("table_elements", |n| module(format!("(table {n} funcref)"))),
    ("memories", |n| module("(memory 1)".repeat(n))),
    ("memory_pages", |n| module(format!("(memory {n})"))),
    ("globals", |n| module("(global i32 (i32.const 0))".repeat(n))),
    ("start_functions", |n| component("(core module (func $s) (start $s))".repeat(n))),
    ("data_segments", |n| module("(data \"\")".repeat(n))),
    ("data_bytes", |n| module(format!("(data \"{}\")", "a".repeat(n)))),
    ("element_segments", |n| module("(elem func)".repeat(n))),
    ("elements", |n| module(format!("(func $f) (elem func {})", "$f ".repeat(n)))),
    ("custom_bytes", |n| component(format!("(@custom \"x\" \"{}\")", "a".repeat(n)))),
];

fn count(structure: &Structure, bound: &str) -> u64 {
    structure.counts().entries().into_iter().find(|(name, _)| *name == bound).unwrap().1
}

/// Returns a budget with a single tight limit.
fn only(bound: &str, allowed: u64) -> Budget {
    let mut fields = serde_json::to_value(Budget::for_inspection()).unwrap();
    fields[bound] = Value::from(allowed);
    serde_json::from_value(fields).unwrap()
}

#[test]
fn component_at_each_limit_passes_and_one_above_it_is_refused() {
    for (bound, generator) in GENERATORS {
        let (below, above) = (wat::parse_str(generator(5)).unwrap(), wat::parse_str(generator(6)).unwrap());
        let allowed = count(&Structure::read(&below).unwrap(), bound);
        let budget = only(bound, allowed);
        check(&below, &budget).unwrap_or_else(|refusal| panic!("{bound}: {refusal}"));
        match check(&above, &budget) {
            Err(StructureRefusal::OverBudget { limit, actual, allowed: reported }) => {
                assert_eq!((limit, reported), (*bound, allowed));
                assert!(actual > allowed, "{bound}");
            }
            other => panic!("{bound}: {other:?}"),
        }
        // `Structure::check` compares counts that were read earlier.
        assert_eq!(Structure::read(&above).unwrap().check(&budget).unwrap_err().code(), "over_budget");
    }
}

#[test]
fn every_limit_is_tested() {
    let tested: Vec<_> = GENERATORS.iter().map(|(bound, _)| *bound).collect();
    let bounds: Vec<_> = Budget::default().entries().into_iter().map(|(bound, _)| bound).collect();
    assert_eq!(tested, bounds);
}

#[test]
fn budget_without_child_is_not_larger_than_the_default() {
    for ((bound, child), (_, alone)) in Budget::default().entries().into_iter().zip(Budget::without_child().entries()) {
        assert!(alone <= child, "{bound}");
    }
}

#[test]
fn absent_fields_of_a_budget_have_defaults_and_unknown_fields_are_refused() {
    let budget: Budget = serde_json::from_str(r#"{ "instances": 7 }"#).unwrap();
    assert_eq!(budget, Budget { instances: 7, ..Budget::default() });
    assert!(serde_json::from_str::<Budget>(r#"{ "instance": 7 }"#).is_err());
}
