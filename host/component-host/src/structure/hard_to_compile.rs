//! Tests with small components that are very expensive to compile.
//!
//! Each one is refused by the limit that it was written to exceed, and nothing is allocated for sizes that it only
//! claims. The counts of components that toolchains build pass.

use super::{Budget, StructureRefusal, check};
use std::{
    fmt::Write,
    time::{Duration, Instant},
};

fn module(inside: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (core module {inside}))")).unwrap()
}

#[track_caller]
fn assert_refused(bytes: &[u8], bound: &str) {
    let started = Instant::now();
    match check(bytes, &Budget::default()) {
        Err(StructureRefusal::OverBudget { limit, .. }) if limit == bound => {}
        other => panic!("expected `{bound}`, got {:?}", other.map(|structure| *structure.counts())),
    }
    assert_eq!(check(bytes, &Budget::without_child()).unwrap_err().code(), "over_budget");
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Returns a component in which each level instantiates the previous level twice: 2^`levels` instances in total.
fn tree(levels: usize) -> Vec<u8> {
    let mut text = String::from("(component (component $c0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..=levels {
        write!(
            text,
            "(component $c{level} (alias outer 1 $c{} (component $x))
                (instance (instantiate $x)) (instance (instantiate $x)))",
            level - 1
        )
        .unwrap();
    }
    write!(text, "(instance (instantiate $c{levels})))").unwrap();
    wat::parse_str(text).unwrap()
}

#[test]
fn instances_are_counted_as_a_tree() {
    assert!(check(&tree(4), &Budget::default()).is_ok());
    assert_refused(&tree(20), "instances");
    // Counts saturate, so 2^60 instances are refused too.
    assert_refused(&tree(60), "instances");
    assert!(tree(40).len() < 2_700, "the compilation of this component does not end");
}

