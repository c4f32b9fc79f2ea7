//! Components that misbehave while they run: they do not end, exceed limits, trap, or misuse their handle.

use super::{
    Expect, Hostile, add,
    answer::{Answer, Resolution},
    does, laid_out, main, source,
};

fn honest() -> (u32, String) {
    laid_out(&Answer::Resolved(Resolution::default()))
}

pub(super) fn loops(all: &mut Vec<Hostile>) {
    let (answer, data) = honest();
    let answering = |source: &str| main(&(source.replace("{answer}", &answer.to_string()) + &data));
    let forever = "(loop $forever (br $forever)) unreachable";
    let fuel = Expect::Limit("fuel");
    add(all, "loop_in_resolve", main(source!("loop_in_resolve")), fuel);
    add(all, "loop_in_start", main(source!("loop_in_start")), fuel);
    add(all, "loop_in_realloc", does("unreachable").with("realloc", forever), fuel);
    let post = answering(source!("loop_in_post_return"));
    add(all, "loop_in_post_return", post.with("post_return", "(post-return (core func $main \"post\"))"), fuel);
    add(all, "fill_forever", main(source!("fill_forever")), fuel);
    add(all, "look_up_forever", main(source!("look_up_forever")), Expect::Limit("lookups"));
    add(all, "ask_for_nothing_forever", main(source!("ask_for_nothing_forever")), Expect::Limit("lookups"));
    add(
        all,
        "ask_with_overlapping_names",
        main(source!("ask_with_overlapping_names")),
        Expect::Limit("hostcall_bytes"),
    );
    add(
        all,
        "ask_for_one_profile_again_and_again",
        main(source!("ask_for_one_profile_again_and_again")),
        Expect::Limit("lookup_bytes"),
    );
    add(all, "ask_for_long_names", main(source!("ask_for_long_names")), Expect::Limit("lookup_bytes"));
}

pub(super) fn growth(all: &mut Vec<Hostile>) {
    add(all, "recursion", main(source!("recursion")), Expect::Limit("stack_bytes"));
    add(all, "grow_memory", main(source!("grow_memory")), Expect::Limit("memory_bytes"));
    add(all, "grow_memory_at_once", main(source!("grow_memory_at_once")), Expect::Limit("memory_bytes"));
    add(all, "grow_table", main(source!("grow_table")), Expect::Limit("table_elements"));
    let together = does("unreachable").with("exports", source!("grow_memories_together"));
    add(all, "grow_memories_together", together, Expect::Limit("memory_bytes"));
    let large = "(core module $large (memory 1100))";
    add(
        all,
        "memory_beyond_the_budget",
        does("unreachable").with("exports", large),
        Expect::RefusedLoad("over_budget"),
    );
    let table = "(core module $large (table 17000 funcref)) (core instance (instantiate $large))";
    add(all, "table_beyond_the_limit", does("unreachable").with("exports", table), Expect::Limit("table_elements"));
    let small = "(core module $small)".to_owned();
    let instances = |count: usize| small.clone() + &"(core instance (instantiate $small))".repeat(count);
    add(all, "many_instances", does("unreachable").with("exports", instances(100)), Expect::Limit("instances"));
    let instances = instances(2000);
    add(all, "too_many_instances", does("unreachable").with("exports", instances), Expect::RefusedLoad("over_budget"));
    let memories = "(core module $one (memory 0))".to_owned() + &"(core instance (instantiate $one))".repeat(20);
    add(all, "many_memories", does("unreachable").with("exports", memories), Expect::Limit("memories"));
    let tables = "(core module $one (table 0 funcref))".to_owned() + &"(core instance (instantiate $one))".repeat(40);
    add(all, "many_tables", does("unreachable").with("exports", tables), Expect::Limit("tables"));
}

pub(super) fn traps(all: &mut Vec<Hostile>) {
    for (name, body) in [
        ("unreachable", "unreachable"),
        ("divide_by_zero", "(i32.div_u (local.get $request) (i32.const 0))"),
        ("divide_overflow", "(i32.div_s (i32.const 0x80000000) (i32.const -1))"),
        ("convert_not_a_number", "(i32.trunc_f64_s (f64.const nan))"),
        ("load_out_of_bounds", "(i32.load (i32.const -4))"),
        ("store_out_of_bounds", "(i32.store (i32.const 0x7fffffff) (i32.const 1)) (i32.const 0)"),
        ("copy_out_of_bounds", "(memory.copy (i32.const 0) (i32.const 0x7fff0000) (i32.const 64)) (i32.const 0)"),
    ] {
        add(all, name, does(body), Expect::Trap);
    }
    let fields = "(type $t (func (result i32))) (table $none 1 funcref)
        (func (export \"resolve\") (param i32) (result i32) (call_indirect $none (type $t) (i32.const {at})))";
    add(all, "call_nothing", main(&fields.replace("{at}", "0")), Expect::Trap);
    add(all, "call_beyond_the_table", main(&fields.replace("{at}", "9")), Expect::Trap);
    let fields = fields.replace("{at}", "0") + "(func $other (param i32)) (elem (i32.const 0) $other)";
    add(all, "call_with_another_signature", main(&fields), Expect::Trap);
    let start = "(func $start unreachable) (start $start)
        (func (export \"resolve\") (param i32) (result i32) unreachable)";
    add(all, "trap_in_start", main(start), Expect::Trap);
    add(all, "trap_in_realloc", does("unreachable").with("realloc", "unreachable"), Expect::Trap);
    for (name, address) in [
        ("realloc_beyond_memory", "(i32.const -16)"),
        ("realloc_at_the_end_of_memory", "(i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4))"),
        ("realloc_misaligned", "(i32.const 1025)"),
    ] {
        add(all, name, does("unreachable").with("realloc", address), Expect::Trap);
    }
    let (answer, data) = honest();
    let post = format!(
        "(func (export \"resolve\") (param i32) (result i32) (i32.const {answer})) {data}
         (func (export \"post\") (param i32) unreachable)"
    );
    let post = main(&post).with("post_return", "(post-return (core func $main \"post\"))");
    add(all, "trap_in_post_return", post, Expect::Trap);
}

pub(super) fn handles(all: &mut Vec<Hostile>) {
    let (answer, data) = honest();
    let keep = source!("keep_handle").replace("{answer}", &answer.to_string()) + &data;
    add(all, "keep_handle", main(&keep), Expect::Resolved);
    add(all, "use_handle_after_drop", main(source!("use_handle_after_drop")), Expect::Trap);
    add(all, "drop_handle_twice", main(source!("drop_handle_twice")), Expect::Trap);
    for (name, beyond) in [("forge_next_handle", "1"), ("forge_far_handle", "1000000"), ("forge_negative_handle", "-2")]
    {
        add(all, name, main(&source!("forge_handle").replace("{beyond}", beyond)), Expect::Trap);
    }
    let open = main(source!("open_handles"))
        .with(
            "imports_after",
            "(type $own (resource (rep i32)))
             (core func $new (canon resource.new $own))
             (core instance $own (export \"new\" (func $new)))",
        )
        .with("instances", "(with \"own\" (instance $own))");
    add(all, "open_handles", open, Expect::Limit("handles"));
}
