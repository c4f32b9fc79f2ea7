//! Every bound by itself: a component at it passes, its neighbour with one more is refused, and the bound is named.

use super::{Budget, Refusal, Structure, check};
use serde_json::Value;

/// The text of a component that has more of something the larger the number.
type Growing = fn(usize) -> String;

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

/// A component of each kind of growth, by the bound that it meets.
const GROWING: &[(&str, Growing)] = &[
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

/// A budget that allows anything but more than so much of one thing.
fn only(bound: &str, allowed: u64) -> Budget {
    let mut fields = serde_json::to_value(Budget::to_look_at()).unwrap();
    fields[bound] = Value::from(allowed);
    serde_json::from_value(fields).unwrap()
}

#[test]
fn one_more_than_each_bound_is_refused_by_its_name_and_its_neighbour_passes() {
    for (bound, growing) in GROWING {
        let (below, above) = (wat::parse_str(growing(5)).unwrap(), wat::parse_str(growing(6)).unwrap());
        let allowed = count(&Structure::read(&below).unwrap(), bound);
        let budget = only(bound, allowed);
        check(&below, &budget).unwrap_or_else(|refusal| panic!("{bound}: {refusal}"));
        match check(&above, &budget) {
            Err(Refusal::OverBudget { limit, actual, allowed: told }) => {
                assert_eq!((limit, told), (*bound, allowed));
                assert!(actual > allowed, "{bound}");
            }
            other => panic!("{bound}: {other:?}"),
        }
        // What was read once can be held against a budget later.
        assert_eq!(Structure::read(&above).unwrap().check(&budget).unwrap_err().code(), "over_budget");
    }
}

#[test]
fn no_bound_is_without_its_test() {
    let tested: Vec<_> = GROWING.iter().map(|(bound, _)| *bound).collect();
    let bounds: Vec<_> = Budget::default().entries().into_iter().map(|(bound, _)| bound).collect();
    assert_eq!(tested, bounds);
}

#[test]
fn without_a_child_no_bound_is_wider() {
    for ((bound, child), (_, alone)) in Budget::default().entries().into_iter().zip(Budget::without_child().entries()) {
        assert!(alone <= child, "{bound}");
    }
}

#[test]
fn a_budget_is_read_from_the_fields_that_differ_and_from_no_others() {
    let budget: Budget = serde_json::from_str(r#"{ "instances": 7 }"#).unwrap();
    assert_eq!(budget, Budget { instances: 7, ..Budget::default() });
    assert!(serde_json::from_str::<Budget>(r#"{ "instance": 7 }"#).is_err());
}