#[test]
fn interface_that_doubles_at_every_level_is_refused() {
    let doubling = |levels: usize| {
        let mut text = String::from("(component (type $t0 (instance (export \"r\" (type (sub resource)))))");
        for level in 1..=levels {
            write!(
                text,
                "(type $t{level} (instance (alias outer 1 $t{} (type $x))
                    (export \"a\" (instance (type $x))) (export \"b\" (instance (type $x)))))",
                level - 1
            )
            .unwrap();
        }
        write!(text, "(import \"f\" (instance (type $t{levels}))))").unwrap();
        wat::parse_str(text).unwrap()
    };
    assert!(check(&doubling(6), &Budget::default()).is_ok());
    assert_refused(&doubling(13), "largest_type");
    assert!(doubling(17).len() < 500, "5 s and 2.4 GB to compile");
    assert_refused(&doubling(50), "largest_type");
}

#[test]
fn value_type_that_doubles_at_every_level_is_refused() {
    let doubling = |levels: usize| {
        let mut text = String::from("(component (type $t0 (tuple u8 u8))");
        for level in 1..=levels {
            write!(text, "(type $t{level} (tuple $t{0} $t{0}))", level - 1).unwrap();
        }
        write!(text, "(import \"f\" (func (param \"x\" $t{levels}))))").unwrap();
        wat::parse_str(text).unwrap()
    };
    assert!(check(&doubling(8), &Budget::default()).is_ok());
    assert_refused(&doubling(13), "largest_type");
    assert_refused(&doubling(62), "largest_type");
}

#[test]
fn number_of_live_values_is_limited() {
    let locals = |count: usize| {
        let mut text = format!("(memory 1) (func (param i32) (result i64) (local {})", "i64 ".repeat(count));
        for local in 1..=count {
            write!(text, "(local.set {local} (i64.load offset={} (local.get 0)))", local * 8).unwrap();
        }
        text.push_str("(i64.const 0)");
        for local in 1..=count {
            write!(text, "(i64.add (local.get {local}))").unwrap();
        }
        module(&(text + ")"))
    };
    assert!(check(&locals(200), &Budget::without_child()).is_ok());
    assert_refused(&locals(16_000), "largest_locals");

    let stack = |height: usize| {
        let mut text = String::from("(memory 1) (func (param i32) (result i64) ");
        for value in 0..height {
            write!(text, "local.get 0 i64.load offset={} ", value * 8).unwrap();
        }
        module(&(text + &"i64.add ".repeat(height - 1) + ")"))
    };
    assert!(check(&stack(120), &Budget::without_child()).is_ok());
    assert_refused(&stack(16_000), "largest_stack");
}

#[test]
fn number_and_depth_of_loops_and_blocks_are_limited() {
    let nested = |what: &str, count: usize| {
        module(&format!("(func (param i32) {}{})", what.repeat(count), "end ".repeat(count)))
    };
    assert!(check(&nested("local.get 0 if ", 1000), &Budget::without_child()).is_ok());
    assert_refused(&nested("local.get 0 if ", 20_000), "deepest_block");
    assert!(check(&nested("loop ", 30), &Budget::without_child()).is_ok());
    assert_refused(&nested("loop ", 1500), "deepest_loop");

    let in_a_row =
        |count: usize| module(&format!("(func (param i32) {})", "(loop (br_if 0 (local.get 0)))".repeat(count)));
    assert!(check(&in_a_row(250), &Budget::without_child()).is_ok());
    assert_refused(&in_a_row(8000), "largest_loops");

    let targets = |count: usize| module(&format!("(func (br_table {}(i32.const 0)))", "0 ".repeat(count)));
    assert!(check(&targets(4000), &Budget::without_child()).is_ok());
    assert_refused(&targets(60_000), "largest_branches");
}

#[test]
fn calls_that_move_a_thousand_operands_in_two_bytes_are_refused() {
    let calls = |width: usize, count: usize| {
        let signature = "i64 ".repeat(width);
        let mut text = format!("(type $t (func (param {signature}) (result {signature}))) (func $f (type $t) ");
        for local in 0..width {
            write!(text, "local.get {local} ").unwrap();
        }
        module(&(text + &"call $f ".repeat(count) + ")"))
    };
    assert!(check(&calls(16, 1000), &Budget::without_child()).is_ok());
    assert_refused(&calls(1000, 1000), "largest_signature");
    // With an allowed signature, the total number of moved operands is limited.
    assert_refused(&calls(16, 400_000), "effort");
}

#[test]
fn many_functions_within_the_limits_are_refused_for_their_total_effort() {
    let function = format!("(func (param i32) {})", "(loop (br_if 0 (local.get 0)))".repeat(1000));
    assert!(check(&module(&function.repeat(20)), &Budget::default()).is_ok());
    assert_refused(&module(&function.repeat(600)), "effort");
}

#[test]
fn elements_of_tables_and_segments_are_limited() {
    let table = "(core module (table 1000000 funcref) (func $f) (elem (i32.const 999999) $f))";
    assert_refused(&wat::parse_str(format!("(component {})", table.repeat(16))).unwrap(), "table_elements");
    let items = |count: usize| {
        module(&format!("(table 10 funcref) (func $f) (elem (i32.const 0) func {})", "$f ".repeat(count)))
    };
    assert!(check(&items(10_000), &Budget::without_child()).is_ok());
    assert_refused(&items(100_000), "elements");
}

/// Returns a section with its length in five bytes, so that any content fits.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(long(content.len() as u32));
    bytes.extend_from_slice(content);
    bytes
}

