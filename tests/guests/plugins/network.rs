//! Plugins that use the network: with requests that the host refuses, and with connections that they misuse.

use super::{Expect, HostilePlugin, add, component::Plugin};

/// A GET request without headers, body, credential and timeout. The result is at 2048.
const SEND: &str = "(call $send (i32.const 0) (i32.const 16) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))";
/// A connection without subprotocols, credential and timeout. The result is at 2048, and the handle at 2056.
pub(super) const OPEN: &str = "(call $open (i32.const 16) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))";
const HANDLE: &str = "(i32.load (i32.const 2056))";
/// Reports the code and the message of a denial at 2064 as those of a tool failure.
const DENIED: &str = "(call $failure (i32.const 1) (i32.load (i32.const 2064)) (i32.load (i32.const 2068))
    (i32.load (i32.const 2072)) (i32.load (i32.const 2076)))";
const NULL: &str = "(call $output (i32.const 32) (i32.const 4))";

/// Returns a tool that runs the code with the network's imports.
pub fn networked(call: &str) -> Plugin {
    Plugin::tool()
        .with("imports", include_str!("network.wat.in"))
        .with("data", "(data (i32.const 16) \"wss://a/b\") (data (i32.const 32) \"null\")")
        .with("call", call)
}

/// Returns a tool that sends a request and then answers `null`.
pub fn requesting() -> Plugin {
    networked(&format!("{SEND} {NULL}"))
}

/// Returns a service that opens a connection when it starts.
pub fn connected_service() -> Plugin {
    let tool = networked("");
    let service = Plugin::service().with("start", format!("{OPEN} (call $turn)"));
    tool.places_into(service, &["imports", "data"])
}

pub(super) fn network(all: &mut Vec<HostilePlugin>) {
    let denied = Expect::Fails("egress_unavailable");
    add(all, "request_without_network", networked(&format!("{SEND} {DENIED}")), denied);
    add(all, "connection_without_network", networked(&format!("{OPEN} {DENIED}")), denied);
    let forged = "(call $drop (i32.const 7)) unreachable";
    add(all, "forged_connection", networked(forged), Expect::Trap);
}

/// Plugins that need a host whose connections open.
pub fn connections() -> Vec<HostilePlugin> {
    let mut all = Vec::new();
    let mut each = |name, call: String, expect| add(&mut all, name, networked(&call), expect);
    each("keep_connection", format!("{OPEN} {NULL}"), Expect::Answers("null"));
    each("drop_connection", format!("{OPEN} (call $drop {HANDLE}) {NULL}"), Expect::Answers("null"));
    each("drop_connection_twice", format!("{OPEN} (call $drop {HANDLE}) (call $drop {HANDLE}) {NULL}"), Expect::Trap);
    let receive = format!("(call $receive {HANDLE} (i32.const 5) (i32.const 2200))");
    each("use_connection_after_drop", format!("{OPEN} (call $drop {HANDLE}) {receive} {NULL}"), Expect::Trap);
    each("trap_with_connection", format!("{OPEN} unreachable"), Expect::Trap);
    // The case of the failure is at 2056: 3 is `too-many-connections`.
    each(
        "open_connections",
        format!(
            "(loop $more {OPEN} (br_if $more (i32.eqz (i32.load8_u (i32.const 2048)))))
             (if (i32.ne (i32.load8_u (i32.const 2056)) (i32.const 3)) (then unreachable))
             {NULL}"
        ),
        Expect::Answers("null"),
    );
    // The result is an error, and the case of the failure is 10: `invalid-close`.
    for (name, code, length) in [
        ("close_with_a_reserved_code", 1006, 0),
        ("close_with_a_code_of_nobody", 5000, 0),
        ("close_with_a_long_reason", 1000, 124),
    ] {
        each(
            name,
            format!(
                "{OPEN} (call $close {HANDLE} (i32.const {code}) (i32.const 0) (i32.const {length}) (i32.const 2200))
                 (if (i32.or (i32.ne (i32.load8_u (i32.const 2200)) (i32.const 1))
                             (i32.ne (i32.load8_u (i32.const 2208)) (i32.const 10))) (then unreachable))
                 {NULL}"
            ),
            Expect::Answers("null"),
        );
    }
    each(
        "close_with_an_own_code",
        format!(
            "{OPEN} (call $close {HANDLE} (i32.const 4999) (i32.const 0) (i32.const 123) (i32.const 2200))
             (if (i32.load8_u (i32.const 2200)) (then unreachable)) {NULL}"
        ),
        Expect::Answers("null"),
    );
    all
}
