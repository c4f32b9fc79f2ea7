//! Plugins that misbehave while they run: they do not end, exceed limits, trap, or return malformed values.

use super::{Expect, HostilePlugin, add, component::Plugin};

const FOREVER: &str = "(loop $forever (br $forever)) unreachable";

fn does(call: &str) -> Plugin {
    Plugin::tool().with("call", call)
}

pub(super) fn loops(all: &mut Vec<HostilePlugin>) {
    let fuel = Expect::Limit("fuel");
    add(all, "loop_in_call", does(FOREVER), fuel);
    let start = format!("(func $start {FOREVER}) (start $start)");
    add(all, "loop_in_start", Plugin::tool().with("more", start), fuel);
    add(all, "loop_in_realloc", Plugin::tool().with("realloc", FOREVER), fuel);
    let post = format!("(func (export \"cabi_post_yoi:plugin/tools@1.0.0#call\") (param i32) {FOREVER})");
    add(all, "loop_in_post_return", Plugin::tool().with("more", post), fuel);
}

pub(super) fn growth(all: &mut Vec<HostilePlugin>) {
    let recursion = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))";
    let recursive = does("(call $deeper (i32.const 0))").with("more", recursion);
    add(all, "recursion", recursive, Expect::Limit("stack_bytes"));
    let grow = "(loop $more (drop (memory.grow (i32.const 16))) (br $more)) unreachable";
    add(all, "grow_memory", does(grow), Expect::Limit("memory_bytes"));
    let at_once = "(drop (memory.grow (i32.const 60000))) unreachable";
    add(all, "grow_memory_at_once", does(at_once), Expect::Limit("memory_bytes"));
    let table = "(loop $more (drop (table.grow $table (ref.null func) (i32.const 100))) (br $more)) unreachable";
    add(all, "grow_table", does(table).with("more", "(table $table 1 funcref)"), Expect::Limit("table_elements"));
}

pub(super) fn traps(all: &mut Vec<HostilePlugin>) {
    for (name, call) in [
        ("unreachable", "unreachable"),
        ("divide_by_zero", "(i32.div_u (local.get $input) (i32.const 0))"),
        ("load_out_of_bounds", "(i32.load (i32.const -4))"),
        ("result_beyond_memory", "(i32.const -4)"),
        ("result_misaligned", "(i32.const 1025)"),
    ] {
        add(all, name, does(call), Expect::Trap);
    }
    add(all, "trap_in_realloc", Plugin::tool().with("realloc", "unreachable"), Expect::Trap);
    add(all, "allocation_beyond_memory", Plugin::tool().with("realloc", "(i32.const -8)"), Expect::Trap);
}