/// Encodes a number in the longest LEB128 form.
fn long(number: u32) -> [u8; 5] {
    std::array::from_fn(|place| ((number >> (7 * place)) & 0x7f) as u8 | if place < 4 { 0x80 } else { 0 })
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn raw_module(sections: &[Vec<u8>]) -> Vec<u8> {
    let inside = [MODULE.to_vec(), sections.concat()].concat();
    [COMPONENT.to_vec(), section(1, &inside)].concat()
}

#[test]
fn section_that_claims_four_billion_items_is_read_only_to_its_end() {
    for id in 0..=13u8 {
        let content = [long(u32::MAX).to_vec(), vec![0; 64]].concat();
        let inside_module = raw_module(&[section(id, &content)]);
        let inside_component = [COMPONENT.to_vec(), section(id, &content)].concat();
        for bytes in [inside_module, inside_component] {
            let started = Instant::now();
            let _ = check(&bytes, &Budget::default());
            let _ = super::Structure::read(&bytes);
            assert!(started.elapsed() < Duration::from_secs(1), "section {id}");
        }
    }
}

#[test]
fn declared_number_of_locals_is_counted() {
    let type_section = section(1, &[1, 0x60, 0, 0]);
    let function_section = section(3, &[1, 0]);
    let with = |count: u32| {
        let code = [vec![1], long(count).to_vec(), vec![0x7f, 0x0b]].concat();
        let body = [long(code.len() as u32).to_vec(), code].concat();
        raw_module(&[type_section.clone(), function_section.clone(), section(10, &[vec![1], body].concat())])
    };
    assert!(check(&with(200), &Budget::without_child()).is_ok());
    assert_refused(&with(u32::MAX), "largest_locals");
}

#[test]
fn types_nested_a_million_deep_do_not_exhaust_the_stack() {
    // Each level is a type with a single declaration: the next level.
    for outer in [0x41, 0x42] {
        let content = [vec![1], [outer, 1, 1].repeat(1_000_000)].concat();
        let bytes = [COMPONENT.to_vec(), section(7, &content)].concat();
        assert_refused(&bytes, "nesting");
        match super::Structure::read(&bytes) {
            Err(StructureRefusal::OverBudget { limit: "nesting", .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn components_nested_a_thousand_deep_do_not_exhaust_the_stack() {
    let nested = |levels: usize| {
        (1..levels).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT.to_vec(), section(4, &inner)].concat())
    };
    assert_refused(&nested(1000), "nesting");
    // The recursion is limited even if the budget does not limit the nesting.
    let unlimited = Budget { nesting: u64::MAX, ..Budget::for_inspection() };
    assert!(check(&nested(100), &unlimited).is_ok());
    match check(&nested(101), &unlimited) {
        Err(StructureRefusal::OverBudget { limit: "nesting", allowed: 100, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn group_that_claims_a_million_types_is_refused_before_allocation() {
    let claimed = [vec![1, 0x4e], long(1_000_000).to_vec(), vec![0x60, 0, 0]].concat();
    assert_refused(&raw_module(&[section(1, &claimed)]), "types");
    assert_eq!(super::Structure::read(&raw_module(&[section(1, &claimed)])).unwrap_err().code(), "malformed_component");
}

#[test]
fn large_interface_imported_under_many_names_is_refused() {
    let functions: String = (0..1000).fold(String::new(), |mut text, function| {
        write!(text, "(export \"f{function}\" (func))").unwrap();
        text
    });
    let mut text = format!("(component (type $t (instance {functions}))");
    for import in 0..1000 {
        write!(text, "(import \"a:b/c{import}\" (instance (type $t)))").unwrap();
    }
    let bytes = wat::parse_str(text + ")").unwrap();
    assert!(matches!(check(&bytes, &Budget::default()), Err(StructureRefusal::OverBudget { .. })));
    assert!(matches!(super::Structure::read(&bytes), Err(StructureRefusal::OverBudget { limit: "listed_items", .. })));
}

/// Counts of components that toolchains build, by limit: JavaScript on QuickJS, JavaScript on StarlingMonkey,
/// Python.
const TOOLCHAIN_COUNTS: &[(&str, [u64; 3])] = &[
    ("bytes", [1_634_587, 12_613_256, 18_386_857]),
    ("nesting", [4, 2, 2]),
    ("sections", [777, 94, 510]),
    ("core_modules", [11, 3, 38]),
    ("components", [24, 1, 2]),
    ("instances", [36, 5, 41]),
    ("inlined_items", [11_537, 1666, 5949]),
    ("types", [728, 215, 1485]),
    ("largest_type", [384, 303, 303]),
    ("largest_signature", [14, 18, 19]),
    ("imports", [319, 26, 2429]),
    ("exports", [284, 24, 4472]),
    ("effort", [4_100_000, 27_750_000, 20_820_000]),
    ("functions", [1706, 12_670, 13_482]),
    ("largest_body", [54_010, 171_628, 426_843]),
    ("code_bytes", [1_306_694, 9_203_391, 6_552_478]),
    ("largest_locals", [86, 122, 273]),
    ("largest_stack", [15, 64, 54]),
    ("deepest_block", [282, 457, 782]),
    ("deepest_loop", [21, 6, 6]),
    ("largest_loops", [75, 392, 81]),
    ("largest_branches", [2037, 5820, 15_886]),
    ("largest_flow", [101_850, 351_848, 106_464]),
    ("table_elements", [770, 7692, 5791]),
    ("memory_pages", [22, 145, 197]),
    ("globals", [19, 2, 871]),
    ("data_segments", [5466, 10_000, 1859]),
    ("elements", [769, 7691, 5789]),
];

#[test]
fn limits_are_at_least_one_and_a_half_times_the_counts_of_toolchains() {
    let bound = |budget: &Budget, name: &str| budget.entries().into_iter().find(|(bound, _)| *bound == name).unwrap().1;
    for (name, [quickjs, starlingmonkey, python]) in TOOLCHAIN_COUNTS {
        let largest = *quickjs.max(starlingmonkey).max(python);
        assert!(largest + largest / 2 <= bound(&Budget::default(), name), "{name}");
        assert!(quickjs + quickjs / 2 <= bound(&Budget::without_child(), name), "{name}");
    }
}