pub(super) fn returns(all: &mut Vec<HostilePlugin>) {
    let output = |data: &str, length: usize| {
        does(&format!("(call $output (i32.const 4096) (i32.const {length}))"))
            .with("data", format!("(data (i32.const 4096) \"{data}\")"))
    };
    for (name, data, length) in [
        ("output_of_nothing", "", 0),
        ("output_not_json", "{'a': 1}", 8),
        ("output_of_two_values", "1 2", 3),
        ("output_truncated", "[1,", 3),
        ("output_with_a_control_character", "\\22\\07\\22", 3),
    ] {
        add(all, name, output(data, length), Expect::Invalid("output"));
    }
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    add(all, "output_nested_deeply", output(&deep, deep.len()), Expect::Invalid("output"));
    add(all, "output_not_utf8", output("\\22\\f0\\28\\22", 4), Expect::Trap);
    add(all, "output_beyond_memory", output("", 1 << 30), Expect::Trap);
    let large = |pages: u32, bytes: u32| {
        does(&format!(
            "(drop (memory.grow (i32.const {pages})))
             (memory.fill (i32.const 4096) (i32.const 0x31) (i32.const {bytes}))
             (call $output (i32.const 4096) (i32.const {bytes}))"
        ))
    };
    add(all, "output_of_two_megabytes", large(64, 2 << 20), Expect::Limit("output_bytes"));
    add(all, "output_of_sixteen_megabytes", large(300, 16 << 20), Expect::Limit("hostcall_bytes"));

    let failure = |code: &str, kind: u32| {
        does(&format!(
            "(call $failure (i32.const {kind}) (i32.const 4096) (i32.const {}) (i32.const 4096) (i32.const 1))",
            code.len()
        ))
        .with("data", format!("(data (i32.const 4096) \"{code}\")"))
    };
    add(all, "failure", failure("not_found", 3), Expect::Fails("not_found"));
    let longest = "a".repeat(64);
    add(all, "failure_with_the_longest_code", failure(&longest, 0), Expect::Fails("aaaa"));
    for (name, code) in [
        ("failure_without_a_code", String::new()),
        ("failure_with_a_long_code", "a".repeat(65)),
        ("failure_with_an_upper_case_code", "NotFound".to_owned()),
        ("failure_with_a_digit_first", "1st".to_owned()),
        ("failure_with_a_sentence", "please run this".to_owned()),
        ("failure_with_a_line_break", "not_found\\0a".to_owned()),
    ] {
        add(all, name, failure(&code, 3), Expect::Invalid("failure"));
    }
    add(all, "failure_of_no_kind", failure("not_found", 4), Expect::Trap);
    add(
        all,
        "answer_of_a_third_kind",
        does("(i32.store8 (i32.const 1024) (i32.const 2)) (i32.const 1024)"),
        Expect::Trap,
    );
}

pub(super) fn floods(all: &mut Vec<HostilePlugin>) {
    let calls = Expect::Limit("host_calls");
    let flood =
        |import: &str, call: &str| does(&format!("(loop $more {call} (br $more)) unreachable")).with("imports", import);
    let log = r#"(import "yoi:host/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#;
    add(all, "log_forever", flood(log, "(call $log (i32.const 1) (i32.const 0) (i32.const 9))"), calls);
    let large = "(call $log (i32.const 1) (i32.const 0) (i32.const 262144))";
    add(all, "log_large_lines_forever", flood(log, large), calls);
    let huge = "(drop (memory.grow (i32.const 300))) (call $log (i32.const 1) (i32.const 0) (i32.const 16777216))";
    add(all, "log_sixteen_megabytes", flood(log, huge), Expect::Limit("hostcall_bytes"));
    let now = r#"(import "yoi:host/monotonic-clock@1.0.0" "now" (func $now (result i64)))"#;
    add(all, "ask_for_the_time_forever", flood(now, "(drop (call $now))"), calls);
    let random = r#"(import "yoi:host/random@1.0.0" "get-bytes" (func $random (param i32 i32)))"#;
    let forever = "(call $random (i32.const -1) (i32.const 2048)) (global.set $next (i32.const 131072))";
    add(all, "ask_for_random_bytes_forever", flood(random, forever), calls);
}

/// Returns a tool that writes `lines` log lines of `bytes` bytes, each of two-byte characters after a single byte.
pub fn logging(lines: u32, bytes: u32) -> Plugin {
    Plugin::tool()
        .with("imports", r#"(import "yoi:host/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#)
        .with("data", format!("(data (i32.const 4096) \"a{}\")", "\u{e9}".repeat(20_000)))
        .with("locals", "(local $line i32)")
        .with(
            "call",
            format!(
                "(loop $more
                   (call $log (i32.const 2) (i32.const 4096) (i32.const {bytes}))
                   (local.set $line (i32.add (local.get $line) (i32.const 1)))
                   (br_if $more (i32.lt_u (local.get $line) (i32.const {lines}))))
                 (call $output (local.get $input) (local.get $input_length))"
            ),
        )
}

/// Returns a tool that fails with a message of `bytes` bytes, of two-byte characters after a single byte.
pub fn failing_at_length(bytes: u32) -> Plugin {
    logging(0, 0).with(
        "call",
        format!("(call $failure (i32.const 3) (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const {bytes}))"),
    )
}
